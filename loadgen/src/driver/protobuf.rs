//! Protocol buffers, the wire types that etcd uses.

#[derive(Clone, Copy)]
pub enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    pub fn number(self) -> u64 {
        if let Value::Number(number) = self { number } else { 0 }
    }
}

/// A protobuf message's fields, up to the first byte that is none.
pub fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let key = take_varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(take_varint(&mut message)?),
            2 => {
                let length = take_varint(&mut message)? as usize;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((key >> 3, value))
    })
}

pub fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub fn put_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The first field of this number that is bytes: a message within a message.
pub fn within(message: &[u8], wanted: u64) -> &[u8] {
    let found = fields(message).find_map(|(field, value)| match value {
        Value::Bytes(bytes) if field == wanted => Some(bytes),
        _ => None,
    });
    found.unwrap_or_default()
}

/// The first field of this number that is one; 0 where it is left out.
pub fn number_in(message: &[u8], wanted: u64) -> u64 {
    fields(message).find(|(field, _)| *field == wanted).map_or(0, |(_, value)| value.number())
}
