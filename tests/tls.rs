//! Doors, peers and tools in TLS, with real certificates: who may come in, who may not, and what is said to whom.

#![cfg(feature = "drive")]

#[allow(dead_code, reason = "each binary of tests uses its part")]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use quorate::base::{ClusterId, Epoch, Incarnation, Index, Life, NodeId, Voice};
use quorate::client::{Client, Config, Op, Pipe, Put, Tls};
use quorate::replica::{Hello, Standing};
use quorate::tls::{self, Socket};
use support::cluster::QUORATE;
use support::pki::{Authority, Papers};
use support::ports::free_port;
use support::within;

/// For what a slow machine may take its time with.
const PATIENCE: Duration = Duration::from_secs(120);

struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    fn start(dir: &Path, args: &[String]) -> Server {
        // A directory that is there already stays as it is.
        let _ = Command::new(QUORATE).arg("format").args(args).output();
        let log = dir.join(format!("{}.log", free_port().port()));
        let out = std::fs::File::create(&log).unwrap();
        let mut command = Command::new(QUORATE);
        let child = command.arg("serve").args(args).stdout(Stdio::null()).stderr(out).spawn().unwrap();
        Server { child, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap()
}

fn flags(pairs: &[(&str, &dyn std::fmt::Display)]) -> Vec<String> {
    pairs.iter().flat_map(|(flag, value)| [format!("--{flag}"), value.to_string()]).collect()
}

fn shown(papers: &Papers, ca: &Path) -> Vec<String> {
    flags(&[
        ("tls-cert", &papers.cert.display()),
        ("tls-key", &papers.key.display()),
        ("tls-ca", &ca.display()),
    ])
}

fn quorate(args: &[String]) -> Output {
    Command::new(QUORATE).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Each attempt is waited out; there is another one until `timeout` is over.
fn connect(native: SocketAddr, ca: &Path, own: Option<&Papers>, timeout: Duration) -> Result<Client, String> {
    let own = own.map(|papers| (&*papers.cert, &*papers.key));
    let tls = Tls::load(ca, own).map_err(|e| e.to_string())?;
    let mut config = Config::new([native.to_string()]).tls(tls).timeout(timeout);
    config.connect_timeout = PATIENCE;
    let mut client = Client::connect(config).map_err(|e| e.to_string())?;
    // In TLS 1.3 a client is refused after it believes to be connected.
    client.get(b"anything").map_err(|e| e.to_string())?;
    Ok(client)
}

/// Bytes that a ZooKeeper client sends first, and `whoAmI` behind them.
fn who_am_i() -> Vec<u8> {
    let mut connect = vec![0, 0, 0, 45, 0, 0, 0, 0];
    connect.extend([0; 8]); // The last zxid seen.
    connect.extend(10_000i32.to_be_bytes());
    connect.extend([0; 8]); // No session yet.
    connect.extend(16i32.to_be_bytes());
    connect.extend([0; 16]); // Nor its password.
    connect.push(0);
    connect.extend(8i32.to_be_bytes());
    connect.extend(1i32.to_be_bytes());
    connect.extend(107i32.to_be_bytes());
    connect
}

/// A ZooKeeper session of whom these papers name.
fn session(zk: SocketAddr, ca: &Path, papers: &Papers) -> Socket {
    let stream = TcpStream::connect(zk).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let own = Some((&*papers.cert, &*papers.key));
    let mut socket = Socket::new(stream, "127.0.0.1", Some(&tls::client(ca, own).unwrap())).unwrap();
    let connect = who_am_i();
    socket.write_all(&connect[..49]).unwrap();
    frame(&mut socket);
    socket
}

fn frame(socket: &mut Socket) -> Vec<u8> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut body).unwrap();
    body
}

/// The error and the body of the reply.
fn ask(socket: &mut Socket, op: i32, record: &[u8]) -> (i32, Vec<u8>) {
    let length = 8 + record.len() as i32;
    let head = [length, 7, op].map(i32::to_be_bytes).concat();
    socket.write_all(&[&head, record].concat()).unwrap();
    let reply = frame(socket);
    (i32::from_be_bytes(reply[12..16].try_into().unwrap()), reply[16..].to_vec())
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as i32).to_be_bytes(), text.as_bytes()].concat()
}

