//! Writers under load, with books of their own: what was acknowledged, with which value, at which revision.
//!
//! Every writer has its own keys and writes each of them once, so a key's value and revision are known for good as
//! soon as it is acknowledged, and a read of it has one right answer. One more key per writer is written again and
//! again within an exactly-once session: its version counts how often that was carried out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quorate::base::Rng;
use quorate::client::{Client, Config, Error, Kv, Range, Session};

use super::cluster::{Node, await_agreement};
use super::within;

/// For one request; a writer then goes to another server.
const PATIENCE: Duration = Duration::from_secs(1);

/// For everything to be read back.
const READS: Duration = Duration::from_secs(120);

/// What one writer knows.
#[derive(Default)]
pub struct Book {
    /// Acknowledged: value and revision.
    pub sure: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    /// Tried, and never heard of: it may be there.
    pub unsure: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The counter's acknowledged writes, and those of unknown end.
    pub counted: u64,
    pub doubtful: u64,
}

/// What is shared between the writers and who watches them.
struct Shared {
    over: AtomicBool,
    began: Instant,
    acks: AtomicU64,
    reads: AtomicU64,
    /// The first thing that must not be.
    wrong: Mutex<Option<String>>,
    books: Vec<Mutex<Book>>,
}

pub struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// Starts `writers`, spread over the servers.
    pub fn start(servers: Vec<String>, writers: usize, seed: u64) -> Crowd {
        let shared = Arc::new(Shared {
            over: AtomicBool::new(false),
            began: Instant::now(),
            acks: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            wrong: Mutex::new(None),
            books: (0..writers).map(|_| Mutex::new(Book::default())).collect(),
        });
        let mut seeds = Rng::new(seed);
        let spawn = |me: usize| {
            let (shared, rng, mut servers) = (shared.clone(), seeds.fork(), servers.clone());
            let count = servers.len();
            servers.rotate_left(me % count);
            std::thread::spawn(move || Writer { me, shared, rng, servers, next: 0 }.work())
        };
        let threads = (0..writers).map(spawn).collect();
        Crowd { shared, threads }
    }

    pub fn acks(&self) -> u64 {
        self.shared.acks.load(Ordering::SeqCst)
    }

    /// From now until a write is acknowledged that was sent later: as many answers as there are writers may have
    /// been under way already.
    pub fn time_to_ack(&self, limit: Duration) -> Duration {
        let (before, begin) = (self.acks(), Instant::now());
        let seen = within(limit, || {
            (self.acks() > before + self.shared.books.len() as u64).then(|| begin.elapsed())
        });
        self.check();
        seen.unwrap_or_else(|| panic!("no write was acknowledged within {limit:?}"))
    }

    /// Fails if a writer has read what must not be.
    pub fn check(&self) {
        if let Some(wrong) = self.shared.wrong.lock().unwrap().clone() {
            panic!("{wrong}");
        }
    }

    /// Ends the load and hands out the books.
    pub fn finish(mut self) -> Vec<Book> {
        self.shared.over.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().expect("writers report, they do not panic"));
        self.check();
        let (acks, reads) = (self.acks(), self.shared.reads.load(Ordering::SeqCst));
        assert!(
            acks > 0 && reads > 0,
            "nothing was tested: {acks} writes acknowledged, {reads} reads checked"
        );
        self.shared.books.iter().map(|book| std::mem::take(&mut *book.lock().unwrap())).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

struct Writer {
    me: usize,
    shared: Arc<Shared>,
    rng: Rng,
    servers: Vec<String>,
    next: u64,
}

impl Writer {
    fn work(mut self) {
        let (mut plain, mut exact) = (None, None);
        while !self.shared.over.load(Ordering::SeqCst) {
            let done = match self.rng.below(8) {
                0 => self.with(&mut exact, true, Writer::count),
                1 | 2 => self.with(&mut plain, false, Writer::read),
                _ => self.with(&mut plain, false, Writer::write),
            };
            if let Err(wrong) = done {
                let wrong = format!("writer {} (seconds {:.1}): {wrong}", self.me, self.seconds());
                self.shared.wrong.lock().unwrap().get_or_insert(wrong);
                return;
            }
        }
    }

    fn seconds(&self) -> f64 {
        self.shared.began.elapsed().as_secs_f64()
    }

