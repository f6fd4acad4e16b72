//! What rude gateways do: answer in drops, in pieces that are none, unasked, unread, or not at all.
use super::{Do, Manner};
use ringback::io::sim::Random;

/// The domain of the rude.
pub const DOMAIN: &str = "rude-0";

/// Further ones, which they register with it or without, so that they get into each other's way.
pub const NAMES: [&str; 3] = [DOMAIN, "rude-1", "rude-2"];

/// Where a gateway registers: under one name or some, in any order.
fn place(random: &mut Random) -> String {
    if random.chance(500) {
        return DOMAIN.to_owned();
    }
    let most = NAMES.len();
    claim(random, most)
}

/// Some of the names.
fn claim(random: &mut Random, most: usize) -> String {
    let (first, count) = (random.below(NAMES.len()), random.between(1, most));
    let names = NAMES.iter().cycle().skip(first).take(count);
    let origins: Vec<_> = names.map(|name| format!("https%3A%2F%2F{name}.relay.test")).collect();
    format!(".well-known/ptth/{}/", origins.join(","))
}

/// A registration, in either dialect.
pub fn registration(random: &mut Random, classic: bool) -> Vec<u8> {
    let place = place(random);
    registration_at(&place, classic)
}

fn registration_at(place: &str, classic: bool) -> Vec<u8> {
    let text = match classic {
        true => {
            format!("POST /{place} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: relay.test\r\n\r\n")
        }
        false => format!(
            "GET /{place} HTTP/1.1\r\nHost: relay.test\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n"
        ),
    };
    text.into_bytes()
}

/// The names that a connection registers, by what it is to say.
pub(super) fn registered(todo: &[Do]) -> Vec<&'static str> {
    let said = todo.iter().filter_map(|this| match this {
        Do::Say(bytes) | Do::Drip(bytes, _) => Some(String::from_utf8_lossy(bytes)),
        _ => None,
    });
    let registrations: Vec<_> = said.filter(|text| text.to_lowercase().contains("upgrade: ptth")).collect();
    NAMES.into_iter().filter(|name| registrations.iter().any(|text| text.contains(name))).collect()
}

/// Which name, other than its own, a request is for that a gateway got.
pub(super) fn stray(head: &[u8], names: &[&str]) -> Option<&'static str> {
    let head = String::from_utf8_lossy(head);
    let is_for = |name: &str| head.contains(&format!(" /{name}")) || head.contains(&format!(" {name}.relay.test"));
    NAMES.into_iter().find(|name| !names.is_empty() && !names.contains(name) && is_for(name))
}

/// What one connection does.
pub(super) fn draw(random: &mut Random, manner: Manner) -> Vec<Do> {
    let classic = random.chance(400);
    if manner == Manner::Claimants && random.chance(900) {
        let place = claim(random, 2);
        let stays = Do::Pause(random.pick(&[1, 100, 2000, 5000]));
        return vec![Do::Say(registration_at(&place, classic)), stays, Do::Reset];
    }
    let mut todo = match random.below(8) {
        0 => vec![Do::Drip(registration(random, classic), 5)],
        _ => vec![Do::Say(registration(random, classic))],
    };
    match random.below(if manner == Manner::Hogs { 2 } else { 4 }) {
        // It takes nothing, from its 101 or from its first request on, and is gone at any time.
        0 => {
            todo.extend((!classic).then_some(Do::Heads(1)));
            todo.extend([Do::Reads(false), Do::Pause(random.pick(&[50, 500, 5000, 20_000]))]);
            todo.push(if random.chance(700) { Do::Reset } else { Do::Finish });
        }
        _ => serve(random, &mut todo, classic),
    }
    todo
}

