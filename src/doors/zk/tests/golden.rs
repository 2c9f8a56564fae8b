//! What a real ZooKeeper answered, byte for byte, to bytes that are none of our encoder's.
//! `tests/interop/capture.py` made the file; `..` stands for what a server makes up itself.

use super::bench::Bench;
use crate::doors::zk::Config;

const TALK: &str = include_str!("../golden/talk.txt");

/// Bytes of a line; `None` where any byte will do.
fn parse(hex: &str) -> Vec<Option<u8>> {
    let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
    digits.map(|two| (two != "..").then(|| u8::from_str_radix(two, 16).unwrap())).collect()
}

#[test]
fn a_captured_conversation_goes_the_same_way_here() {
    let mut bench = Bench::new(Config::default());
    let seat = bench.connect("127.0.0.1:999".parse().unwrap());
    let mut heard: Vec<u8> = Vec::new();
    let mut asked = "";
    let mut frames = 0;
    for line in TALK.lines() {
        match line.split_at(line.len().min(2)) {
            ("> ", hex) => {
                assert!(heard.is_empty(), "after {asked}: more than the reference says: {heard:02x?}");
                asked = hex;
                let bytes: Vec<u8> =
                    parse(hex).into_iter().map(|byte| byte.expect("a request is whole")).collect();
                bench.bytes(seat, &bytes);
                bench.settle();
                heard = bench.take(seat).0;
            }
            ("< ", hex) => {
                let wanted = parse(hex);
                let rest = heard.split_off(heard.len().min(wanted.len()));
                let same = heard.len() == wanted.len()
                    && heard.iter().zip(&wanted).all(|(got, want)| want.is_none_or(|want| want == *got));
                assert!(same, "after {asked}:\n reference {hex}\n ours      {}", show(&heard));
                heard = rest;
                frames += 1;
            }
            _ => assert!(line.starts_with('#')),
        }
    }
    assert!(heard.is_empty() && frames > 50);
}

fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
