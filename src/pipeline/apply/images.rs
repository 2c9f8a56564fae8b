//! Apply's part in snapshots: the state goes out slice by slice, and another takes its place once it has come whole.

use super::{Apply, Cursor};
use crate::base::planted::{self, Bug};
use crate::base::{Block, Index, Nanos, Origin};
use crate::pipeline::parcel::{ApplyOut, Base};
use crate::pipeline::snapshots::Loading;
use crate::realms::machine::Machine;

impl Apply {
    pub(super) fn save_some(&mut self, now: Nanos) {
        if let Some(saving) = &mut self.saving
            && self.lanes.order.0.room() > 4
            && let Some(work) = saving.step(now)
        {
            self.tell(ApplyOut::Store(work));
        }
    }

    pub(super) fn on_sealed(&mut self, index: Index, verified: bool) {
        let Some(saving) = self.saving.take_if(|saving| saving.base().index == index) else { return };
        if verified {
            let (base, length) = (saving.base(), saving.length());
            self.tell(ApplyOut::Snapshot { base, length });
        } else {
            tracing::error!(%index, "a snapshot could not be written and read back; it is dropped, the log stays");
            self.tell(ApplyOut::SnapshotLost { index });
        }
    }

    /// The state stays as it is until the snapshot has come whole; for good if it is further, and only a slot was lost.
    pub(super) fn load(&mut self, base: Base, length: u64) {
        self.loading = Some(Loading::new(base, length));
        self.read_on();
    }

    fn read_on(&mut self) {
        while let Some(work) = self.loading.as_mut().and_then(Loading::read) {
            self.tell(ApplyOut::Store(work));
        }
    }

    pub(super) fn on_snapshot_bytes(&mut self, index: Index, offset: u64, block: Block) {
        let Some(loading) = self.loading.as_mut().filter(|loading| loading.base().index == index) else {
            return;
        };
        match loading.take(offset, block) {
            Ok(None) => self.read_on(),
            Ok(Some(machine)) => self.take_over(*machine),
            Err(why) => {
                let loading = self.loading.take().expect("just used");
                let base = loading.base();
                // Once more: the fault may have been the reading's.
                self.loading = loading.again();
                match self.loading {
                    Some(_) => self.read_on(),
                    None => self.tell(ApplyOut::LoadFailed { base, why }),
                }
            }
        }
    }

    /// The state is this one from now on.
    fn take_over(&mut self, mut machine: Machine) {
        machine.kv_mut().compact_by_itself(self.machine.kv().compacts_by_itself());
        let base = self.loading.take().expect("it has made this machine").base();
        tracing::info!(index = %base.index, "the state is loaded from its snapshot");
        if !self.stateless && base.index <= self.applied {
            return self.tell(ApplyOut::Loaded { base, applied: self.applied });
        }
        let members = self.machine.members().to_vec();
        self.machine = machine;
        self.machine.set_members(members);
        self.stateless = false;
        self.queue.clear();
        self.at = Cursor::default();
        self.applied = base.index;
        if planted::is(Bug::SkipAfterSnapshot) {
            self.applied = base.index.next();
        }
        if let Some(saving) = self.saving.take() {
            self.tell(ApplyOut::SnapshotLost { index: saving.base().index });
        }
        self.ticks = self.ticks.max(base.ticks);
        self.machine.lead(self.ticks);
        // What these lanes had in the log below has its effect in the snapshot.
        for lane in 0..self.lanes.edges.len() as u8 {
            let origin = Origin::new(self.me, lane, self.life);
            let upto = self.machine.core().applied_of(origin);
            self.own.push((lane, upto));
            self.behind[usize::from(lane)].reach(upto);
            self.jumped.push((lane, upto + 1));
        }
        self.tell(ApplyOut::Loaded { base, applied: base.index });
    }
}
