//! The words everybody uses: ids, time, checksums, aligned memory, seeded chance.

mod block;
mod identity;
mod ids;
pub mod planted;
mod rng;
pub mod sum;

pub use block::{Block, BlockMut, PAGE};
pub use identity::Identity;
pub use ids::{Chain, ClusterId, Epoch, Incarnation, Index, Nanos, NodeId, Origin};
pub use rng::Rng;