/// What was made for the subject of a certificate is for nobody else.
fn nodes_of_subjects(zk: SocketAddr, ca: &Path, ann: &Papers, bob: &Papers) {
    let [create, get_data, get_acl] = [1, 4, 6];
    let all = 31i32.to_be_bytes();
    let node = |path: &str, scheme: &str, id: &str| {
        let one = 1i32.to_be_bytes();
        [&string(path)[..], &string("data"), &one, &all, &string(scheme), &string(id), &[0; 4]].concat()
    };
    let read = |path: &str| [&string(path)[..], &[0]].concat();
    let (mut ann, mut bob) = (session(zk, ca, ann), session(zk, ca, bob));
    assert_eq!(ask(&mut ann, create, &node("/hers", "x509", "CN=ann,O=acme")).0, 0);
    assert_eq!(ask(&mut bob, create, &node("/his", "auth", "")).0, 0);
    assert_eq!(ask(&mut ann, create, &node("/hers/too", "x509", "CN=bob,O=acme")).0, 0);
    let seen =
        |who: &mut Socket| ["/hers", "/his", "/hers/too"].map(|path| ask(who, get_data, &read(path)).0);
    assert_eq!(seen(&mut ann), [0, -102, -102]);
    assert_eq!(seen(&mut bob), [-102, 0, 0]);
    assert_eq!(ask(&mut bob, create, &node("/hers/more", "world", "anyone")).0, -102);
    let (err, list) = ask(&mut bob, get_acl, &string("/his"));
    let told = [&1i32.to_be_bytes()[..], &all, &string("x509"), &string("CN=bob,O=acme")].concat();
    assert_eq!((err, &list[..told.len()]), (0, &told[..]), "of his ids only the proven one counts");
}

fn doors_in_tls(runtime: &str) {
    let scratch = scratch();
    let dir = scratch.path();
    let (ours, theirs) = (Authority::new(dir, "ours"), Authority::new(dir, "theirs"));
    let server = ours.issue("server", "/CN=server", "IP:127.0.0.1,DNS:node-1.quorate", 10);
    let ann = ours.issue("ann", "/O=acme/CN=ann", "DNS:ann.example", 10);
    let late = ours.issue("late", "/CN=late", "DNS:late.example", -1);
    let stranger = theirs.issue("stranger", "/CN=stranger", "IP:127.0.0.1", 10);
    let (native, admin, zk) = (free_port(), free_port(), free_port());
    let mut args = flags(&[
        ("data", &dir.join("data").display()),
        ("native", &native),
        ("admin", &admin),
        ("zk", &"off"),
        ("zk-tls", &zk),
        ("cores", &1),
        ("runtime", &runtime),
    ]);
    args.extend(shown(&server, &ours.ca));
    let node = Server::start(dir, &args);

    // Somebody who may come in, with small requests, many at once, and long ones.
    let mut client = connect(native, &ours.ca, Some(&ann), PATIENCE).expect("a good certificate");
    let long = vec![b'v'; 900_000];
    client.put(b"long", &long).unwrap();
    assert_eq!(client.get(b"long").unwrap().unwrap().value, long);
    let own = Some((&*ann.cert, &*ann.key));
    let config = Config::new([native.to_string()]).tls(Tls::load(&ours.ca, own).unwrap());
    let mut pipe = Pipe::connect(config).unwrap();
    let tickets: Vec<_> = (0..2_000)
        .map(|n| {
            let put = Put { key: format!("key-{n}").into_bytes(), value: vec![b'w'; 500], ..Put::default() };
            pipe.start_write(&[Op::Put(put)]).unwrap()
        })
        .collect();
    tickets.into_iter().for_each(|ticket| drop(pipe.finish(ticket).unwrap()));
    assert!(client.get(b"key-1999").unwrap().is_some());

    // Those who may not.
    let told = |refused: Result<Client, String>| refused.err().expect("it was let in");
    let refused = |ca: &Path, papers| told(connect(native, ca, papers, Duration::from_millis(500)));
    assert!(refused(&theirs.ca, Some(&ann)).contains("another authority"));
    for (whose, papers) in
        [("none", None), ("a stranger's", Some(&stranger)), ("an expired one", Some(&late))]
    {
        let why = refused(&ours.ca, papers);
        assert!(!why.is_empty(), "{whose}: {why}");
    }
    let mut config = Config::new([native.to_string()]).timeout(Duration::from_secs(1));
    config.connect_timeout = Duration::from_millis(500);
    assert!(Client::connect(config).is_err(), "a client in the clear was let in");
    assert!(client.get(b"long").unwrap().is_some(), "who was inside was thrown out");

    // Tools.
    let status = |more: Vec<String>| {
        quorate(&[vec!["status".into(), "--admin".into(), admin.to_string()], more].concat())
    };
    let seen = status(shown(&ann, &ours.ca));
    assert!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));
    for more in
        [vec![], flags(&[("tls-ca", &ours.ca.display())]), shown(&ann, &theirs.ca), shown(&late, &ours.ca)]
    {
        let Output { status, stderr, .. } = status(more.clone());
        let said = String::from_utf8_lossy(&stderr);
        assert!(!status.success() && said.contains("--tls-ca"), "{more:?}: {said}");
    }

    // ZooKeeper's door: who has a certificate is known by it.
    let mut words = Command::new("openssl");
    words.args([
        "s_client",
        "-quiet",
        "-no_ign_eof",
        "-connect",
        &zk.to_string(),
        "-verify_return_error",
        "-CAfile",
    ]);
    words.arg(&ours.ca).arg("-cert").arg(&ann.cert).arg("-key").arg(&ann.key);
    words.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut asking = words.spawn().unwrap();
    let mut line = asking.stdin.take().unwrap();
    line.write_all(b"srvr").unwrap();
    let mut answer = String::new();
    asking.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    drop(line);
    asking.wait().unwrap();
    assert!(answer.contains("Mode: standalone"), "{answer:?}");
    let stream = TcpStream::connect(zk).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut socket = Socket::new(stream, "127.0.0.1", Some(&tls::client(&ours.ca, own).unwrap())).unwrap();
    socket.write_all(&who_am_i()).unwrap();
    let mut heard = Vec::new();
    let known = |heard: &[u8]| heard.windows(13).any(|part| part == b"CN=ann,O=acme");
    while !known(&heard) {
        let mut part = [0; 1024];
        let count = socket.read(&mut part).unwrap();
        assert!(count > 0, "no x509 id in {:?}", String::from_utf8_lossy(&heard));
        heard.extend(&part[..count]);
    }
    assert!(heard.windows(4).any(|part| part == b"x509"));
    let bob = ours.issue("bob", "/O=acme/CN=bob", "DNS:bob.example", 10);
    nodes_of_subjects(zk, &ours.ca, &ann, &bob);

    // Who says nothing is not waited for.
    let mut silent = TcpStream::connect(native).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    match silent.read(&mut [0; 64]) {
        Ok(_) => {} // An alert, or the end.
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset, "it is still waited for"),
    }
    drop(node);
}

