//! Ordered keys with revisions, transactions, leases and a history: etcd's semantics, for two doors.

pub mod ops;
