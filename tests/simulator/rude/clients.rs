//! What rude clients do: ask in drops, in floods, in pieces that are none, with more behind than was asked for.
use super::gateways::{DOMAIN, NAMES, registration, serve};
use super::{Do, Manner, SMUGGLED};
use ringback::io::sim::Random;

/// What one connection does. `ahead`: declined tunnels may have bytes behind them that look like requests.
pub(super) fn draw(random: &mut Random, manner: Manner, ahead: bool) -> Vec<Do> {
    let mut todo = Vec::new();
    if random.chance(100) {
        todo.push(Do::Reads(false));
    }
    let kind = match manner {
        Manner::Hogs if random.chance(800) => 8,
        Manner::Claimants if random.chance(800) => 10,
        _ => random.below(10),
    };
    match kind {
        0 => todo.push(Do::Drip(get(DOMAIN), random.pick(&[1, 20, 60]))),
        1 | 2 => flood(random, &mut todo),
        3 => becomes_gateway(random, &mut todo),
        4 => ends_early(random, &mut todo),
        5 => todo.extend([Do::Say(malformed(random)), Do::Pause(3000)]),
        6 | 7 if ahead => tunnel(random, &mut todo),
        8 => upload(random, &mut todo),
        // All for one name, so that gateways of the others stay free.
        10 => todo.extend([Do::Say(get(NAMES[1])), Do::Pause(random.pick(&[10, 500, 5000]))]),
        _ => {
            for _ in 0..random.between(1, 4) {
                todo.extend([Do::Say(get(random.pick(&NAMES))), Do::Heads(1)]);
            }
        }
    }
    match random.below(5) {
        0 => todo.push(Do::Reset),
        1 => todo.extend([Do::Finish, Do::Pause(5000)]),
        2 => todo.push(Do::Pause(random.pick(&[100, 3000, 70_000]))),
        3 => todo.extend([Do::Reads(true), Do::Pause(5000)]),
        _ => {}
    }
    todo
}

fn get(domain: &str) -> Vec<u8> {
    format!("GET /{domain}/ HTTP/1.1\r\nHost: relay.test\r\n\r\n").into_bytes()
}

/// Many small requests at once, refused or served, perhaps without reading an answer.
fn flood(random: &mut Random, todo: &mut Vec<Do>) {
    let one = match random.below(3) {
        0 => get(DOMAIN),
        1 => get("nobody"),
        // Refused on the spot, and the connection is kept.
        _ => b"GET / HTTP/1.1\r\nHost: relay.test\r\n\r\n".to_vec(),
    };
    if random.chance(300) {
        todo.push(Do::Reads(false));
    }
    todo.push(Do::Say(one.repeat(random.pick(&[3, 100, 1500]))));
    todo.extend([Do::Pause(1000), Do::Reads(true), Do::Pause(random.pick(&[10, 5000]))]);
}

/// A client that turns into a gateway, on the same connection.
fn becomes_gateway(random: &mut Random, todo: &mut Vec<Do>) {
    let first = random.pick(&["nobody", DOMAIN]);
    todo.extend([Do::Say(get(first)), Do::Heads(1)]);
    if random.chance(200) {
        // The answer's body may not be there yet.
        todo.pop();
    }
    let classic = random.chance(500);
    todo.push(Do::Say(registration(random, classic)));
    serve(random, todo, classic);
}

fn ends_early(random: &mut Random, todo: &mut Vec<Do>) {
    let mut bytes = match random.below(3) {
        0 => get(DOMAIN),
        1 => post(random, "Content-Length: 1000\r\n", &[b'p'; 1000]),
        _ => post(random, "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    };
    if random.chance(700) {
        bytes.truncate(random.below(bytes.len() + 1));
    }
    todo.push(Do::Say(bytes));
    todo.push(if random.chance(700) { Do::Finish } else { Do::Reset });
    todo.push(Do::Pause(random.pick(&[10, 5000])));
}

/// A request whose head is too long for a send that is sure to take all of it.
fn post(random: &mut Random, framing: &str, body: &[u8]) -> Vec<u8> {
    let filler = "f".repeat(random.below(800));
    let head = format!("POST /{DOMAIN}/ HTTP/1.1\r\nHost: relay.test\r\nX-Filler: {filler}\r\n{framing}\r\n");
    [head.as_bytes(), body].concat()
}

fn upload(random: &mut Random, todo: &mut Vec<Do>) {
    let len = random.pick(&[500, 2000, 20_000, 100_000]);
    let framing = format!("Content-Length: {len}\r\n");
    let mut bytes = post(random, &framing, &vec![b'p'; len]);
    if random.chance(300) {
        let rest = bytes.split_off(random.below(bytes.len()));
        todo.extend([Do::Say(bytes), Do::Pause(random.pick(&[1, 100, 2000]))]);
        bytes = rest;
    }
    todo.extend([Do::Say(bytes), Do::Pause(random.pick(&[1, 3000]))]);
}

fn malformed(random: &mut Random) -> Vec<u8> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let body: &[u8] = match random.below(7) {
        0 => b"zz\r\n",
        1 => b"5\r\n123456789\r\n",
        2 => b"ffffffffffffffffff\r\n",
        3 => b"5\r\n12345\r\n-1\r\n",
        4 => b"5\r\n12345\r\n0\r\nbad trailer\r\n\r\n",
        5 => return format!("GET /{DOMAIN}/ HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Many: 1\r\n".repeat(300)).into_bytes(),
        _ => return [get("nobody"), b"\0\0\0\r\n\r\n".to_vec()].concat(),
    };
    post(random, chunked, body)
}

/// A tunnel is asked for, and what looks like requests to others is sent before anybody has agreed.
fn tunnel(random: &mut Random, todo: &mut Vec<Do>) {
    let domain = random.pick(&[DOMAIN, DOMAIN, "nobody"]);
    let kind = random.below(3);
    let head = match kind {
        0 => format!("CONNECT /{domain} HTTP/1.1\r\nHost: relay.test\r\n\r\n"),
        1 => format!("CONNECT {domain}.relay.test:22 HTTP/1.1\r\nHost: {domain}.relay.test\r\n\r\n"),
        _ => {
            format!("GET /{domain}/ HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        }
    };
    let ahead = format!("GET /dev-0/x HTTP/1.1\r\nHost: relay.test\r\nX-Id: {SMUGGLED}\r\n\r\n");
    todo.push(Do::Say(match random.below(3) {
        0 => [head, ahead].concat().into_bytes(),
        1 => head.into_bytes(),
        _ => [head, "not a request".to_owned()].concat().into_bytes(),
    }));
    if kind < 2 && random.chance(400) {
        // A refused CONNECT ends its connection, whatever comes behind it and when (RFC 9931 §8).
        todo.extend([Do::Pause(random.pick(&[1, 50, 500])), Do::Say(ahead_again())]);
    }
    todo.push(Do::Pause(2000));
}

fn ahead_again() -> Vec<u8> {
    format!("GET /dev-0/y HTTP/1.1\r\nHost: relay.test\r\nX-Id: {SMUGGLED}\r\n\r\n").into_bytes()
}
