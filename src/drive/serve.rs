//! A whole process: the directory opened, the node wired, its loops started.

use std::io::Read;
use std::sync::Arc;

use crate::base::sum::hash128;
use crate::base::{BlockMut, Chain, ClusterId, Incarnation, Life, NodeId, Origin, Voice};
use crate::config::Plan;
use crate::doors::zk;
use crate::drive::guard::Guard;
use crate::drive::start::StartError;
use crate::drive::{Crew, Dir, Doorbell, Files, Setup, admin, clock, memory, sources, start};
use crate::journal::snapshot::{self, Checked, Trailer};
use crate::journal::{self, Expect, OpenError, Opened, Params};
use crate::observe::LoopCounters;
use crate::pipeline::edge::{Doors, Edge};
use crate::pipeline::lane::{Bell, silent};
use crate::pipeline::layout::Place;
use crate::pipeline::node::{Core, Spot, Tuning};
use crate::pipeline::parcel::Base;
use crate::pipeline::ports::{Door, File, Media};
use crate::pipeline::share::Share;
use crate::replica::{Config, Member, Role};

/// Runs the node of this plan until TERM, INT, or its disk fails.
pub fn serve(plan: Plan) -> Result<(), StartError> {
    let mut crew = Crew::new(plan.runtime);
    start::check(&plan)?;
    let keys = plan.tls.as_ref().map(|(paths, clients)| start::keys(&plan, paths, *clients)).transpose()?;
    let dir = Arc::new(Dir::open(&plan.data)?);
    let (listeners, admin_door) = start::listen(&plan)?;
    let mut media = Files::new(dir.clone());
    let opened = open(&plan, &mut media)?;
    tell(&plan, &opened);

    let mut tuning = Tuning { seed: random(), ..Tuning::default() };
    (tuning.timing.heartbeat, tuning.timing.patience) = (plan.heartbeat, plan.patience);
    tuning.timing.lease = plan.lease_reads;
    tuning.kv_compacts = plan.kv_compacts;
    let loops = &plan.loops;
    let bells = loops.iter().map(|_| Doorbell::new()).collect::<Result<Vec<_>, _>>();
    let bells = bells.map_err(StartError::Thread)?;
    let edges: Vec<usize> = (0..loops.len()).filter(|n| loops[*n].places.contains(&Place::Edge)).collect();
    let home = |spot: Spot| match spot {
        Spot::Edge(n) => edges[n],
        Spot::Stage(place) => loops.iter().position(|l| l.places.contains(&place)).expect("in every layout"),
    };
    let bell = |from: Spot, to: Spot| -> Arc<dyn Bell> {
        if home(from) == home(to) { silent() } else { bells[home(to)].clone() }
    };
    let (core, ends, operator) = Core::across(clock::now(), opened, &mut media, &tuning, edges.len(), bell)?;

    let replica = core.order.replica();
    let (me, life) = (replica.me(), replica.life());
    let zk_config = Arc::new(plan.zk.clone());
    let zk_board = Arc::new(zk::Board::new(edges.len() as u8));
    let now_ms = clock::now().0 / 1_000_000;
    zk_board.started_ms.set(now_ms);
    zk_board.wall_ms.set(clock::wall_ms().saturating_sub(now_ms));
    let mut pages = vec![sources::of_process()];
    let mut shares: Vec<Share> = loops.iter().map(|_| Share::default()).collect();
    for (lane, lanes) in ends.into_iter().enumerate() {
        let origin = Origin::new(me, lane as u8, life);
        let zk = Some(zk::Zk::new(origin, zk_config.clone(), zk_board.clone()));
        let doors = Doors { zk, ..Doors::default() };
        let edge = Edge::new(origin, Default::default(), Default::default(), doors, lanes);
        pages.push(sources::of_edge(lane, &edge));
        shares[home(Spot::Edge(lane))].edge = Some(edge);
    }
    let Core { peers, order, store, apply } = core;
    pages.extend([sources::of_order(&order), sources::of_peers(&peers), sources::of_lanes(operator.lanes)]);
    shares[home(Spot::Stage(Place::Peer))].peers = Some(peers);
    shares[home(Spot::Stage(Place::Store))].store = Some(store);
    shares[home(Spot::Stage(Place::Apply))].apply = Some(apply);
    let first = home(Spot::Stage(Place::Order));
    shares[first].order = Some(order);
    for place in [Place::Order, Place::Apply] {
        shares[home(Spot::Stage(place))].board = Some(zk_board.clone());
    }

    let mut ready = Vec::new();
    for ((place, bell), share) in loops.iter().zip(&bells).zip(shares) {
        let counters = Arc::new(LoopCounters::default());
        pages.push(sources::of_loop(place.name.clone(), counters.clone()));
        // Every edge has all clients' listeners, of which the kernel wakes one; peers have theirs to themselves.
        let wanted =
            |door: Door| if door == Door::Peer { share.peers.is_some() } else { share.edge.is_some() };
        let own = listeners.iter().filter(|(door, _)| wanted(*door));
        let own = own.map(|(door, socket)| Ok((*door, socket.try_clone()?))).collect::<Result<_, _>>();
        let setup = Setup {
            listeners: own.map_err(StartError::Thread)?,
            dir: share.store.is_some().then(|| dir.clone()),
            counters,
            connections_max: plan.connections_max,
            buffers: start::buffers(loops.len()),
            ..Setup::new(bell.clone())
        };
        ready.push((place, setup, share));
    }
    drop(listeners);
    let mut desk = admin::Desk::new(operator.asks, operator.answers, bells[first].clone());
    if plan.listen.iter().any(|(door, _)| matches!(door, Door::Zk | Door::ZkTls)) {
        let zookeeper = admin::ZooKeeper { board: zk_board, config: zk_config, bells: bells.clone() };
        pages.push(zookeeper.source());
        desk.zookeeper = Some(zookeeper);
    }
    let tls = keys.as_ref().map(|keys| keys.doors.clone());
    let house = admin::House { desk, sources: pages, dir: dir.clone(), tls };
    admin::start(admin_door, house).map_err(StartError::Thread)?;
    memory::touch_ahead().map_err(StartError::Thread)?;
    // The first to be started is the first to be stopped: order, which still needs the others to hand over.
    ready.rotate_left(first);
    for (place, setup, share) in ready {
        let judge =
            |guard: Guard<Share>| guard.into_station().halted().map_or(Ok(()), |why| Err(why.to_owned()));
        let (keys, counters) = (keys.clone(), setup.counters.clone());
        crew.spawn(place, setup, move || Guard::new(share, keys, counters), judge)
            .map_err(StartError::Thread)?;
    }
    crew.wait().map_err(StartError::Ended)?;
    tracing::info!("stopped");
    Ok(())
}

