//! The native door within a real edge stage, before real realms, without a log between them.

mod fuzz;
mod talks;
pub(crate) mod world;
