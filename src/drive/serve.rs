//! A whole process: the directory opened, the node wired, its loops started.

use std::io::Read;
use std::sync::Arc;

use crate::base::{ClusterId, NodeId, Origin};
use crate::config::Plan;
use crate::doors::zk;
use crate::drive::start::StartError;
use crate::drive::{Crew, Dir, Doorbell, Files, Setup, admin, clock, start};
use crate::journal::{self, Expect, OpenError, Opened, Params};
use crate::observe::{LoopCounters, Text};
use crate::pipeline::edge::Doors;
use crate::pipeline::node::{Core, Node, Tuning};
use crate::pipeline::ports::Media;
use crate::replica::{Config, Role};

/// Runs the node of this plan until TERM, INT, or its disk fails.
pub fn serve(plan: Plan) -> Result<(), StartError> {
    let mut crew = Crew::new(plan.runtime);
    start::check(&plan)?;
    let dir = Arc::new(Dir::open(&plan.data)?);
    let (listeners, admin_door) = start::listen(&plan)?;
    let mut media = Files::new(dir.clone());
    let opened = open(&plan, &mut media)?;
    tell(&plan, &opened);

    let mut tuning = Tuning { seed: random(), ..Tuning::default() };
    (tuning.timing.heartbeat, tuning.timing.patience) = (plan.heartbeat, plan.patience);
    let (core, mut ends, operator) = Core::new(clock::now(), opened, &mut media, &tuning, 1)?;
    let lanes = ends.pop().expect("one edge was asked for");

    let (zk_config, zk_board) = (Arc::new(plan.zk.clone()), Arc::new(zk::Board::new(plan.loops.len() as u8)));
    if plan.members.len() > 1 {
        zk_board.set_mode(zk::Mode::Follower);
    }

    let bell = Doorbell::new().map_err(StartError::Thread)?;
    let place = &plan.loops[0];
    let counters = Arc::new(LoopCounters::default());
    let setup = Setup {
        listeners,
        dir: Some(dir),
        counters: counters.clone(),
        connections_max: plan.connections_max,
        buffers: start::buffers(plan.loops.len()),
        ..Setup::new(bell.clone())
    };
    let desk = admin::Desk::new(operator.asks, operator.answers, bell);
    admin::start(admin_door, desk, vec![loop_source(place.name.clone(), counters)])
        .map_err(StartError::Thread)?;
    crew.spawn(
        place,
        setup,
        move || {
            let replica = core.order.replica();
            let origin = Origin::new(replica.me(), 0, replica.incarnation());
            let zk = Some(zk::Zk::new(origin, zk_config, zk_board));
            let doors = Doors { zk, ..Doors::default() };
            Node::new(core, lanes, Default::default(), Default::default(), doors)
        },
        |node| node.core.order.halted().map_or(Ok(()), |why| Err(why.to_owned())),
    )
    .map_err(StartError::Thread)?;
    crew.wait().map_err(StartError::Ended)?;
    tracing::info!("stopped");
    Ok(())
}

/// Makes the data directory of a new node, and returns its cluster's name.
pub fn format(plan: &Plan, join: bool) -> Result<ClusterId, StartError> {
    let dir = Arc::new(Dir::open(&plan.data)?);
    format_in(plan, &mut Files::new(dir), join)
}

fn format_in(plan: &Plan, media: &mut Files, join: bool) -> Result<ClusterId, StartError> {
    let cluster =
        plan.cluster.unwrap_or_else(|| ClusterId(u128::from(random()) << 64 | u128::from(random())));
    let voter = |(id, at): &(NodeId, std::net::SocketAddr)| (*id, Role::Voter, at.to_string());
    let members = match (join, plan.members.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![(plan.node, Role::Voter, String::new())],
        (false, false) => plan.members.iter().map(voter).collect(),
    };
    let made = journal::format(media, cluster, plan.node, Config::new(members), &Params::default());
    made.map_err(|why| journal_error(plan, why))?;
    Ok(cluster)
}

/// An empty directory is made a cluster of one at once. With more members that would be a voter that forgets
/// its votes whenever its disk is lost, so there `quorate format` must be asked for.
fn open(plan: &Plan, media: &mut Files) -> Result<Opened, StartError> {
    if plan.members.len() <= 1 && media.files()?.is_empty() {
        let cluster = format_in(plan, media, false)?;
        tracing::info!("founded cluster {cluster} of one node in {}", plan.data.display());
    }
    let expect = Expect { cluster: plan.cluster, node: Some(plan.node) };
    journal::open(media, &Params::default(), expect).map_err(|why| journal_error(plan, why))
}

fn journal_error(plan: &Plan, why: OpenError) -> StartError {
    StartError::Journal { dir: plan.data.display().to_string(), why }
}

fn tell(plan: &Plan, opened: &Opened) {
    let report = &opened.report;
    tracing::info!(
        "node {} of cluster {}, life {}, {} batches in {} segments, promised epoch {}",
        opened.node,
        opened.cluster,
        opened.marks.incarnation,
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

/// A loop's counters, for `/metrics`.
fn loop_source(name: String, counters: Arc<LoopCounters>) -> admin::Source {
    Box::new(move |text: &mut Text| {
        counters.all().for_each(|number| text.number("loop", number, &[("loop", &name)]));
    })
}

/// From the kernel. Seeds and names only: nothing here is a secret.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    assert!(read.is_ok(), "/dev/urandom is there on every Linux: {read:?}");
    u64::from_le_bytes(bytes)
}
