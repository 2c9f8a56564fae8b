//! What a loop is given before it runs.

use std::net::TcpListener;
use std::sync::Arc;

use crate::base::Nanos;
use crate::drive::bell::Doorbell;
use crate::drive::dir::Dir;
use crate::observe::LoopCounters;
use crate::pipeline::ports::Door;

pub struct Setup {
    pub listeners: Vec<(Door, TcpListener)>,
    /// For a station that uses the disk.
    pub dir: Option<Arc<Dir>>,
    pub bell: Arc<Doorbell>,
    pub counters: Arc<LoopCounters>,
    /// Connections beyond this are closed as they come.
    pub connections_max: usize,
    /// Receive buffers that all connections share; a power of two.
    pub buffers: u16,
    /// A dial that takes longer has failed.
    pub dial_limit: Nanos,
}

impl Setup {
    pub fn new(bell: Arc<Doorbell>) -> Setup {
        Setup {
            listeners: Vec::new(),
            dir: None,
            bell,
            counters: Arc::default(),
            connections_max: 10_000,
            buffers: 128,
            dial_limit: Nanos::from_millis(1_000),
        }
    }
}
