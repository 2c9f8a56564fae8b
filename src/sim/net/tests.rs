//! The network alone, without nodes.

use super::*;

/// Runs the network alone until nothing is left to happen, or a time.
fn run(net: &mut VirtualNet, until: Nanos) -> Vec<(NodeId, NetNews)> {
    let mut news = Vec::new();
    loop {
        let Some(next) = (0..net.outbox.len()).min_by_key(|&n| net.outbox[n].0) else { return news };
        if net.outbox[next].0 > until {
            return news;
        }
        let (due, work) = net.outbox.remove(next);
        net.now = net.now.max(due);
        news.extend(net.fire(work));
    }
}

fn two(seed: u64) -> (VirtualNet, Conn, Conn) {
    let mut net = VirtualNet::new(Rng::new(seed));
    net.start(NodeId(1));
    net.start(NodeId(2));
    net.of(NodeId(1)).dial(5, address(NodeId(2)));
    let news = run(&mut net, Nanos::MAX);
    let [(NodeId(2), NetNews::Accepted { conn: b, .. }), (NodeId(1), NetNews::Dialled { token: 5, conn: a })] =
        &news[..]
    else {
        panic!("{news:?}")
    };
    let (a, b) = (*a, *b);
    (net, a, b)
}

fn bytes_of(news: &[(NodeId, NetNews)]) -> Vec<u8> {
    news.iter()
        .filter_map(|(_, news)| match news {
            NetNews::Bytes { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        })
        .flatten()
        .copied()
        .collect()
}

#[test]
fn bytes_come_in_order_whatever_the_delays() {
    for seed in 0..50 {
        let (mut net, a, _) = two(seed);
        net.weather.loss = 0.3;
        let mut got = Vec::new();
        for n in 0..20u8 {
            net.of(NodeId(1)).send(a, vec![n; 3]);
            let soon = net.now.plus(Nanos(3_000));
            got.extend(bytes_of(&run(&mut net, soon)));
        }
        got.extend(bytes_of(&run(&mut net, Nanos::MAX)));
        let want: Vec<u8> = (0..20).flat_map(|n| [n; 3]).collect();
        assert_eq!(got, want, "seed {seed}");
    }
}

#[test]
fn a_short_cut_stalls_and_a_long_one_ends_both_sides() {
    let (mut net, a, _) = two(1);
    net.set_cut(NodeId(1), NodeId(2), true);
    net.of(NodeId(1)).send(a, vec![1]);
    let soon = net.now.plus(Nanos::from_millis(500));
    assert!(bytes_of(&run(&mut net, soon)).is_empty());
    net.now = soon;
    net.set_cut(NodeId(1), NodeId(2), false);
    assert_eq!(bytes_of(&run(&mut net, Nanos::MAX)), [1]);
    net.set_cut(NodeId(1), NodeId(2), true);
    net.of(NodeId(1)).send(a, vec![2]);
    let news = run(&mut net, Nanos::MAX);
    assert!(bytes_of(&news).is_empty(), "lost with the connection");
    let over = |news: &&(NodeId, NetNews)| matches!(news.1, NetNews::Ended { why: Ended::Broken, .. });
    assert_eq!(news.iter().filter(over).count(), 2);
}

#[test]
fn a_dead_process_refuses_and_a_dead_machine_is_silent() {
    let (mut net, _, _) = two(2);
    net.stop(NodeId(2), false);
    net.of(NodeId(1)).dial(6, address(NodeId(2)));
    let news = run(&mut net, Nanos::MAX);
    assert!(news.iter().any(|(_, n)| matches!(n, NetNews::Ended { why: Ended::Closed, .. })), "{news:?}");
    assert!(
        news.iter().any(|(_, n)| matches!(n, NetNews::DialFailed { token: 6, why: Ended::Refused })),
        "{news:?}"
    );
    net.stop(NodeId(2), true);
    net.of(NodeId(1)).dial(7, address(NodeId(2)));
    let before = net.now;
    let news = run(&mut net, Nanos::MAX);
    assert!(matches!(news[..], [(_, NetNews::DialFailed { token: 7, why: Ended::Broken })]), "{news:?}");
    assert!(net.now.since(before) >= Nanos::from_millis(500));
}

#[test]
fn close_follows_the_last_byte() {
    let (mut net, a, b) = two(3);
    net.of(NodeId(1)).send(a, vec![1, 2, 3]);
    net.of(NodeId(1)).close(a);
    let news = run(&mut net, Nanos::MAX);
    assert_eq!(bytes_of(&news), [1, 2, 3]);
    assert!(
        matches!(news.last(), Some((NodeId(2), NetNews::Ended { conn, why: Ended::Closed })) if *conn == b)
    );
}

#[test]
fn a_paused_end_gets_nothing_until_it_resumes() {
    let (mut net, a, b) = two(4);
    net.of(NodeId(2)).pause(b, true);
    net.of(NodeId(1)).send(a, vec![7]);
    assert!(bytes_of(&run(&mut net, Nanos::MAX)).is_empty());
    net.of(NodeId(2)).pause(b, false);
    assert_eq!(bytes_of(&run(&mut net, Nanos::MAX)), [7]);
}

/// Found by sessions: a server that had not heard of a reset yet sent on, and its client took the second reply for the
/// first.
#[test]
fn nothing_comes_behind_a_loss() {
    for seed in 0..50 {
        let (mut net, a, _) = two(seed);
        net.of(NodeId(1)).send(a, vec![1]);
        let soon = net.now.plus(Nanos(2_001));
        let mut news = run(&mut net, soon); // The buffer is back.
        net.reset(NodeId(1), NodeId(2));
        net.of(NodeId(1)).send(a, vec![2]);
        news.extend(run(&mut net, Nanos::MAX));
        assert!(!bytes_of(&news).contains(&2), "seed {seed}");
    }
}
