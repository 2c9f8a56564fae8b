//! TLS in front of a null server: the same load through it, and what is said of those who must not be trusted.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use quorate::tls::{Papers, Paths};
use rustls::{ServerConfig, ServerConnection};

use support::{LOADGEN, Null};

/// Certificates for 127.0.0.1, made by openssl. `false`: it is not there.
fn issue(dir: &Path) -> bool {
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca
        openssl req -x509 -newkey rsa:2048 -nodes -keyout x.key -out other.pem -days 2 -subj /CN=other
        openssl req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=server
        echo subjectAltName=IP:127.0.0.1 >names
        openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir).stderr(Stdio::null()).status();
    made.is_ok_and(|status| status.success())
}

/// Deciphers for the server behind it. One thread a connection, which looks at both sides in turn.
fn front(config: Arc<ServerConfig>, behind: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, behind) = (config.clone(), behind.clone());
            thread::spawn(move || {
                let inner = TcpStream::connect(behind).expect("the null server");
                let session = ServerConnection::new(config).expect("a session");
                let _ = pass(session, &stream, &inner);
                let _ = (stream.shutdown(Shutdown::Both), inner.shutdown(Shutdown::Both));
            });
        }
    });
    address
}

fn pass(mut session: ServerConnection, mut outer: &TcpStream, mut inner: &TcpStream) -> std::io::Result<()> {
    outer.set_read_timeout(Some(Duration::from_millis(1)))?;
    inner.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut piece = [0; 16 << 10];
    let is_wait = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    loop {
        match session.read_tls(&mut outer) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                session.process_new_packets().map_err(std::io::Error::other)?;
            }
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
        while let Ok(count @ 1..) = session.reader().read(&mut piece) {
            inner.write_all(&piece[..count])?;
        }
        match inner.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => session.writer().write_all(&piece[..count])?,
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
        while session.wants_write() {
            session.write_tls(&mut outer)?;
        }
    }
}

fn run(target: &str, server: &str, flags: &[&str]) -> Output {
    let words = ["--secs", "1", "--warmup", "0", "--keys", "50", "--conns", "2", "--depth", "16", "--json"];
    let mut command = Command::new(LOADGEN);
    command.args(["run", "--target", target, "--servers", server]).args(words).args(flags);
    command.output().expect("loadgen runs")
}

#[test]
fn every_protocol_goes_through_tls() {
    let folder = tempfile::tempdir().expect("scratch");
    let dir = folder.path();
    if !issue(dir) {
        eprintln!("skipped: no openssl here");
        return;
    }
    let at = |name: &str| dir.join(name).display().to_string();
    let paths = Paths { cert: dir.join("cert.pem"), key: dir.join("key.pem"), ca: dir.join("ca.pem") };
    let papers = Papers::load(&paths).expect("good certificates");
    for protocol in ["zk", "native", "etcd", "consul"] {
        let null = Null::start(protocol);
        let mut config = ServerConfig::clone(&papers.server(false).expect("a door"));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let server = front(Arc::new(config), null.1.clone());
        let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

        // Values longer than a TLS record, so that answers come in several.
        let output =
            run(protocol, &server, &["--tls-ca", &at("ca.pem"), "--reads", "50", "--value-size", "20000"]);
        assert_eq!(output.status.code(), Some(0), "{protocol}: {}", said(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(json["ops"].as_u64() > Some(0) && json["errors"] == 0, "{protocol}: {json}");
        assert_eq!((&json["plan"]["tls"], &json["plan"]["authenticated"]), (&true.into(), &false.into()));

        let output = run(protocol, &server, &["--tls-ca", &at("other.pem")]);
        assert_eq!(output.status.code(), Some(3));
        assert!(said(&output).contains("another authority"), "{protocol}: {}", said(&output));
        let output = run(protocol, &server, &["--tls-ca", &at("ca.pem"), "--tls-name", "example.org"]);
        assert_eq!(output.status.code(), Some(3), "{protocol}: {}", said(&output));
        let output = run(protocol, &server, &["--tls-ca", &at("key.pem")]);
        assert_eq!(output.status.code(), Some(2), "{protocol}: {}", said(&output));
    }
}

#[test]
fn a_secret_is_not_stored_and_wrong_kinds_are_refused() {
    let null = Null::start("zk");
    let folder = tempfile::tempdir().expect("scratch");
    let results = folder.path().join("run").display().to_string();
    // The null server answers nothing to a user; the address is refused before that.
    let output = run("consul", &null.1, &["--user", "bob:secret"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run("zk", &null.1, &["--token", "secret"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run("zk", &null.1, &["--user", "bob"]);
    assert_eq!(output.status.code(), Some(2));
    let consul = Null::start("consul");
    let mut child = Command::new(LOADGEN);
    child.args(["run", "--target", "consul", "--servers", &consul.1, "--secs", "1", "--warmup", "0"]);
    child.args(["--keys", "9", "--results", &results]).env("LOADGEN_TOKEN", "s3cret");
    let output = child.output().expect("loadgen runs");
    let stored = std::fs::read_to_string(Path::new(&results).join("result.json")).expect("stored");
    assert!(stored.contains("\"authenticated\": true"), "{output:?}");
    for file in std::fs::read_dir(&results).expect("a folder").flatten() {
        let text = std::fs::read(file.path()).expect("a file");
        assert!(!text.windows(6).any(|six| six == b"s3cret"), "{}", file.path().display());
    }
}