    /// Lends a client to `step`, connected if need be. After an error the next server has its turn.
    fn with(
        &mut self,
        client: &mut Option<Client>,
        exact: bool,
        step: impl Fn(&mut Writer, &mut Client) -> Result<Result<(), Error>, String>,
    ) -> Result<(), String> {
        if client.is_none() {
            let mut config = Config::new(self.servers.clone()).timeout(PATIENCE);
            config.connect_timeout = PATIENCE / 2;
            if exact {
                config = config.exactly_once(Session { window: 4, ttl: Duration::from_secs(60) });
            }
            *client = Client::connect(config).ok();
        }
        let failed = match client {
            Some(client) => step(self, client)?.is_err(),
            None => true,
        };
        if failed {
            *client = None;
            self.servers.rotate_left(1);
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn write(&mut self, client: &mut Client) -> Result<Result<(), Error>, String> {
        let key = format!("w{:02}/{:08}", self.me, self.next).into_bytes();
        let length = self.rng.between(16, 300) as usize;
        let mut value = format!("{:016x}", self.rng.next_u64()).into_bytes();
        value.resize(length, b'a' + (self.next % 26) as u8);
        self.next += 1;
        let result = client.put(&key, &value);
        let mut book = self.shared.books[self.me].lock().unwrap();
        match result {
            Ok(revision) => {
                let earlier = book.sure.last_key_value().map_or(0, |(_, (_, earlier))| *earlier);
                if revision <= earlier {
                    return Err(format!("a write got revision {revision}, an earlier one {earlier}"));
                }
                book.sure.insert(key, (value, revision));
                drop(book);
                self.shared.acks.fetch_add(1, Ordering::SeqCst);
                Ok(Ok(()))
            }
            Err(error) => {
                book.unsure.insert(key, value);
                Ok(Err(error))
            }
        }
    }

    /// Looks for a write of anybody's that was acknowledged before.
    fn read(&mut self, client: &mut Client) -> Result<Result<(), Error>, String> {
        let whose = self.rng.below(self.shared.books.len() as u64) as usize;
        let known = {
            let book = self.shared.books[whose].lock().unwrap();
            // The latest are the likeliest to be lost.
            let back = self.rng.below(4) as usize * self.rng.below(20) as usize;
            book.sure.iter().rev().nth(back).map(|(key, sure)| (key.clone(), sure.clone()))
        };
        let Some((key, (value, revision))) = known else { return Ok(Ok(())) };
        match client.get(&key) {
            Ok(found) => {
                self.shared.reads.fetch_add(1, Ordering::SeqCst);
                judge(&key, &value, revision, found.as_ref()).map(Ok)
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn count(&mut self, client: &mut Client) -> Result<Result<(), Error>, String> {
        let result = client.put(counter(self.me).as_bytes(), b"counted");
        let mut book = self.shared.books[self.me].lock().unwrap();
        match result {
            Ok(_) => {
                book.counted += 1;
                drop(book);
                self.shared.acks.fetch_add(1, Ordering::SeqCst);
                Ok(Ok(()))
            }
            Err(error) => {
                book.doubtful += 1;
                Ok(Err(error))
            }
        }
    }
}

fn counter(writer: usize) -> String {
    format!("counter/{writer:02}")
}

fn judge(key: &[u8], value: &[u8], revision: u64, found: Option<&Kv>) -> Result<(), String> {
    let name = String::from_utf8_lossy(key);
    match found {
        None => Err(format!("{name}, acknowledged at revision {revision}, is not there")),
        Some(found) if found.value != value => Err(format!("{name} has another value than was acknowledged")),
        Some(found) if found.modified != revision => {
            Err(format!("{name} was acknowledged at revision {revision}, it has {}", found.modified))
        }
        Some(_) => Ok(()),
    }
}

/// Reads everything back through each node and compares it with the books, and the nodes with each other.
pub fn audit(nodes: &[Node], books: &[Book]) {
    await_agreement(nodes);
    let mut first: Option<Vec<Kv>> = None;
    for node in nodes {
        let mut client = within(READS, || Client::connect(Config::new([node.native.clone()])).ok())
            .expect("a node that is ready");
        let all = Range { key: b"\0".to_vec(), end: b"\0".to_vec(), ..Range::default() };
        // A machine that stands still for seconds brings elections about, and those end reads.
        let linearizable = within(READS, || client.range(all.clone()).ok()).expect("a quorum");
        client.local_reads(true);
        let own = within(READS, || client.range(all.clone()).ok()).expect("its own state");
        assert!(linearizable.kvs == own.kvs, "node {}'s own state is not what the cluster says", node.id);
        audit_one(&own.kvs, books);
        assert!(*first.get_or_insert(own.kvs.clone()) == own.kvs, "node {} holds another state", node.id);
    }
}

fn audit_one(found: &[Kv], books: &[Book]) {
    let mut found: BTreeMap<&[u8], &Kv> = found.iter().map(|kv| (&kv.key[..], kv)).collect();
    for (writer, book) in books.iter().enumerate() {
        for (key, (value, revision)) in &book.sure {
            let kv = found.remove(&key[..]);
            judge(key, value, *revision, kv).unwrap_or_else(|wrong| panic!("{wrong}"));
        }
        for (key, value) in &book.unsure {
            if let Some(kv) = found.remove(&key[..]) {
                assert!(kv.value == *value, "{} has a value that nobody wrote", String::from_utf8_lossy(key));
            }
        }
        let times = found.remove(counter(writer).as_bytes()).map_or(0, |kv| kv.version);
        assert!(
            (book.counted..=book.counted + book.doubtful).contains(&times),
            "an exactly-once key was written {times} times; {} were acknowledged, {} are in doubt",
            book.counted,
            book.doubtful
        );
    }
    // What a test wrote by itself it also checks by itself.
    let strangers = found.keys().filter(|key| !key.starts_with(b"mark/"));
    let strangers: Vec<_> = strangers.map(|key| String::from_utf8_lossy(key)).collect();
    assert!(strangers.is_empty(), "keys that nobody wrote: {strangers:?}");
}
