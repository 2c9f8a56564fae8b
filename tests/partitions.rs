//! A network that loses packets without telling anybody: nodes in namespaces of their own, cut off from each other
//! under load. Nothing acknowledged may be lost, and no read may come from the past.
//!
//! `QUORATE_ROUNDS=30` makes it longer, `QUORATE_SEED=N` repeats the draws of a run.

#![cfg(feature = "drive")]

#[allow(dead_code, reason = "each binary of tests uses its part")]
mod support;

use std::time::Duration;

use quorate::base::Rng;
use quorate::client::{Client, Config};
use support::crowd::{Crowd, audit};
use support::lan::Lan;
use support::{setting, within};

/// Patience with a silent leader is drawn from 0.9 to 1.8 s; the rest is for elections on a slow and busy machine.
const RESUMES: Duration = Duration::from_secs(120);

/// For what a cut-off leader still believes: it steps down when no quorum has answered for its patience.
const DEPOSED: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The leader's cable is out.
    LeaderGone,
    /// The leader and its clients reach each other, its followers reach nobody but each other.
    LeaderParted,
    /// What the leader sends does not arrive; what is sent to it does.
    LeaderMute,
    /// What followers send to the leader does not arrive.
    LeaderDeaf,
    /// One follower and the leader do not reach each other; both reach the third.
    Bridge,
    /// Nobody reaches anybody.
    Shattered,
}

const CUTS: [Cut; 6] =
    [Cut::LeaderGone, Cut::LeaderParted, Cut::LeaderMute, Cut::LeaderDeaf, Cut::Bridge, Cut::Shattered];

#[test]
fn no_partition_loses_a_write_or_serves_the_past() {
    let (rounds, seed) = (setting("QUORATE_ROUNDS", CUTS.len() as u64), setting("QUORATE_SEED", 5));
    let mut rng = Rng::new(seed);
    let Some(mut lan) = Lan::start("lan") else {
        return println!("skipped: network namespaces take root and `ip`");
    };
    let servers: Vec<String> = lan.nodes().into_iter().map(|node| node.native).collect();
    let crowd = Crowd::start(servers, 6, rng.next_u64());
    for round in 0..rounds {
        let cut = CUTS[(round % CUTS.len() as u64) as usize];
        lan.doing(format!("{cut:?}, round {} of {rounds} (QUORATE_SEED={seed})", round + 1));
        std::thread::sleep(Duration::from_millis(rng.between(200, 600)));
        crowd.check();
        one_round(&lan, cut, &crowd, &format!("mark/{round}"));
        lan.mend();
        lan.await_ready(&[1, 2, 3]);
        crowd.time_to_ack(RESUMES);
    }
    lan.doing("comparing nodes and books after the last round");
    let acks = crowd.acks();
    audit(&lan.nodes(), &crowd.finish());
    println!("{acks} acknowledged writes are there after {rounds} rounds");
}

fn one_round(lan: &Lan, cut: Cut, crowd: &Crowd, mark: &str) {
    let leader = lan.leader();
    let others: Vec<u8> = (1..=3).filter(|id| *id != leader).collect();
    let native = |id: u8| lan.nodes()[usize::from(id) - 1].native.clone();
    let connect = |id: u8| {
        let mut config = Config::new([native(id)]).timeout(Duration::from_millis(1_500));
        config.connect_timeout = Duration::from_millis(500);
        Client::connect(config)
    };
    // Connected while all is well: it goes on asking the old leader.
    let mut faithful = within(RESUMES, || connect(leader).ok()).expect("a healthy cluster");
    within(RESUMES, || faithful.put(mark.as_bytes(), b"before").ok()).expect("a healthy cluster");
    match cut {
        Cut::LeaderGone => lan.unplug(leader),
        Cut::LeaderParted => others.iter().for_each(|other| lan.part(leader, *other)),
        Cut::LeaderMute => others.iter().for_each(|other| lan.mute(leader, *other)),
        Cut::LeaderDeaf => others.iter().for_each(|other| lan.mute(*other, leader)),
        Cut::Bridge => lan.part(leader, others[0]),
        Cut::Shattered => {
            [(1, 2), (1, 3), (2, 3)].into_iter().for_each(|(a, b)| lan.part(a, b));
            std::thread::sleep(DEPOSED);
            // A minority acknowledges nothing and answers no read that must be the latest.
            for id in 1..=3 {
                let tried = connect(id).and_then(|mut client| {
                    let read = client.get(mark.as_bytes());
                    assert!(read.is_err(), "node {id}, all alone, answered a linearizable read: {read:?}");
                    client.put(mark.as_bytes(), b"alone")
                });
                assert!(tried.is_err(), "node {id}, all alone, acknowledged a write");
            }
            return;
        }
    }
    crowd.time_to_ack(RESUMES);
    if matches!(cut, Cut::Bridge) {
        return; // Either side may lead: the third hears both.
    }
    let heir = within(RESUMES, || lan.leader_of(&others)).expect("a leader among those who reach each other");
    // A write that only the new leader knows. The old one, if its client reaches it, must not deny it.
    let mut mover = within(RESUMES, || connect(heir).ok()).expect("the new leader");
    within(RESUMES, || mover.put(mark.as_bytes(), b"after").ok()).expect("a majority reaches each other");
    match faithful.get(mark.as_bytes()) {
        Ok(found) => {
            let value = found.map(|found| found.value);
            assert_eq!(value.as_deref(), Some(&b"after"[..]), "the old leader answered from the past");
        }
        Err(why) => println!("the old leader answered: {why}"),
    }
    if matches!(cut, Cut::LeaderParted) {
        let told = faithful.put(mark.as_bytes(), b"never");
        assert!(told.is_err(), "a leader without followers acknowledged a write");
    }
}
