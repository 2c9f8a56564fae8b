//! quorate's answers, from a constant.

use quorate::doors::native::wire::{self, Ask, BODY_MAX, Front, Hello, Say, Welcome};
use quorate::realms::reply::{self, Status};

use super::Answer;

pub struct Native {
    asked: bool,
    revision: u64,
    /// The body of a range of one record.
    found: Vec<u8>,
}

impl Answer for Native {
    fn new(value_size: usize) -> Native {
        let mut found = Vec::new();
        found.extend_from_slice(&1u64.to_le_bytes());
        found.extend_from_slice(&1u32.to_le_bytes());
        found.extend_from_slice(&0u32.to_le_bytes());
        let key = b"k";
        for word in [1u64, 1, 1, 0] {
            found.extend_from_slice(&word.to_le_bytes());
        }
        found.extend_from_slice(&(key.len() as u16).to_le_bytes());
        found.extend_from_slice(&0u16.to_le_bytes());
        found.extend_from_slice(&(value_size as u32).to_le_bytes());
        found.extend_from_slice(key);
        found.resize(found.len() + value_size, b'v');
        found.resize(16 + (found.len() - 16).next_multiple_of(8), 0);
        Native { asked: false, revision: 1, found }
    }

    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut rest = input;
        loop {
            let (head, body) = match wire::take_frame(&mut rest, BODY_MAX).ok()? {
                Front::Need(_) => return Some(input.len() - rest.len()),
                Front::Frame(head, body) => (head, body),
            };
            match Ask::from_byte(head.kind)? {
                Ask::Hello => {
                    Hello::decode(body)?;
                    let welcome = Welcome { body_max: BODY_MAX };
                    wire::put_frame(out, Say::Welcome as u8, head.request, &welcome.encode());
                }
                Ask::Write => {
                    self.asked = true;
                    self.revision += 1;
                    wire::put_frame_with(out, Say::Reply as u8, head.request, |out| {
                        reply::bare(out, Status::Ok, self.revision);
                    });
                }
                Ask::Read | Ask::ReadLocal => {
                    self.asked = true;
                    wire::put_frame_with(out, Say::Reply as u8, head.request, |out| {
                        let start = reply::begin(out);
                        out.extend_from_slice(&self.found);
                        reply::finish(out, start, Status::Ok, 0, self.revision);
                    });
                }
                Ask::Ping => wire::put_frame(out, Say::Pong as u8, head.request, &[]),
                _ => return None,
            }
        }
    }

    fn asked(&self) -> bool {
        self.asked
    }
}
