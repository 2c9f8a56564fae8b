//! The native door: length-prefixed frames whose bodies are rkyv archives of the `kv` realm's own operations.

pub mod wire;