/// Makes the data directory of a new node, and returns its cluster's name and its own.
pub fn format(plan: &Plan, join: bool) -> Result<(ClusterId, Incarnation), StartError> {
    let mut media = Files::new(Arc::new(Dir::open(&plan.data)?));
    let (cluster, me, config, life) = founding(plan, join);
    let made = journal::format(&mut media, cluster, me, config, life, &Params::default());
    made.map_err(|why| journal_error(plan, why))?;
    Ok((cluster, me.incarnation))
}

/// What a new directory is told: the cluster, its own name, the founding members (none for one that joins), the
/// first life.
pub(super) fn founding(plan: &Plan, join: bool) -> (ClusterId, Voice, Config, Life) {
    let cluster =
        plan.cluster.unwrap_or_else(|| ClusterId(u128::from(random()) << 64 | u128::from(random())));
    let incarnation = Incarnation(random().max(1));
    let me = Voice { id: plan.node, incarnation };
    // Several founders are formatted apart and do not know each other's names yet: the first leader writes them
    // into the log, once it has met all of them.
    let alone = plan.members.len() <= 1;
    let named = if alone { incarnation } else { Incarnation::OPEN };
    let voter =
        |(id, at): &(NodeId, std::net::SocketAddr)| Member::new(*id, named, Role::Voter, at.to_string());
    let members = match (join, plan.members.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![Member::new(plan.node, named, Role::Voter, "")],
        (false, false) => plan.members.iter().map(voter).collect(),
    };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (cluster, me, Config::new(members), Life(since.as_millis() as u64))
}