#[test]
fn doors_let_in_whom_the_authority_vouches_for() {
    doors_in_tls("ring");
}

#[test]
fn the_other_drive_does_the_same() {
    doors_in_tls("glommio");
}

#[test]
fn papers_that_cannot_work_are_refused_at_the_start() {
    let scratch = scratch();
    let dir = scratch.path();
    let (ours, theirs) = (Authority::new(dir, "ours"), Authority::new(dir, "theirs"));
    let good = ours.issue("good", "/CN=good", "IP:127.0.0.1", 10);
    let other = ours.issue("other", "/CN=other", "IP:127.0.0.1", 10);
    let late = ours.issue("late", "/CN=late", "IP:127.0.0.1", -1);
    let mixed = Papers { cert: good.cert.clone(), key: other.key.clone() };
    let nothing = Papers { cert: dir.join("nothing"), key: good.key.clone() };
    std::fs::write(dir.join("empty"), "no certificate here\n").unwrap();
    let empty = Papers { cert: dir.join("empty"), key: good.key.clone() };
    let members = format!("1={},2={}", free_port(), free_port());
    let many = flags(&[("members", &members), ("cluster", &"0123456789abcdef0123456789abcdef")]);
    for (papers, ca, more, word) in [
        (&late, &ours.ca, vec![], "expired"),
        (&good, &theirs.ca, vec![], "another authority"),
        (&mixed, &ours.ca, vec![], "not the key"),
        (&nothing, &ours.ca, vec![], "nothing"),
        (&empty, &ours.ca, vec![], "no certificate"),
        (&good, &good.key, vec![], "certificate"),
        (&good, &ours.ca, many, "node-1.quorate"),
    ] {
        let mut args = flags(&[
            ("data", &dir.join("data").display()),
            ("native", &free_port()),
            ("admin", &free_port()),
        ]);
        args.insert(0, "serve".into());
        args.extend(flags(&[("zk", &"off")]));
        args.extend(shown(papers, ca));
        args.extend(more);
        let Output { status, stderr, .. } = quorate(&args);
        let said = String::from_utf8_lossy(&stderr);
        assert!(!status.success() && said.contains(word), "{word}: {said}");
    }
}

