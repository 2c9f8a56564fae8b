//! The head of a gRPC request. Nothing in it differs between two requests but the path: each field goes into the
//! server's header table once, and is named by its number from then on.

use super::http2::put_string;

#[derive(Clone, Copy)]
pub enum Field {
    Authority,
    ContentType,
    Te,
    Put,
    Range,
    Authenticate,
    Token,
    Txn,
}

const FIELDS: usize = 8;
/// A longer token would push other fields out of a small table.
const TOKEN_KEPT: usize = 128;
/// All fields together take less than this.
const TABLE_LEAST: u32 = 512;

pub struct Heads {
    secure: bool,
    /// Where in the order of insertion a field stands in the server's table.
    inserted: [Option<u32>; FIELDS],
    insertions: u32,
    server_keeps_table: bool,
    /// What the server gave us for user and password; it stands in every request.
    token: Vec<u8>,
    block: Vec<u8>,
}

impl Heads {
    pub fn new(secure: bool) -> Heads {
        Heads {
            secure,
            inserted: [None; FIELDS],
            insertions: 0,
            server_keeps_table: true,
            token: Vec::new(),
            block: Vec::with_capacity(256),
        }
    }

    pub fn prove(&mut self, token: &[u8]) {
        self.token = token.to_vec();
        self.server_keeps_table &= token.len() <= TOKEN_KEPT;
    }

    /// The server says how much it keeps.
    pub fn on_table(&mut self, bytes: u32) {
        self.server_keeps_table = bytes >= TABLE_LEAST;
    }

    /// As `write` left it.
    pub fn block(&self) -> &[u8] {
        &self.block
    }

    pub fn write(&mut self, path: Field) {
        self.block.clear();
        // :method POST, :scheme http or https
        self.block.extend_from_slice(&[0x83, if self.secure { 0x87 } else { 0x86 }]);
        let all = [path, Field::Authority, Field::ContentType, Field::Te, Field::Token];
        for &field in if self.token.is_empty() { &all[..4] } else { &all } {
            if !self.server_keeps_table {
                field.write(false, &self.token, &mut self.block);
                continue;
            }
            match self.inserted[field as usize] {
                // The newest entry has number 62.
                Some(nth) => self.block.push(0x80 | (62 + self.insertions - 1 - nth) as u8),
                None => {
                    self.inserted[field as usize] = Some(self.insertions);
                    self.insertions += 1;
                    field.write(true, &self.token, &mut self.block);
                }
            }
        }
    }
}

impl Field {
    /// As a literal, to be kept in the server's table or not.
    fn write(self, keep: bool, token: &[u8], block: &mut Vec<u8>) {
        let (kept, plain, value): (&[u8], &[u8], &[u8]) = match self {
            Field::Authority => (&[0x41], &[0x01], b"loadgen"),
            Field::ContentType => (&[0x5f], &[0x0f, 0x10], b"application/grpc"),
            Field::Te => (b"\x40\x02te", b"\x00\x02te", b"trailers"),
            Field::Put => (&[0x44], &[0x04], b"/etcdserverpb.KV/Put"),
            Field::Range => (&[0x44], &[0x04], b"/etcdserverpb.KV/Range"),
            Field::Authenticate => (&[0x44], &[0x04], b"/etcdserverpb.Auth/Authenticate"),
            Field::Txn => (&[0x44], &[0x04], b"/etcdserverpb.KV/Txn"),
            Field::Token => (b"\x40\x05token", b"\x00\x05token", token),
        };
        let name = if keep { kept } else { plain };
        block.extend_from_slice(name);
        put_string(block, value);
    }
}
