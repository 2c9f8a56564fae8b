//! The stages between a socket and the state, the lanes between them, and what they ask of the world.
//!
//! Stages are plain structs: `on_*` takes in, `turn` does bounded work and returns. They know no thread, no
//! socket and no file: `drive` gives them the real world, `sim` a virtual one, through the same `ports`.

pub mod apply;
pub mod behind;
pub mod edge;
pub mod lane;
pub mod layout;
pub mod node;
pub mod order;
pub mod parcel;
pub mod peer;
pub mod ports;
pub mod share;
pub mod snapshots;
pub mod station;
pub mod store;
