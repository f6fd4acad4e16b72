//! Draws a simulation from a seed: who asks what, and what goes wrong.
use super::plan::{Answer, Exchange, Fate, Framed, Kind};
use super::wire::chunk_ends;
use ringback::io::Millis;
use ringback::io::sim::Random;
use std::collections::VecDeque;

/// A length: mostly small, now and then one worth splicing.
fn length(random: &mut Random) -> usize {
    match random.below(20) {
        0..5 => 0,
        5..12 => random.between(1, 300),
        12..18 => random.between(300, 6000),
        18 => random.between(6000, 40_000),
        _ => random.between(40_000, 200_000),
    }
}

fn answer(random: &mut Random, calm: bool, kind: Kind) -> Answer {
    let fate = match random.below(16) {
        _ if calm => Fate::Whole,
        0 => Fate::None,
        1 => Fate::Cut,
        2 if random.chance(300) => Fate::Never,
        _ => Fate::Whole,
    };
    let tunnel = matches!(kind, Kind::Connect | Kind::Upgrade);
    let refused = tunnel && random.chance(200);
    Answer {
        status: match random.below(10) {
            _ if refused => 403,
            0 => 204,
            1 => 304,
            2 => 404,
            _ => 200,
        },
        framed: random.pick(&[Framed::Length, Framed::Length, Framed::Chunked, Framed::UntilClose]),
        len: length(random),
        interim: if random.chance(150) { random.between(1, 3) } else { 0 },
        early: random.chance(150),
        opaque: !tunnel && random.chance(40),
        close: random.chance(100),
        fate,
        by_reset: random.chance(500),
    }
}

/// A request to one of `domains` (or to one more, which nobody serves).
pub fn exchange(random: &mut Random, domains: usize, calm: bool, may_tunnel: bool) -> Exchange {
    let kind = match random.below(20) {
        0..9 => Kind::Get,
        9..11 => Kind::Head,
        18 if may_tunnel => Kind::Connect,
        19 if may_tunnel => Kind::Upgrade,
        _ => Kind::Post,
    };
    let domain = if random.chance(30) { domains } else { random.below(domains) };
    let http10 = random.chance(80) && !matches!(kind, Kind::Connect | Kind::Upgrade);
    let answer = answer(random, calm, kind);
    let post = kind == Kind::Post;
    let framed = if random.chance(400) && !http10 { Framed::Chunked } else { Framed::Length };
    Exchange {
        domain,
        kind,
        len: if post || kind == Kind::Connect || kind == Kind::Upgrade { length(random) } else { 0 },
        framed,
        expect: post && !http10 && random.chance(200),
        http10,
        close: random.chance(50),
        host_form: random.chance(250),
        answer,
        head: Vec::new(),
        reached: Vec::new(),
        answered: false,
        disturbed: false,
        reset: false,
        client_quits: false,
        under_way: false,
        finished_at: None,
        result: None,
        address: None,
    }
}

/// Where a sender rests, and for how long: behind the data of a chunk, or anywhere in `bytes` from `at` on. That is
/// where a relay that has announced more to its own kernel is left without it.
pub fn rests(random: &mut Random, bytes: &[u8], at: usize, chunked: bool) -> VecDeque<(usize, Millis)> {
    if at >= bytes.len() || !random.chance(150) {
        return VecDeque::new();
    }
    let ends = if chunked { chunk_ends(bytes, at) } else { Vec::new() };
    let mut places: Vec<usize> = (0..random.between(1, 3))
        .map(|_| match ends.is_empty() || random.chance(200) {
            true => random.between(at, bytes.len() - 1),
            // Before its line end, or behind that.
            false => random.pick(&ends) + random.pick(&[0, 0, 1, 2]),
        })
        .collect();
    places.sort_unstable();
    places.into_iter().map(|place| (place, random.pick(&[1, 300, 2000]))).collect()
}

/// Takes the rest that is due, if one is when so much is sent. Says how long it is.
pub fn rest(rests: &mut VecDeque<(usize, Millis)>, sent: usize) -> Option<Millis> {
    let &(at, time) = rests.front()?;
    (at == sent).then(|| {
        rests.pop_front();
        time
    })
}

/// How much an actor gives to the network at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    AllAtOnce,
    InParts,
    ByteByByte,
}

impl Style {
    pub fn draw(random: &mut Random, total: usize) -> Style {
        match random.below(8) {
            0 if total < 1500 => Style::ByteByByte,
            0..4 => Style::InParts,
            _ => Style::AllAtOnce,
        }
    }

    pub fn some_of(self, random: &mut Random, whole: usize) -> usize {
        match self {
            Style::AllAtOnce => whole,
            Style::InParts => random.part(whole).max(whole.min(100)),
            Style::ByteByByte => whole.min(1),
        }
    }
}

/// What is not a request: it must be refused with a 4xx and reach nobody.
pub fn garbage(random: &mut Random) -> Vec<u8> {
    let id = 999_999;
    let text = match random.below(6) {
        0 => "GET /dev-0/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        1 => "POST /dev-0/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        2 => format!("POST /dev-0/x HTTP/1.1\r\nHost: a\r\nX-Id: {id}\r\nContent-Length: 3, 4\r\n\r\nabc"),
        3 => "GET /dev-0/x HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(),
        4 => "GET /dev-0/x HTTP/1.1\r\n\r\n".to_owned(),
        _ => "\u{1}\u{2}nonsense\r\n\r\n".to_owned(),
    };
    text.into_bytes()
}
