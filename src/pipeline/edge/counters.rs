//! What one edge lane counts, for the metrics page.

use crate::counters;

counters!(
    /// What one edge lane has done since the start, and how full it is.
    Counters {
        /// Connections taken.
        accepted: Total,
        /// Connections turned away: too many, or no such door.
        refused: Total,
        /// Connections ended by the other side or the network.
        ended: Total,
        /// Connections ended by their session.
        hung_up: Total,
        /// Connections cut because too much output waited for a client that does not read.
        cut_output: Total,
        /// Connections cut because too much came in after they were paused.
        cut_input: Total,
        /// Connections cut because nothing of a send went out for too long.
        cut_stalled: Total,
        /// Times that this node had a leader that a quorum follows no more; ZooKeeper's clients are sent away then.
        leaderless: Total,
        /// Times that a connection waited for a permit.
        parked: Total,
        /// Writes that were applied.
        writes: Total,
        /// Writes whose fate this node cannot know.
        writes_unknown: Total,
        /// Reads that were answered.
        reads: Total,
        /// Linearizable reads that no quorum confirmed in time.
        reads_failed: Total,
        /// Touches dropped because too many gathered in one turn.
        touches_dropped: Total,
        /// Bytes from clients.
        bytes_in: Total,
        /// Bytes to clients.
        bytes_out: Total,
        /// Sends to clients.
        sends: Total,
        /// Connections that exist.
        connections: Gauge,
        /// Connections that there may be.
        connections_max: Gauge,
        /// Connections that wait for a permit.
        parked_now: Gauge,
        /// Writes under way.
        writes_pending: Gauge,
        /// Writes that may be under way.
        writes_pending_max: Gauge,
        /// Bytes of the writes under way.
        write_bytes_pending: Gauge,
        /// Bytes of writes that may be under way.
        write_bytes_pending_max: Gauge,
        /// Reads under way.
        reads_pending: Gauge,
        /// Reads that may be under way.
        reads_pending_max: Gauge,
        /// Watches of native clients.
        native_watches: Gauge,
        /// Leases that native clients keep alive.
        native_leases: Gauge,
    }
);
