//! Requests that are refused for what they are.
use crate::support::{peers::*, *};
use Refusal::*;
use ringback::{
    http::{
        Refusal,
        framing::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX},
    },
    relay::Config,
};

/// Requests that are refused and whose connection ends with that.
pub const CLOSING: &[(&str, Refusal)] = &[
    ("GET /dev/\r\n\r\n", BadRequestLine),
    ("GET  /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n", BadRequestLine),
    ("GET /dev/ x HTTP/1.1\r\nHost: relay\r\n\r\n", BadRequestLine),
    ("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET /dev/ HTTP/1.1\r\nHost: relay\r\n\r\n", BadRequestLine),
    ("GET /dev/|x HTTP/1.1\r\nHost: relay\r\n\r\n", BadTargetCharacter),
    ("GET /dev/?{x} HTTP/1.1\r\nHost: relay\r\n\r\n", BadTargetCharacter),
    ("GET /dev/<x>\\^`\" HTTP/1.1\r\nHost: relay\r\n\r\n", BadTargetCharacter),
    ("GET /dev/caf\u{e9} HTTP/1.1\r\nHost: relay\r\n\r\n", BadTargetCharacter),
    ("GET /d\"v/ HTTP/1.1\r\nHost: relay\r\n\r\n", BadTargetCharacter),
    ("GET https://relay/dev/ HTTP/1.1\r\nHost: relay\r\n\r\n", Misdirected),
    ("GET dev HTTP/1.1\r\nHost: relay\r\n\r\n", BadTarget),
    ("GET ftp://relay/dev/ HTTP/1.1\r\nHost: relay\r\n\r\n", BadTarget),
    ("CONNECT dev HTTP/1.1\r\nHost: relay\r\n\r\n", BadTarget),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\nno colon\r\n\r\n", BadHeaderName),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\n: x\r\n\r\n", BadHeaderName),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\nX: a\x01b\r\n\r\n", BadHeaderValue),
    ("GET /dev/ HTTP/1.1\r\nHost : relay\r\n\r\n", SpaceBeforeColon),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length : 5\r\n\r\nhello", SpaceBeforeColon),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\nX: y\r\n folded\r\n\r\n", ObsFold),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\tX: y\r\n\r\n", ObsFold),
    ("GET /dev/\rx HTTP/1.1\r\nHost: relay\r\n\r\n", BareCr),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\nX: a\rb\r\n\r\n", BareCr),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\n\r\n", BareLf),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\n\n", BareLf),
    ("GET /dev/\0 HTTP/1.1\r\nHost: relay\r\n\r\n", Nul),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\nX: a\0b\r\n\r\n", Nul),
    ("GET /dev/ HTTP/1.1\r\n\r\n", MissingHost),
    ("GET http://relay/dev/ HTTP/1.1\r\n\r\n", MissingHost),
    ("GET /dev/ HTTP/1.1\r\nHost: relay\r\nHost: relay\r\n\r\n", RepeatedHost),
    ("GET /dev/ HTTP/1.1\r\nHost: user@relay\r\n\r\n", BadHost),
    ("GET /dev/ HTTP/1.1\r\nHost: :80\r\n\r\n", BadHost),
    (
        "POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        LengthAndEncoding,
    ),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", DifferingLengths),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5, 6\r\n\r\nhello", DifferingLengths),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5, 5\r\n\r\nhello", RepeatedLength),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", RepeatedLength),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 05\r\n\r\nhello", BadLength),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 9223372036854775808\r\n\r\nhello", BadLength),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: five\r\n\r\nhello", BadLength),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: +5\r\n\r\nhello", BadLength),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 18446744073709551616\r\n\r\nhello", BadLength),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 9223372036854775808\r\n\r\nhello", BadLength),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: gzip\r\n\r\nhello", BadTransferEncoding),
    ("POST /dev/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked, gzip\r\n\r\nhello", BadTransferEncoding),
    ("POST /dev/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", EncodingInHttp10),
    ("CONNECT /dev HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n\r\nhello", ConnectWithBody),
    ("GET /dev/ HTTP/1.2\r\nHost: relay\r\n\r\n", UnsupportedVersion),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
    // Good heads, where something else ends the connection.
    ("GET /?x HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n", NoDomain),
    ("GET / HTTP/1.0\r\n\r\n", NoDomain),
    ("POST / HTTP/1.1\r\nHost: relay\r\nContent-Length: 5\r\n\r\nhello", NoDomain),
    ("CONNECT relay:22 HTTP/1.1\r\nHost: relay\r\n\r\n", NoDomain),
    ("GET /other/ HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", NoGateway),
    ("POST /other/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NoGateway),
    // Registrations.
    ("GET /dev HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\n\r\n", AlpnMissing),
    ("GET /dev HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: h2\r\n\r\n", AlpnMissing),
    (
        "GET /relay_domain HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n",
        ReservedDomain,
    ),
    (
        "GET / HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n",
        ReservedDomain,
    ),
    (
        "GET /.well-known/ptth/a.example/ HTTP/1.1\r\nHost: relay\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n",
        BadOrigin,
    ),
    ("GET /.well-known/dev HTTP/1.1\r\nHost: relay\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n", ReservedDomain),
    ("POST /d\"v HTTP/1.1\r\nHost: relay\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n", BadDomain),
    (
        "GET /dev HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\nContent-Length: 5\r\n\r\nhello",
        BadLength,
    ),
];

