//! Conversations: bytes in, bytes out, with a tree behind the door and no log in between.

mod bench;
mod golden;
mod talks;
