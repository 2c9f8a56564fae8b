//! ZooKeeper's answers, from a constant.

use super::Answer;
use crate::driver::zk::{
    CLOSE, CREATE, CREATE2, DELETE, EXISTS, GET_CHILDREN, GET_DATA, PING, SET_DATA, SYNC, end, i32_at,
    put_bytes, put_i32, put_i64, take_frame,
};

const STAT: usize = 68;

pub struct Zk {
    greeted: bool,
    asked: bool,
    zxid: i64,
    stat: [u8; STAT],
    value: Vec<u8>,
}

impl Answer for Zk {
    fn new(value_size: usize) -> Zk {
        let mut stat = [0; STAT];
        stat[8 + 7] = 1; // mzxid
        Zk { greeted: false, asked: false, zxid: 1, stat, value: vec![b'v'; value_size] }
    }

    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut taken = 0;
        while let Some(frame) = take_frame(&input[taken..]).ok()? {
            taken += 4 + frame.len();
            if self.greeted { self.reply(frame, out)? } else { self.greet(frame, out)? }
        }
        Some(taken)
    }

    fn asked(&self) -> bool {
        self.asked
    }
}

impl Zk {
    fn greet(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if frame.len() < 44 {
            return None;
        }
        let from = out.len();
        put_i32(out, 0);
        put_i32(out, 0);
        put_i32(out, i32_at(frame, 12));
        put_i64(out, 0x0100_0000_0000_0001);
        put_bytes(out, &[7; 16]);
        if frame.len() > 44 {
            out.push(0);
        }
        end(out, from);
        self.greeted = true;
        Some(())
    }

    fn reply(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if frame.len() < 8 {
            return None;
        }
        let (xid, kind) = (i32_at(frame, 0), i32_at(frame, 4));
        let path = || -> Option<&[u8]> {
            let length = u32::from_be_bytes(frame.get(8..12)?.try_into().ok()?) as usize;
            frame.get(12..12 + length)
        };
        let from = out.len();
        put_i32(out, 0);
        put_i32(out, xid);
        self.zxid += 1;
        put_i64(out, self.zxid);
        put_i32(out, 0);
        match kind {
            CREATE | SYNC => put_bytes(out, path()?),
            CREATE2 => {
                put_bytes(out, path()?);
                out.extend_from_slice(&self.stat);
            }
            GET_DATA => {
                put_bytes(out, &self.value);
                out.extend_from_slice(&self.stat);
            }
            SET_DATA | EXISTS => out.extend_from_slice(&self.stat),
            GET_CHILDREN => put_i32(out, 0),
            DELETE | PING | CLOSE => {}
            _ => return None,
        }
        self.asked |= kind != PING;
        end(out, from);
        Some(())
    }
}