/// Bodies that go wrong together with their head.
const BAD_BODIES: &[(&str, Refusal)] = &[
    ("x\r\n", BadChunkSize),
    ("\r\n", BadChunkSize),
    ("-1\r\n", BadChunkSize),
    ("5 x\r\nhello\r\n0\r\n\r\n", BadChunkSize),
    ("11111111111111111\r\n", BadChunkSize),
    ("5\nhello\r\n0\r\n\r\n", BadChunkSize),
    ("5\r\nhello!\r\n0\r\n\r\n", BadChunkEnd),
    ("5\r\nhello\n0\r\n\r\n", BadChunkEnd),
    ("0\r\nno colon\r\n\r\n", BadTrailer),
    ("0\r\n folded: x\r\n\r\n", BadTrailer),
    ("0\r\nContent-Length: 5\r\n\r\n", ForbiddenTrailer),
    ("8000000000000000\r\n", BadChunkSize),
    ("5;\r\nhello\r\n0\r\n\r\n", BadChunkSize),
    ("5;a=\"\r\nhello\r\n0\r\n\r\n", BadChunkSize),
];

/// Requests that are refused while their connection is kept, since their end is known.
pub const KEPT: &[(&str, Refusal)] = &[
    ("GET / HTTP/1.1\r\nHost: relay\r\n\r\n", NoDomain),
    ("GET /?dev HTTP/1.1\r\nHost: relay\r\n\r\n", NoDomain),
    ("OPTIONS * HTTP/1.1\r\nHost: relay\r\n\r\n", NoDomain),
    ("GET // HTTP/1.1\r\nHost: relay\r\n\r\n", NoDomain),
    ("GET /d@v/ HTTP/1.1\r\nHost: relay\r\n\r\n", BadDomain),
    ("GET /.well-known/ptth/ HTTP/1.1\r\nHost: relay\r\n\r\n", NoDomain),
    ("GET /../dev/ HTTP/1.1\r\nHost: relay\r\n\r\n", BadDomain),
    ("GET /other/ HTTP/1.1\r\nHost: relay\r\n\r\n", NoGateway),
    ("POST /other/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 0\r\n\r\n", NoGateway),
    ("GET /other/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", NoGateway),
];

