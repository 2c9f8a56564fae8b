//! What `/metrics` is made of: the numbers of every loop, lane, stage and edge, read from the admin door's thread.

use std::sync::Arc;

use crate::drive::admin::Source;
use crate::observe::{LoopCounters, Published, Text};
use crate::pipeline::edge::Edge;
use crate::pipeline::lane::Depth;
use crate::pipeline::order::Order;
use crate::pipeline::peer::Peers;

pub fn of_loop(name: String, counters: Arc<LoopCounters>) -> Source {
    Box::new(move |text: &mut Text| {
        counters.all().for_each(|number| text.number("loop", number, &[("loop", &name)]));
    })
}

/// Latencies of clients' operations, and whatever an edge counts: connections, permits, buffers.
pub fn of_edge(lane: usize, edge: &Edge) -> Source {
    let (lane, counters, latencies) = (lane.to_string(), edge.counters(), edge.latencies());
    Box::new(move |text: &mut Text| {
        counters.all().for_each(|number| text.number("edge", number, &[("lane", &lane)]));
        let help = "From a request's arrival to its reply, as the edge sees it.";
        for (op, latency) in &latencies {
            text.latency("request", help, &[("op", op), ("lane", &lane)], latency);
        }
    })
}

pub fn of_order(order: &Order) -> Source {
    let latencies: [(&str, Published); 3] = order.latencies();
    Box::new(move |text: &mut Text| {
        let help = "What a batch waits for: the leader's commit, this node's disk, this node's apply.";
        latencies
            .iter()
            .for_each(|(stage, latency)| text.latency("stage", help, &[("stage", stage)], latency));
    })
}

pub fn of_peers(peers: &Peers) -> Source {
    let counters = peers.counters();
    Box::new(move |text: &mut Text| counters.all().for_each(|number| text.number("peer", number, &[])))
}

pub fn of_lanes(lanes: Vec<(String, Depth)>) -> Source {
    Box::new(move |text: &mut Text| {
        for (name, depth) in &lanes {
            let (held, bound) = depth();
            text.gauge("lane_parcels", "Parcels that wait in a lane.", &[("lane", name)], held);
            text.gauge("lane_parcels_max", "Parcels that a lane holds.", &[("lane", name)], bound);
        }
    })
}

/// Memory, time and files of the process, by the names that Prometheus' own clients use.
pub fn of_process() -> Source {
    Box::new(|text: &mut Text| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let stat = read("stat");
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split(' ')
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        let field = |nth: usize| fields.get(nth).copied().unwrap_or(0);
        // Behind the name: state is field 1, user and system ticks 12 and 13, resident pages 22.
        let resident = field(22) * crate::base::PAGE as u64;
        text.foreign("process_resident_memory_bytes", "Memory that the process has.", resident);
        let ticks = (field(12) + field(13)) as f64 / 100.0;
        text.foreign("process_cpu_seconds", "Processor time that the process has used.", ticks);
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        text.foreign("process_open_fds", "Files and sockets that the process has open.", files);
    })
}
