//! The stage with lanes whose far ends the test holds.

use super::*;
use crate::base::{ClusterId, Incarnation};
use crate::pipeline::lane::{Rx, lane};
use crate::pipeline::order::{OrderLanes, OrderLimits, Waiting};
use crate::pipeline::parcel::{Marks, ReadItem, Reads};
use crate::replica::{Config, Found, Options, Replica, Timing};

/// One of three nodes, and what it tells apply.
fn order() -> (Order, Rx<ApplyIn>) {
    let options = Options {
        me: NodeId(1),
        cluster: ClusterId(7),
        timing: Timing::default(),
        window_bytes: 1 << 20,
        window_count: 8,
        cache_bytes: 1 << 20,
        seed: 1,
    };
    let marks = Marks { config: Config::of_voters(3), incarnation: Incarnation(1), ..Marks::default() };
    let found = Found { marks, heads: vec![], configs: vec![], debris: vec![], stateless: false };
    let (to_apply, apply) = lane(16);
    let lanes = OrderLanes {
        edges: vec![],
        store: (lane(16).0, lane(16).1),
        apply: (to_apply, lane(16).1),
        peer: (lane(16).0, lane(16).1),
        answers: lane(16).0,
        asks: lane(16).1,
    };
    let replica = Replica::new(options, found, Nanos(0));
    (Order::new(replica, OrderLimits::default(), lanes, []), apply)
}

fn ask(order: &mut Order, ticket: u64) {
    let item = ReadItem { tag: ticket, realm: 1, end: 0, after: 0 };
    let reads = vec![Reads { lane: 0, items: vec![item], queries: vec![] }];
    order.tickets.insert(ticket, Waiting { reads, since: Nanos(0) });
}

fn tags<'a>(reads: impl IntoIterator<Item = &'a Reads>) -> Vec<u64> {
    reads.into_iter().flat_map(|reads| reads.items.iter().map(|item| item.tag)).collect()
}

fn answered(apply: &mut Rx<ApplyIn>) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(parcel) = apply.take() {
        match parcel {
            ApplyIn::ReadAt { reads, .. } => all.extend(tags(&reads)),
            other => panic!("expected reads, got {other:?}"),
        }
    }
    all
}

/// Found by sessions in clusters: a door answers what was asked first with what comes first, and a broken link had
/// taken only the ticket that was asked over it.
#[test]
fn reads_are_answered_in_the_order_of_asking_whatever_becomes_of_their_tickets() {
    let (mut order, mut apply) = order();
    (1..=3).for_each(|ticket| ask(&mut order, ticket));
    order.effects.push(Effect::ReadReady { id: 2, index: Index(9) });
    order.effects.push(Effect::ReadReady { id: 1, index: Index(8) });
    order.carry_out(Nanos(1));
    assert_eq!(answered(&mut apply), [1, 2], "what is true of a read is true of those before it");

    (4..=5).for_each(|ticket| ask(&mut order, ticket));
    order.effects.push(Effect::ReadFailed { id: 4 });
    order.effects.push(Effect::ReadReady { id: 5, index: Index(9) });
    order.carry_out(Nanos(1));
    assert!(answered(&mut apply).is_empty(), "it waits for the one in front");
    let homeless = order.homeless.iter().flat_map(|waiting| &waiting.reads);
    assert_eq!(tags(homeless), [4, 5]);
    order.effects.push(Effect::ReadFailed { id: 3 });
    order.carry_out(Nanos(1));
    let homeless = order.homeless.iter().flat_map(|waiting| &waiting.reads);
    assert_eq!(tags(homeless), [3, 4, 5], "and is asked again behind it");
}
