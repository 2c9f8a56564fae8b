//! What the native client can do, against a running server: `cargo run --example native -- 127.0.0.1:7411`.

use std::time::Duration;

use quorate::client::{
    Client, Compare, Config, Delete, Error, Grant, History, Must, Node, Op, Put, Range, Session, Step,
    Target, Txn, flag,
};

fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7411".into());
    let mut client = Client::connect(Config::new([server]).exactly_once(Session::default()))?;

    // Keys have revisions; a watch tells what changes from one on.
    let revision = client.put(b"fruit/apple", b"red")?;
    let watch = client.watch(History {
        key: b"fruit/".to_vec(),
        end: b"fruit0".to_vec(),
        revision,
        flags: flag::BEFORE,
        ..History::default()
    })?;
    client.put(b"fruit/apple", b"green")?;
    let apple = client.get(b"fruit/apple")?.expect("it was just put");
    println!("{} at revision {}", String::from_utf8_lossy(&apple.value), apple.modified);

    // Many at once: requests are under way together, or even in one command of the log.
    let tickets: Result<Vec<_>, Error> = (0..100)
        .map(|n| {
            let key = format!("number/{n:03}").into_bytes();
            client.pipe().start_write(&[Op::Put(Put { key, value: b"x".to_vec(), ..Put::default() })])
        })
        .collect();
    for ticket in tickets? {
        client.pipe().finish(ticket)?;
    }
    let numbers = Range { key: b"number/".to_vec(), end: b"number0".to_vec(), limit: 3, ..Range::default() };
    let found = client.range(numbers)?;
    println!("{} of more numbers: {}", found.kvs.len(), found.more);

    // Only if nobody else was faster.
    let absent =
        Compare { key: b"lock".to_vec(), end: Vec::new(), must_be: Must::Equal, target: Target::Version(0) };
    let (lease, ttl_s) = client.grant(Grant { lease: 0, ttl_s: 10 })?;
    let lock = Put { key: b"lock".to_vec(), value: b"me".to_vec(), lease, flags: 0 };
    let node = Node { compares: vec![absent], then: vec![Step::Put(lock)], otherwise: Vec::new() };
    let (locked, _) = client.txn(Txn { nodes: vec![node] })?;
    println!("locked: {locked}, for {ttl_s} s; {:?}", client.keep_alive(lease)?);
    println!("lease {lease} held {} key(s)", client.revoke(lease)?);

    client.delete_range(Delete { key: b"fruit/".to_vec(), end: b"fruit0".to_vec(), flags: 0 })?;
    while let Some(changes) = client.next_changes(watch, Duration::from_millis(200))? {
        for change in &changes.changes {
            let (key, value) = (&change.now.key, &change.now.value);
            let before = change.before.as_ref().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
            let what = if change.deleted { "deleted" } else { "put" };
            println!(
                "revision {}: {what} {} {} (before: {before:?})",
                changes.revision,
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(value)
            );
        }
    }
    client.cancel_watch(watch)?;
    println!("{:?}", client.totals()?);
    client.pipe().close_session()
}
