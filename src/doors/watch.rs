//! Who watches which keys.