/// Goal: three nodes over mTLS, one of them killed and back, and nobody else may speak as one of them.
#[test]
fn peers_prove_who_they_are() {
    let scratch = scratch();
    let dir = scratch.path();
    let ours = Authority::new(dir, "ours");
    let peers: Vec<SocketAddr> = (0..3).map(|_| free_port()).collect();
    let natives: Vec<SocketAddr> = (0..3).map(|_| free_port()).collect();
    let members: Vec<String> = peers.iter().zip(1..).map(|(at, id)| format!("{id}={at}")).collect();
    let (members, cluster) = (members.join(","), "0123456789abcdef0123456789abcdef");
    let papers: Vec<Papers> = (1..=3)
        .map(|id| {
            ours.issue(
                &format!("n{id}"),
                &format!("/CN=n{id}"),
                &format!("IP:127.0.0.1,DNS:node-{id}.quorate"),
                10,
            )
        })
        .collect();
    let ann = ours.issue("ann", "/CN=ann", "IP:127.0.0.1", 10);
    let args = |nth: usize| {
        let mut args = flags(&[
            ("node", &(nth + 1)),
            ("data", &dir.join(format!("data-{nth}")).display()),
            ("members", &members),
            ("cluster", &cluster),
            ("native", &natives[nth]),
            ("admin", &free_port()),
            ("zk", &"off"),
            ("cores", &1),
        ]);
        args.extend(shown(&papers[nth], &ours.ca));
        args
    };
    let all: Vec<Vec<String>> = (0..3).map(args).collect();
    for args in &all {
        let made = quorate(&[vec!["format".into()], args.clone()].concat());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let mut nodes: Vec<Option<Server>> = all.iter().map(|args| Some(Server::start(dir, args))).collect();
    let at = |nth: usize| connect(natives[nth], &ours.ca, Some(&ann), PATIENCE).expect("it serves");
    // An election, which a slow machine has more often, ends requests.
    let put = |client: &mut Client, key: &str| {
        within(PATIENCE, || client.put(key.as_bytes(), &[b'v'; 2_000]).ok()).expect("a majority");
    };
    let mut client = at(0);
    (0..200).for_each(|n| put(&mut client, &format!("key-{n}")));
    nodes[2] = None;
    let mut client = at(1);
    (0..200).for_each(|n| put(&mut client, &format!("later-{n}")));
    nodes[2] = Some(Server::start(dir, &all[2]));
    let mut client = at(2);
    for key in ["key-7", "later-199"] {
        let found = within(PATIENCE, || client.get(key.as_bytes()).ok()).expect("a majority");
        assert!(found.is_some(), "{key} is gone");
    }

    // A client of the same authority calls as node 2.
    let hello = |from: u8| {
        let mut bytes = Vec::new();
        let cluster = ClusterId(u128::from_str_radix(cluster, 16).unwrap());
        let (from, to) = (Voice { id: NodeId(from), incarnation: Incarnation(7) }, NodeId(1));
        let standing = Standing { life: Life(1 << 47), promised: Epoch(0), last: Index(0) };
        Hello { cluster, from, to, standing, call: 1, address: None }.encode(&mut bytes);
        bytes
    };
    let call = |own: Option<&Papers>, bytes: &[u8]| {
        let stream = TcpStream::connect(peers[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let own = own.map(|papers| (&*papers.cert, &*papers.key));
        let mut socket =
            Socket::new(stream, "127.0.0.1", Some(&tls::client(&ours.ca, own).unwrap())).unwrap();
        let _ = socket.write_all(bytes);
        match socket.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    };
    assert!(call(Some(&ann), &hello(2)));
    assert!(call(Some(&papers[2]), &hello(2)), "node 3's certificate spoke for node 2");
    assert!(call(None, &hello(2)));
    let log = || nodes[0].as_ref().unwrap().said();
    let refused = within(PATIENCE, || (log().matches("does not name the node").count() >= 2).then_some(()));
    refused.unwrap_or_else(|| panic!("nobody noticed: {}", log()));
    assert!(log().contains("no certificate was shown"), "{}", log());
    let mut plain = TcpStream::connect(peers[0]).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(&hello(2)).unwrap();
    let _ = plain.read(&mut [0; 64]);
    within(PATIENCE, || log().contains("what came is not TLS").then_some(()))
        .expect("bytes in the clear are refused");
    put(&mut client, "still");
}
