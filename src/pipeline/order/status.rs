//! What this node says of itself, to whoever asks its admin door.

use super::Order;
use crate::base::Index;
use crate::pipeline::parcel::Status;

impl Order {
    pub fn status(&self) -> Status {
        let log = self.replica.log();
        Status {
            node: self.replica.me(),
            cluster: self.replica.cluster(),
            leader: self.replica.leader(),
            epoch: self.replica.promised(),
            commit: self.replica.commit(),
            serving: self.serving,
            founded: !log.config_of(self.replica.commit()).1.is_open(),
            decided: self.replica.decided(),
            applied: self.applied,
            durable: self.replica.durable(),
            last: log.last(),
            base: log.base().index,
            snapshot: self.lengths.last_key_value().map_or(Index(0), |(index, _)| *index),
            config: log.config().clone(),
            incarnation: self.replica.incarnation(),
            life: self.replica.life(),
            unknown: log.unknown_count(),
            impasse: self.replica.impasse().map(str::to_owned),
            halted: self.halted.clone(),
            counts: self.replica.counts,
        }
    }
}
