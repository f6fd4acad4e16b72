//! Peers that speak to the port for TLS as nobody should.
use super::Do;
use crate::simulator::toy;
use ringback::io::sim::Random;

/// More than any ClientHello may take.
const OVERSIZED: usize = 40 << 10;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const DATA: u8 = 23;

/// What one of them does.
pub(super) fn draw(random: &mut Random) -> Vec<Do> {
    let hello = hello();
    let mut todo = match random.below(9) {
        // No TLS at all.
        0 => vec![Do::Say(b"GET /dev-0/ HTTP/1.1\r\nHost: relay.test\r\n\r\n".to_vec())],
        // Half a ClientHello, and silence.
        1 => vec![Do::Say(hello[..random.between(1, hello.len() - 1)].to_vec()), Do::Pause(60_000)],
        // One that never ends, whole or in small records.
        2 => vec![Do::Say(oversized(random.pick(&[50, 16_384])))],
        // A whole one, and nothing, or garbage behind it.
        3 => vec![Do::Say(hello), Do::Pause(random.pick(&[100, 60_000]))],
        4 => vec![Do::Say([hello, garbage(random, DATA)].concat())],
        5 => vec![Do::Say([hello, garbage(random, HANDSHAKE)].concat())],
        // One byte of it at a time.
        6 => vec![Do::Drip(hello, random.pick(&[1, 100])), Do::Pause(1000)],
        // A close_notify, before or instead of a handshake.
        7 => vec![Do::Say(record(ALERT, &[1, 0])), Do::Say(hello)],
        _ => {
            let kind = random.pick(&[20, ALERT, HANDSHAKE, DATA, 24, 99]);
            vec![Do::Say(garbage(random, kind)), Do::Pause(1000)]
        }
    };
    match random.below(4) {
        0 => todo.push(Do::Finish),
        1 => todo.push(Do::Reset),
        _ => {}
    }
    todo.push(Do::Pause(random.pick(&[10, 5000])));
    if random.chance(200) {
        todo.insert(0, Do::Reads(false));
    }
    todo
}

fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    toy::connection(&toy::client()).write_tls(&mut bytes).expect("memory takes everything");
    bytes
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("a record's length").to_be_bytes();
    [&[kind, 3, 3, high, low], content].concat()
}

/// A ClientHello that says it is longer than any may be, in records of so many bytes.
fn oversized(each: usize) -> Vec<u8> {
    let mut message = vec![1, 1, 0, 0];
    message.resize(OVERSIZED, 7);
    message.chunks(each).flat_map(|some| record(HANDSHAKE, some)).collect()
}

/// Records of one kind, of any content, and now and then cut off.
fn garbage(random: &mut Random, kind: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.between(1, 5) {
        let len = random.pick(&[0, 1, 17, 300, 16_384, 18_000]);
        let content: Vec<u8> = (0..len).map(|_| random.word() as u8).collect();
        bytes.extend(record(kind, &content));
    }
    if random.chance(300) {
        bytes.truncate(random.between(1, bytes.len()));
    }
    bytes
}
