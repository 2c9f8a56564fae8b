//! The native client: blocking and pipelined, on plain sockets, without a runtime.
//!
//! [`Client`] offers one call per operation. Under it lies [`Pipe`], which lets any number of requests be under way:
//! `start_*` sends, `finish` waits. Both reconnect by themselves, to the next server of the list, and send what had
//! no answer again where that is safe: reads always, writes within an exactly-once session. A write outside a
//! session whose connection broke ends in [`Error::Unknown`]: it may have been carried out.
//!
//! ```no_run
//! use quorate::client::{Client, Config};
//!
//! let mut client = Client::connect(Config::new(["127.0.0.1:7411"]))?;
//! client.put(b"greeting", b"hello")?;
//! let found = client.get(b"greeting")?.expect("it was just written");
//! assert_eq!(found.value, b"hello");
//! # Ok::<(), quorate::client::Error>(())
//! ```
//!
//! Many at once:
//!
//! ```no_run
//! use quorate::client::{Config, Op, Pipe, Put, Session};
//!
//! let mut pipe = Pipe::connect(Config::new(["127.0.0.1:7411"]).exactly_once(Session::default()))?;
//! let mut tickets = Vec::new();
//! for n in 0..1000 {
//!     let put = Put { key: format!("key-{n}").into_bytes(), value: b"value".to_vec(), ..Put::default() };
//!     tickets.push(pipe.start_write(&[Op::Put(put)])?);
//! }
//! for ticket in tickets {
//!     pipe.finish(ticket)?;
//! }
//! # Ok::<(), quorate::client::Error>(())
//! ```
//!
//! Operations are those of [`crate::realms::kv::ops`]; revisions, ranges, transactions, leases and watches mean
//! what they mean in etcd.

mod blocking;
mod config;
mod error;
mod link;
mod pipe;
pub(crate) mod said;
#[cfg(test)]
mod tests;
mod watch;

pub use blocking::Client;
pub use config::{Config, Session, Tls};
pub use error::Error;
pub use pipe::{Finished, Pipe, Ticket};
pub use said::{Deleted, Kv, Lease, Outcome, Ranged, Totals};
pub use watch::{Change, Changes, WatchId};

pub use crate::realms::kv::ops::{
    Compare, Delete, Grant, History, Must, Node, Op, Put, Query, Range, Sort, Step, Target, Txn, flag,
};
pub use crate::realms::reply::Status;
pub use crate::tls::BadTls;
