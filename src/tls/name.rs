//! A certificate's subject in the words of RFC 2253, as ZooKeeper's x509 scheme has it.

/// Names of attributes; others are told by their numbers and bytes.
const NAMES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1], "UID"),
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;

/// `name` is the content of a `Name`: sets of attributes, the most general first. `None`: it is not.
pub fn rfc2253(mut name: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !name.is_empty() {
        let (tag, mut set) = take(&mut name)?;
        let mut joint = Vec::new();
        while tag == SET && !set.is_empty() {
            let (SEQUENCE, mut pair) = take(&mut set)? else { return None };
            let (OID, oid) = take(&mut pair)? else { return None };
            let whole = pair;
            let (kind, value) = take(&mut pair)?;
            joint.push(attribute(oid, kind, value, whole));
        }
        (tag == SET).then(|| parts.push(joint.join("+")))?;
    }
    parts.reverse();
    Some(parts.join(","))
}

/// One element of DER: its tag and content.
fn take<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, first], mut tail) = rest.split_first_chunk::<2>()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (digits, after) =
            tail.split_at_checked(usize::from(first & 0x7f)).filter(|(d, _)| d.len() <= 3)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        tail = after;
    }
    let (content, after) = tail.split_at_checked(length)?;
    *rest = after;
    Some((tag, content))
}

fn attribute(oid: &[u8], kind: u8, value: &[u8], whole: &[u8]) -> String {
    // UTF8String, PrintableString, TeletexString, IA5String; BMPString and its like are told as bytes.
    let text = matches!(kind, 12 | 19 | 20 | 22).then(|| std::str::from_utf8(value).ok()).flatten();
    match (NAMES.iter().find(|(known, _)| *known == oid), text) {
        (Some((_, name)), Some(text)) => format!("{name}={}", escaped(text)),
        (known, _) => {
            let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}=#{hex}", known.map_or_else(|| dotted(oid), |(_, name)| (*name).to_owned()))
        }
    }
}

fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::new();
    for (nth, c) in text.chars().enumerate() {
        let edge = c == ' ' && (nth == 0 || nth == last) || c == '#' && nth == 0;
        if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn dotted(oid: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for &byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            if numbers.is_empty() {
                numbers.extend([(number / 40).min(2), number - 40 * (number / 40).min(2)]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(oid: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        element(SET, &element(SEQUENCE, &[element(OID, oid), element(kind, value)].concat()))
    }

    #[test]
    fn names_read_as_the_standard_writes_them() {
        let name = [
            pair(&[0x55, 4, 6], 19, b"DE"),
            pair(&[0x55, 4, 10], 12, b"a,b"),
            pair(&[0x55, 4, 3], 12, b" ann "),
        ];
        assert_eq!(rfc2253(&name.concat()).unwrap(), "CN=\\ ann\\ ,O=a\\,b,C=DE");
        let unknown = pair(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 1], 22, b"a@b");
        assert_eq!(rfc2253(&unknown).unwrap(), "1.2.840.113549.1.9.1=#1603614062");
        assert_eq!(rfc2253(b""), Some(String::new()));
    }

    #[test]
    fn what_is_no_name_is_none() {
        let sound = pair(&[0x55, 4, 3], 12, b"ann");
        for end in 1..sound.len() {
            assert_eq!(rfc2253(&sound[..end]), None, "{end}");
        }
        assert_eq!(rfc2253(&[0x30, 0]), None);
        assert_eq!(rfc2253(&[SET, 0x85, 1, 1, 1, 1, 1]), None);
    }
}
