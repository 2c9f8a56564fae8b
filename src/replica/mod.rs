//! Agreement: who leads, what is in the log, what is committed. No clock, socket, disk, thread or chance inside.
//!
//! `Replica` takes in messages (`on_message`), the store's answers (`on_durable`, `on_marked`, ...), links
//! (`on_link_up`, `on_link_down`), time (`on_tick`, at `deadline` at the latest) and proposals (`propose`,
//! `read`), and hands out `Effect`s, which its caller carries out in order.
//!
//! Two durable numbers keep it safe. `promised` is raised and flushed before any answer to a candidate; the
//! epoch of the last batch, `history`, is whatever the log says. Elections compare (history, last index).

mod config;
mod core;
mod durable;
mod election;
mod follower;
mod hello;
mod impasse;
mod install;
mod invariants;
mod leader;
mod lease;
pub mod log;
mod member;
mod msg;
mod peer;
mod plan;
#[cfg(test)]
mod tests;
mod view;
mod voices;

pub use self::core::{Counts, Effect, Found, Options, Replica, Timing};
pub use config::{Config, MEMBERS_MAX, Member, Role};
pub use hello::{HELLO, Hello};
pub use install::PART;
pub use leader::Refusal;
pub use member::CONFIG_KIND;
pub use msg::{Claim, FRAME_MAX, Msg};
pub use plan::{Plan, Progress, STEPS_MAX, Step};
pub use voices::Standing;
