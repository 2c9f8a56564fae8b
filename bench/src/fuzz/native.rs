//! The native door: frames, operations, and a session that is offered them.

use quorate::base::{Life, Nanos, NodeId, Origin, Rng};
use quorate::doors::native::Native;
use quorate::doors::native::wire::{self, Ask, Front, Hello};
use quorate::doors::{Bounds, Cx, Desk, Door, Link, Seat, Stop};
use quorate::realms::kv::ops::{
    Compare, Delete, Must, Node, Op, Put, Query, Range, Step, Target, Txn, Write,
};
use rkyv::rancor::Failure;

use super::{number, spoil};

/// A frame that is accepted encodes to the bytes it was read from.
pub fn frame(rng: &mut Rng) -> bool {
    let mut bytes = Vec::new();
    let body: Vec<u8> = (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect();
    wire::put_frame(&mut bytes, rng.below(256) as u8, number(rng), &body);
    spoil(rng, &mut bytes);
    let max = rng.below(60) as u32;
    let mut rest = &bytes[..];
    match wire::take_frame(&mut rest, max) {
        Ok(Front::Frame(head, body)) => {
            assert!(body.len() <= max as usize);
            let taken = bytes.len() - rest.len();
            assert_eq!(head.encode()[..], bytes[..wire::HEAD]);
            assert_eq!(body, &bytes[wire::HEAD..taken]);
            true
        }
        Ok(Front::Need(need)) => {
            assert!(need > bytes.len() && need <= wire::HEAD + max as usize);
            assert_eq!(rest.len(), bytes.len(), "nothing is taken of less than a frame");
            false
        }
        Err(_) => false,
    }
}

/// What passes the check can be read to its last byte, and checks the same when it is written anew.
pub fn write(rng: &mut Rng) -> bool {
    let mut bytes = some_write(rng).encode();
    spoil(rng, &mut bytes);
    let Some(archive) = Write::open(&bytes) else { return false };
    let fits = archive.check();
    let owned: Write = rkyv::deserialize::<Write, Failure>(archive).expect("an archive that was opened");
    let again = owned.encode();
    assert_eq!(Write::open(&again).expect("what we encode opens").check(), fits);
    fits.is_ok()
}

/// A session takes what it is offered in any pieces, keeps within its bounds, and does not ask for what is there.
pub fn session(rng: &mut Rng) -> bool {
    let mut stream = Vec::new();
    wire::put_frame(&mut stream, Ask::Hello as u8, 0, &Hello::default().encode());
    for n in 1..rng.between(2, 8) {
        let body = match rng.below(3) {
            0 => some_write(rng).encode(),
            1 => Query::Range(Range { key: key(rng), ..Range::default() }).encode(),
            _ => number(rng).to_le_bytes().to_vec(),
        };
        wire::put_frame(&mut stream, rng.between(1, 11) as u8, n, &body);
    }
    spoil(rng, &mut stream);
    let bounds = Bounds { writes: rng.between(1, 4) as usize, ..Bounds::default() };
    let mut desk = Desk::new(Origin::new(NodeId(1), 0, Life(1)), bounds);
    let (mut link, seat) = (Link::default(), Seat { slot: 0, generation: 0 });
    let mut door = Native::default();
    let mut cx = Cx::new(Nanos(1), seat, true, &mut link, &mut desk);
    let mut session = door.open(&mut cx, "127.0.0.1:1".parse().expect("an address"));
    let (mut from, mut upto) = (0, 0);
    let whole = loop {
        upto += rng.between(1, 64).min((stream.len() - upto) as u64) as usize;
        let taken = door.on_bytes(&mut session, &mut cx, &stream[from..upto]);
        assert!(taken.bytes <= upto - from);
        from += taken.bytes;
        if cx.is_hanging_up() {
            break false;
        }
        match taken.stop {
            Stop::Frame(need) => assert!(need > upto - from, "it asks for what is there"),
            Stop::Permits => assert!(!cx.admits()),
            Stop::Session => panic!("this door never waits for itself"),
        }
        if upto == stream.len() || taken.stop == Stop::Permits {
            break true;
        }
    };
    door.on_ended(&mut session, seat);
    assert!(desk.writing().0 <= bounds.writes);
    assert_eq!(door.gauges(), (0, 0), "an ended session leaves nothing behind");
    whole
}

fn key(rng: &mut Rng) -> Vec<u8> {
    (0..rng.below(4)).map(|_| rng.below(3) as u8).collect()
}

fn some_write(rng: &mut Rng) -> Write {
    let ops = (0..rng.below(4)).map(|_| {
        let put = Put {
            key: key(rng),
            value: vec![1; rng.below(30) as usize],
            lease: 0,
            flags: rng.below(8) as u16,
        };
        match rng.below(4) {
            0 => Op::Put(put),
            1 => Op::Delete(Delete { key: key(rng), end: key(rng), flags: 0 }),
            2 => Op::Revoke { lease: number(rng) },
            _ => {
                let target = Target::Value(key(rng));
                let compare = Compare { key: key(rng), end: Vec::new(), must_be: Must::Less, target };
                let nodes = (0..rng.below(4))
                    .map(|_| Node {
                        compares: vec![compare.clone()],
                        then: vec![Step::Node(rng.below(4) as u32)],
                        otherwise: vec![Step::Put(put.clone())],
                    })
                    .collect();
                Op::Txn(Txn { nodes })
            }
        }
    });
    Write { ops: ops.collect() }
}