/// Refusals that the tests below build requests for.
pub const BUILT: &[Refusal] = &[
    BadChunkSize,
    BadChunkEnd,
    ChunkLineTooLong,
    BadTrailer,
    ForbiddenTrailer,
    TrailersTooLarge,
    DomainTooLong,
    HeadTooLarge,
    TooManyHeaders,
    TooManyHopByHop,
    TooManyOrigins,
    OriginsOverlap,
];

/// A relay whose buffers hold the largest trailers, with a gateway of each dialect that must hear nothing.
struct Scene {
    server: Server,
    gateways: [Peer; 2],
}

impl Scene {
    fn new() -> Scene {
        let server = Server::start(Config { buffer_size: 64 << 10, max_headers: 20, ..config() });
        let gateways = [server.classic("classic"), server.ptth("dev")];
        Scene { server, gateways }
    }

    /// A request is refused, and its connection closed in order.
    #[track_caller]
    fn closes(&self, request: &[u8], refusal: Refusal) {
        let mut client = self.server.connect();
        client.try_send(request);
        client.expect(refusal.closing());
        client.expect_end();
    }

    /// A request is refused, and its connection serves another one, which the gateway gets.
    #[track_caller]
    fn keeps(&mut self, request: &[u8], refusal: Refusal) {
        let mut client = self.server.client(request);
        client.expect(refusal.kept());
        self.is_served(&mut client);
    }

    /// The `ptth` gateway hears this request, and nothing before it.
    #[track_caller]
    fn is_served(&mut self, client: &mut Peer) {
        client.send(get("/dev/next") + "\r\n");
        self.gateways[1].expect(Dialect::Ptth.seen(&get("/dev/next"), true));
        self.gateways[1].send(ok("next"));
        client.expect(ok("next"));
    }

    /// The gateways have heard nothing of all that was refused; then they are asked, and that is the first they hear.
    #[track_caller]
    fn nothing_came_through(mut self) {
        for gateway in &mut self.gateways {
            gateway.expect_silence();
        }
        let mut client = self.server.connect();
        self.is_served(&mut client);
        client.send(get("/classic/") + "\r\n");
        self.gateways[0].expect(Dialect::Classic.seen(&get("/classic/"), true));
        self.gateways[0].send(ok("x"));
        client.expect(ok("x"));
    }
}

/// Each of the tables' requests, for a gateway of either dialect, in one piece.
#[test]
fn refused_at_once() {
    let mut scene = Scene::new();
    for &(request, refusal) in CLOSING {
        scene.closes(request.as_bytes(), refusal);
        scene.closes(request.replace("/dev", "/classic").as_bytes(), refusal);
    }
    for &(request, refusal) in KEPT {
        scene.keeps(request.as_bytes(), refusal);
    }
    scene.nothing_came_through();
}

/// The same byte by byte: what is wrong stays wrong. Where a packet ends in the middle of what is wrong, the relay may
/// say so less exactly, since it does not wait for the rest.
#[test]
fn refused_byte_by_byte() {
    let mut scene = Scene::new();
    for &(request, refusal) in CLOSING {
        let mut client = scene.server.connect();
        for byte in request.as_bytes() {
            client.try_send([*byte]);
        }
        let answer = client.rest();
        let as_good = [refusal, BadRequestLine, BadHeaderName].iter().any(|as_good| as_good.closing() == answer);
        assert!(as_good, "{request:?} gets {}", show(&answer));
    }
    for &(request, refusal) in KEPT {
        let mut client = scene.server.connect();
        for byte in request.as_bytes() {
            client.send([*byte]);
        }
        client.expect(refusal.kept());
        scene.is_served(&mut client);
    }
    scene.nothing_came_through();
}

/// Behind a good request in the same packet: that one is answered, then comes the refusal.
#[test]
fn refused_behind_a_good_request() {
    let mut scene = Scene::new();
    for &(request, refusal) in CLOSING {
        let mut client = scene.server.client(get("/dev/") + "\r\n" + request);
        scene.gateways[1].expect(Dialect::Ptth.seen(&get("/dev/"), true));
        scene.gateways[1].send(ok("good"));
        client.expect(ok("good"));
        client.expect(refusal.closing());
        client.expect_end();
    }
    scene.nothing_came_through();
}

