//! The words everybody uses: ids, time, checksums, aligned memory, seeded chance.

mod block;
mod identity;
mod ids;
pub mod planted;
mod rng;
pub mod sum;

pub use block::{Block, BlockMut, PAGE};
pub use identity::Identity;
pub use ids::{Chain, ClusterId, Epoch, Incarnation, Index, Life, Nanos, NodeId, Origin, Voice};
pub use rng::Rng;
