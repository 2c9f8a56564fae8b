//! Conversations: bytes in, bytes out, with a tree behind the door and no log in between.

mod bad;
mod bench;
mod golden;
mod talks;