/// The same for a founding member of a new cluster over the state in `from`, a snapshot that has just been
/// checked. Lives begin above `newest`, the newest one that this state has heard of.
pub fn format_over(
    plan: &Plan,
    checked: &Checked,
    newest: Life,
    from: &mut impl Media,
) -> Result<ClusterId, StartError> {
    let no_place = |why: OpenError| journal_error(plan, why);
    let old = snapshot::base_of(&checked.seal).ok_or_else(|| no_place(OpenError::OldSnapshot))?;
    let mut media = Files::new(Arc::new(Dir::open(&plan.data)?));
    if let Some((file, _)) = media.files()?.first() {
        return Err(no_place(OpenError::Exists { file: *file }));
    }
    let (cluster, me, founders, newborn) = founding(plan, false);
    // All founders come to the same point without asking each other, and no other cluster does.
    let mark = [cluster.0.to_le_bytes(), old.chain.0.to_le_bytes()].concat();
    let base = Base { chain: Chain(hash128(&mark)), ..old };
    let file = File::Snapshot(base.index);
    media.create(file, 0)?;
    let mut at = 0;
    while at < checked.trailer.seal_offset() {
        let mut piece = BlockMut::zeroed((checked.trailer.seal_offset() - at).min(1 << 20) as usize);
        from.read(file, at, piece.bytes_mut())?;
        at += piece.len() as u64;
        media.write(file, at - piece.len() as u64, &piece.freeze())?;
    }
    let seal = snapshot::seal(&base);
    let (seal_length, hash) = (seal.len() as u64, hash128(&seal));
    let trailer = Trailer { cluster, seal_length, seal: hash, ..checked.trailer };
    media.write(file, trailer.seal_offset(), &seal)?;
    media.write(file, trailer.offset(), &trailer.encode())?;
    // What was copied is checked again, where it lies now; the superblock, which makes it a directory, comes last.
    let copied = snapshot::check(&mut media, cluster, base.index, |_| {});
    copied.map_err(|why| no_place(why.into()))?;
    let life = newborn.max(Life(newest.0 + 1));
    let params = Params::default();
    journal::format_on(&mut media, (cluster, me), founders, life, base, &params).map_err(no_place)?;
    Ok(cluster)
}

/// Never makes a directory: one that is not there may have been, and have promised something.
fn open(plan: &Plan, media: &mut Files) -> Result<Opened, StartError> {
    let expect = Expect { cluster: plan.cluster, node: Some(plan.node) };
    journal::open(media, &Params::default(), expect).map_err(|why| journal_error(plan, why))
}

pub(super) fn journal_error(plan: &Plan, why: OpenError) -> StartError {
    StartError::Journal { dir: plan.data.display().to_string(), why }
}

fn tell(plan: &Plan, opened: &Opened) {
    let report = &opened.report;
    tracing::info!(
        "node {} of cluster {}, incarnation {}, life {}, {} batches in {} segments, promised epoch {}",
        opened.node,
        opened.cluster,
        opened.marks.incarnation,
        opened.marks.life,
        report.present,
        report.segments,
        opened.marks.promised
    );
    if let Some(cut) = report.cut {
        tracing::warn!(
            "the log was ended behind batch {}: {} slots above had not been acknowledged",
            cut.after,
            cut.slots
        );
    }
    if !report.unknown.is_empty() || report.frames_healed > 0 {
        tracing::warn!(
            "damage: {} batches wait for a peer's copy, {} frames were healed",
            report.unknown.len(),
            report.frames_healed
        );
    }
    for (door, at) in &plan.listen {
        tracing::info!("{} door at {at}", start::door_name(*door));
    }
    tracing::info!("admin door at {}, {} loop(s) on {:?}", plan.admin, plan.loops.len(), plan.runtime);
}

/// From the kernel. Seeds and names only: nothing here is a secret.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    assert!(read.is_ok(), "/dev/urandom is there on every Linux: {read:?}");
    u64::from_le_bytes(bytes)
}