/// A good request behind one whose refusal closes is not served.
#[test]
fn nothing_is_served_behind_a_closing_refusal() {
    let scene = Scene::new();
    for &(request, refusal) in CLOSING {
        scene.closes((request.to_string() + &get("/dev/") + "\r\n").as_bytes(), refusal);
    }
    scene.nothing_came_through();
}

/// HEAD gets the refusal's head alone, kept or not.
#[test]
fn head_gets_no_body() {
    let mut scene = Scene::new();
    let without_body = ringback::http::canned::without_body;
    for request in KEPT.iter().filter(|(request, _)| request.starts_with("GET")) {
        let (request, refusal) = (request.0.replacen("GET", "HEAD", 1), request.1);
        let mut client = scene.server.client(&request);
        client.expect(without_body(refusal.kept()));
        scene.is_served(&mut client);
        let mut client = scene.server.client(request.replace("relay\r\n", "relay\r\nConnection: close\r\n"));
        if request.contains("HTTP/1.1") {
            client.expect(without_body(refusal.closing()));
            client.expect_end();
        }
    }
    scene.nothing_came_through();
}

/// Chunked framing that is broken in the same packet as the head is refused before a byte reaches a gateway.
#[test]
fn bad_bodies_are_refused_with_their_head() {
    let scene = Scene::new();
    let long_line = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(usize::from(CHUNK_LINE_BYTES_MAX)));
    let long_trailer = format!("0\r\nX: {}\r\n\r\n", "x".repeat(usize::from(TRAILER_BYTES_MAX)));
    let built = [(long_line.as_str(), ChunkLineTooLong), (long_trailer.as_str(), TrailersTooLarge)];
    for &(body, refusal) in BAD_BODIES.iter().chain(&built) {
        for domain in ["dev", "classic"] {
            let head = format!("POST /{domain}/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n");
            scene.closes((head + body).as_bytes(), refusal);
        }
    }
    scene.nothing_came_through();
}

/// Where the head has gone to the gateway already, nothing can be refused any more: both sides see that the message
/// is not whole.
#[test]
fn a_body_that_breaks_later_ends_both_sides() {
    let server = Server::start(config());
    let good = "5\r\nhello\r\n";
    let head = "POST /dev/ HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n";
    for &(body, _) in BAD_BODIES {
        for dialect in BOTH {
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(format!("{head}\r\n{good}"));
            gateway.expect(dialect.seen(head, true));
            gateway.expect(good);
            client.send(body);
            let (answer, reset) = client.until_gone();
            assert!(
                answer.is_empty() && reset,
                "{} ends with {}, reset: {reset}",
                show(body.as_bytes()),
                show(&answer)
            );
            let (rest, _) = gateway.until_gone();
            assert!(body.as_bytes().starts_with(&rest), "{} comes as {}", show(body.as_bytes()), show(&rest));
            server.await_parked(0);
        }
    }
}