/// Takes requests, once it is registered.
pub(super) fn serve(random: &mut Random, todo: &mut Vec<Do>, classic: bool) {
    // The 101, and the first request.
    todo.push(Do::Heads(2));
    if random.chance(400) {
        todo.push(Do::Serve);
        return;
    }
    for _ in 0..random.between(1, 3) {
        answer(random, todo);
        if classic || random.chance(300) {
            break;
        }
        todo.push(Do::Heads(1));
    }
    match random.below(4) {
        0 => todo.push(Do::Reset),
        1 => todo.extend([Do::Finish, Do::Pause(2000)]),
        2 => todo.push(Do::Pause(20_000)),
        _ => {}
    }
}

fn answer(random: &mut Random, todo: &mut Vec<Do>) {
    if random.chance(150) {
        // The answer comes unread, and the request never is; but the connection stays.
        todo.push(Do::Reads(false));
    }
    if random.chance(150) {
        todo.push(Do::Pause(random.pick(&[1, 300, 5000])));
    }
    let mut bytes = match random.below(12) {
        0 | 1 => interim_flood(random),
        2 | 3 => small_chunks(random),
        4 | 5 => malformed(random),
        6 => until_close(random),
        7 => [whole(200), whole(random.below(3000))].concat(),
        8 => Vec::new(),
        9 => large(random),
        _ => whole(random.below(3000)),
    };
    if random.chance(200) {
        bytes.truncate(random.below(bytes.len() + 1));
    }
    match random.below(6) {
        0 if bytes.len() < 2000 => todo.push(Do::Drip(bytes, random.pick(&[1, 7, 40]))),
        1 if !bytes.is_empty() => {
            let rest = bytes.split_off(random.below(bytes.len()));
            todo.extend([Do::Say(bytes), Do::Pause(random.pick(&[1, 100, 900, 9000])), Do::Say(rest)]);
        }
        _ => todo.push(Do::Say(bytes)),
    }
}

fn whole(len: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nX-Rude: 1\r\nContent-Length: {len}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + len, b'w');
    bytes
}

/// Interim heads without end, nearly, and perhaps no answer behind them.
fn interim_flood(random: &mut Random) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(random.pick(&[5, 300, 3000]));
    if random.chance(500) {
        bytes.extend(whole(10));
    }
    bytes
}

/// Chunks of a byte each.
fn small_chunks(random: &mut Random) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    bytes.extend(b"1\r\nx\r\n".repeat(random.pick(&[3, 500, 10_000])));
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// Worth splicing, by length or in chunks, and cut into pieces by nobody but the network.
fn large(random: &mut Random) -> Vec<u8> {
    if random.chance(400) {
        return whole(random.between(20_000, 200_000));
    }
    let size = random.pick(&[700, 17_000, 40_000, 40_000]);
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..random.pick(&[1, 3, 6, 20]) {
        bytes.extend(format!("{size:x}\r\n").bytes());
        bytes.resize(bytes.len() + size, b'c');
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn until_close(random: &mut Random) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    bytes.resize(bytes.len() + random.pick(&[0, 10, 5000, 50_000]), b'u');
    bytes
}

fn malformed(random: &mut Random) -> Vec<u8> {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = match random.below(14) {
        0 => "HTTP/1.1 abc\r\n\r\n".to_owned(),
        1 => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345".to_owned(),
        2 => "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n12345".to_owned(),
        3 => format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "l".repeat(9000)),
        4 => format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: 1\r\n".repeat(300)),
        5 => "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        6 => format!("{chunks}zz\r\nwhat\r\n0\r\n\r\n"),
        7 => format!("{chunks}5\r\n123456789\r\n0\r\n\r\n"),
        8 => format!("{chunks}ffffffffffffffffff\r\n1"),
        9 => format!("{chunks}5;{}\r\n12345\r\n0\r\n\r\n", "e".repeat(5000)),
        10 => format!("{chunks}5\r\n12345\r\n0\r\n{}\r\n", "X-Trailer: t\r\n".repeat(200)),
        11 => "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: what\r\n\r\nraw".to_owned(),
        12 => "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        _ => "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
    };
    text.into_bytes()
}