/// Limits on a head: what is just within is served, one more is refused.
#[test]
fn heads_have_limits() {
    let mut scene = Scene::new();
    let padded = |len: usize| {
        let start = get("/dev/") + "X: ";
        format!("{start}{}\r\n\r\n", "x".repeat(len - start.len() - 4))
    };
    let most = config().max_head_bytes as usize;
    scene.closes(padded(most + 1).as_bytes(), HeadTooLarge);
    scene.closes(&padded(60_000).as_bytes()[..50_000], HeadTooLarge);
    scene.closes((get("/dev/") + &"X: y\r\n".repeat(20) + "\r\n").as_bytes(), TooManyHeaders);
    let options = get("/dev/") + &format!("Connection: {}\r\n\r\n", ["x"; 129].join(","));
    scene.closes(options.as_bytes(), TooManyHopByHop);
    let origins: Vec<_> = (0..17).map(|n| format!("https%3A%2F%2F{n}.example")).collect();
    scene.closes(ptth_get(&format!(".well-known/ptth/{}/", origins.join(",")), "").as_bytes(), TooManyOrigins);
    // A list within the limit, with a domain in it that another connection has alone.
    let origins = ["https%3A%2F%2Fdev", &origins[0]];
    scene.closes(ptth_get(&format!(".well-known/ptth/{}/", origins.join(",")), "").as_bytes(), OriginsOverlap);
    let apart = get("/dev/") + &"Keep-Alive: x\r\nX: y\r\n".repeat(9) + "\r\n";
    let long = "d".repeat(256);
    scene.keeps((get(&format!("/{long}/")) + "\r\n").as_bytes(), DomainTooLong);
    scene.closes(classic_post(&long).as_bytes(), DomainTooLong);
    for (head, body_of_head) in [(padded(most), 2), (get("/dev/") + &"X: y\r\n".repeat(19) + "\r\n", 2), (apart, 0)] {
        let mut client = scene.server.client(&head);
        let gateway = &mut scene.gateways[1];
        if body_of_head > 0 {
            gateway.expect(Dialect::Ptth.seen(&head[..head.len() - body_of_head], true));
        } else {
            gateway.expect(Dialect::Ptth.seen(&(get("/dev/") + &"X: y\r\n".repeat(9)), true));
        }
        gateway.send(ok("x"));
        client.expect(ok("x"));
    }
    let mut client = scene.server.client(get(&format!("/{}/", &long[1..])) + "\r\n");
    client.expect(NoGateway.kept());
    scene.nothing_came_through();
}

/// A classic gateway that asks for a reserved name gets the bytes that its parsers know.
#[test]
fn classic_gateways_are_told_in_their_own_words() {
    let scene = Scene::new();
    for name in ["", "relay_domain", "Relay_Domain"] {
        let mut gateway = scene.server.client(classic_post(name));
        gateway.expect("HTTP/1.1 401 \r\nWWW-Authenticate: Bearer\r\n\r\n");
        gateway.expect_end();
    }
    scene.nothing_came_through();
}

/// Requests that look odd and are in order reach their gateway: nothing of them is refused.
#[test]
fn odd_requests_are_served() {
    let mut scene = Scene::new();
    let names: Vec<_> = (0..9).map(|n| format!("hop-{n}")).collect();
    let named: String = names.iter().map(|name| format!("{name}: x\r\n")).collect();
    for (request, seen) in [
        (get("/dev/") + &format!("Connection: {}\r\n{named}A: b\r\n", names.join(", ")), get("/dev/") + "A: b\r\n"),
        ("\r\n".repeat(8) + &get("/dev/"), get("/dev/")),
    ] {
        let mut client = scene.server.client(request + "\r\n");
        scene.gateways[1].expect(Dialect::Ptth.seen(&seen, true));
        scene.gateways[1].send(ok("x"));
        client.expect(ok("x"));
    }
    let mut client = scene.server.client("GET /dev/ HTTP/1.1\r\nHost:\r\n\r\n");
    let seen = "GET /dev/ HTTP/1.1\r\nHost:\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\r\n";
    scene.gateways[1].expect(seen);
    scene.gateways[1].send(ok("x"));
    client.expect(ok("x"));
    // In more places than a send has parts for.
    let server = Server::start(Config { max_headers: 128, ..config() });
    let mut gateway = server.ptth("dev");
    let mut client = server.client(get("/dev/") + &"Keep-Alive: x\r\nX: y\r\n".repeat(60) + "\r\n");
    gateway.expect(Dialect::Ptth.seen(&(get("/dev/") + &"X: y\r\n".repeat(60)), true));
    gateway.send(ok("x"));
    client.expect(ok("x"));
    scene.nothing_came_through();
}
