//! Answers that the relay itself gives, byte for byte.
use std::fmt;

/// "Nothing happened, ask again" for a parked `PTTH/1.0` gateway. Nothing may follow until it asks again.
pub const CLASSIC_204: &[u8] = b"HTTP/1.1 204 \r\n\r\n";

/// "A client arrived" for a parked `PTTH/1.0` gateway; the client's bytes follow at once. Existing microcontroller
/// sketches count these bytes.
pub const CLASSIC_101: &[u8] = b"HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n";

/// Key missing or wrong, or a reserved domain, for a `PTTH/1.0` gateway. The relay closes behind it.
pub const UNAUTHORIZED_401: &[u8] = b"HTTP/1.1 401 \r\nWWW-Authenticate: Bearer\r\n\r\n";

/// The answer to `Upgrade: ptth`; from here on the relay sends the requests.
pub const PTTH_101: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n";

/// The same for a gateway that has sent a key, from a relay that asks for none: the gateway can tell its user.
pub const PTTH_101_UNCHECKED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\nX-Relay-Key: unchecked\r\n\r\n";

// What sketches hard-wire.
const _: () = assert!(CLASSIC_204.len() == 17 && CLASSIC_101.len() == 57);

/// Too many connections for a domain, or too fast, for a `PTTH/1.0` gateway. The relay closes behind it.
#[derive(Clone, Copy, Debug)]
pub struct TooMany429 {
    bytes: [u8; TooMany429::BYTES_MAX],
    len: u8,
}

impl TooMany429 {
    const HEAD: &[u8] = b"HTTP/1.1 429 \r\nRetry-After: ";
    const REASON: &[u8] = b"\r\nX-Relay-Error: ";
    const BLANK_LINE: &[u8] = b"\r\n\r\n";
    /// Longest reason.
    const REASON_MAX: usize = 32;
    /// With the ten digits of the largest `u32`.
    const BYTES_MAX: usize =
        TooMany429::HEAD.len() + 10 + TooMany429::REASON.len() + TooMany429::REASON_MAX + TooMany429::BLANK_LINE.len();

    /// The answer's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Why a gateway is told to come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOff {
    /// Gateways register too fast, all together.
    RegistrationRate,
    /// The domain has as many connections as it may.
    DomainConnections,
}

impl PutOff {
    /// The value of `X-Relay-Error`.
    pub fn reason(self) -> &'static str {
        match self {
            PutOff::RegistrationRate => "registration-rate",
            PutOff::DomainConnections => "gateways-of-domain",
        }
    }
}

/// Tells a gateway to come back in `retry_after` seconds, and why. Allocates nothing.
pub fn too_many_429(put_off: PutOff, retry_after: u32) -> TooMany429 {
    let mut digits = [0; 10];
    let mut first = digits.len();
    let mut rest = retry_after;
    while rest > 0 || first == digits.len() {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut bytes = [0; TooMany429::BYTES_MAX];
    let mut len = 0;
    let reason = put_off.reason().as_bytes();
    for part in [TooMany429::HEAD, &digits[first..], TooMany429::REASON, reason, TooMany429::BLANK_LINE] {
        bytes[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    TooMany429 { bytes, len: len as u8 }
}

/// Appends to `out` the answer that sends a `PTTH/1.0` gateway to another node. `authority` is that node's
/// `host[:port]`; `tls` is whether this connection is one. The relay closes behind it.
pub fn moved_307(out: &mut Vec<u8>, tls: bool, authority: &str, domain: &[u8]) {
    let scheme: &[u8] = if tls { b"https://" } else { b"http://" };
    // One space, lower-case scheme, a slash behind the authority: existing parsers search for exactly that.
    for part in [b"HTTP/1.1 307 \r\nLocation: ", scheme, authority.as_bytes(), b"/", domain, b"\r\n\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The answer to a health check, on a connection that is kept.
pub const HEALTHY_KEPT: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nok\n";

/// The same with `Connection: close`.
pub const HEALTHY_CLOSING: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// The part of a canned `answer` that answers HEAD: everything before the body.
pub fn without_body(answer: &'static [u8]) -> &'static [u8] {
    let blank_line = answer.windows(4).position(|four| four == b"\r\n\r\n");
    &answer[..blank_line.map_or(answer.len(), |at| at + 4)]
}

/// Builds one whole answer at compile time.
macro_rules! answer {
    ($status:literal, $connection:literal, $reason:literal, [$($more:literal)?], $body:expr) => {{
        const HEAD: &str =
            concat!("HTTP/1.1 ", $status, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ");
        const TAIL: &str =
            concat!("\r\nConnection: ", $connection, "\r\nX-Relay-Error: ", $reason, "\r\n", $($more,)? "\r\n");
        const BODY: &str = $body;
        const LEN: usize = HEAD.len() + digits(BODY.len()) + TAIL.len() + BODY.len();
        const BYTES: [u8; LEN] = join(HEAD.as_bytes(), TAIL.as_bytes(), BODY.as_bytes());
        &BYTES
    }};
}

/// How many decimal digits `n` has.
const fn digits(n: usize) -> usize {
    if n < 10 { 1 } else { 1 + digits(n / 10) }
}

/// `head`, the length of `body` in decimal, `tail`, `body`: `LEN` bytes.
const fn join<const LEN: usize>(head: &[u8], tail: &[u8], body: &[u8]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    copy(&mut bytes, 0, head);
    let behind_length = head.len() + digits(body.len());
    let (mut at, mut rest) = (behind_length, body.len());
    while at > head.len() {
        at -= 1;
        bytes[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    copy(&mut bytes, behind_length, tail);
    copy(&mut bytes, behind_length + tail.len(), body);
    bytes
}

/// Copies `from` to `at` in `to`.
const fn copy(to: &mut [u8], at: usize, from: &[u8]) {
    let mut i = 0;
    while i < from.len() {
        to[at + i] = from[i];
        i += 1;
    }
}

/// The number at the start of a status such as `404 Not Found`.
const fn number(status: &str) -> u16 {
    let s = status.as_bytes();
    (s[0] - b'0') as u16 * 100 + (s[1] - b'0') as u16 * 10 + (s[2] - b'0') as u16
}

/// One line a refusal: status, value of `X-Relay-Error`, what was wrong, what to do, and headers of its own.
macro_rules! refusals {
    ($($name:ident $status:literal $reason:literal $wrong:literal, $advice:literal $($more:literal)?;)*) => {
        /// Why the relay answers by itself, each with one fixed answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Refusal {
            $(#[doc = concat!($status, ": ", $wrong, ".")] $name,)*
        }

        impl Refusal {
            /// Every refusal, for tests and documentation.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Refusal::$name => const { number($status) },)* }
            }

            /// The value of `X-Relay-Error`.
            pub fn reason(self) -> &'static str {
                match self { $(Refusal::$name => $reason,)* }
            }

            /// What was wrong, as the start of a sentence.
            pub fn wrong(self) -> &'static str {
                match self { $(Refusal::$name => $wrong,)* }
            }

            /// The whole answer, with `Connection: close`.
            pub fn closing(self) -> &'static [u8] {
                match self {
                    $(Refusal::$name => answer!(
                        $status, "close", $reason, [$($more)?], concat!($wrong, ": ", $advice, ".\n")
                    ),)*
                }
            }

            /// The whole answer, for a connection that is kept.
            pub fn kept(self) -> &'static [u8] {
                match self {
                    $(Refusal::$name => answer!(
                        $status, "keep-alive", $reason, [$($more)?], concat!($wrong, ": ", $advice, ".\n")
                    ),)*
                }
            }
        }
    };
}

refusals! {
    BadRequestLine "400 Bad Request" "bad-request-line"
        "The request line is not of the form METHOD target HTTP/1.1", "send one, with single spaces";
    BadTarget "400 Bad Request" "bad-target"
        "The request target is of no form that its method allows",
        "send a path, an http or https URL, or host:port with CONNECT";
    BadTargetCharacter "400 Bad Request" "bad-target-character"
        "The request target has a character that no target may have", "percent-encode it";
    BadHeaderName "400 Bad Request" "bad-header-name"
        "A header line has no name, or a character that no name may have", "send Name: value";
    BadHeaderValue "400 Bad Request" "bad-header-value"
        "A header value has a control character", "encode or remove it";
    SpaceBeforeColon "400 Bad Request" "space-before-colon"
        "There is whitespace between a header name and its colon", "remove it";
    ObsFold "400 Bad Request" "obs-fold"
        "A header line starts with whitespace", "write each header on one line";
    BareCr "400 Bad Request" "bare-cr"
        "There is a carriage return without a line feed in the head", "end each line with both";
    BareLf "400 Bad Request" "bare-lf"
        "There is a line feed without a carriage return in the head", "end each line with both";
    Nul "400 Bad Request" "nul"
        "There is a zero byte in the head", "remove it";
    MissingHost "400 Bad Request" "missing-host"
        "There is no Host header, which HTTP/1.1 demands", "send one";
    RepeatedHost "400 Bad Request" "repeated-host"
        "There is more than one Host header", "send one";
    BadHost "400 Bad Request" "bad-host"
        "The Host header is not of the form host or host:port", "send it so";
    LengthAndEncoding "400 Bad Request" "length-and-encoding"
        "There is a Content-Length together with a Transfer-Encoding", "send one of them";
    DifferingLengths "400 Bad Request" "differing-lengths"
        "There are Content-Lengths that differ", "send one";
    BadLength "400 Bad Request" "bad-length"
        "The Content-Length is not a decimal number below 2^63 without leading zeros", "send one";
    RepeatedLength "400 Bad Request" "repeated-length"
        "There is more than one Content-Length", "send one";
    BadTransferEncoding "400 Bad Request" "bad-transfer-encoding"
        "The Transfer-Encoding does not end in chunked, once and without parameters", "send chunked, last";
    EncodingInHttp10 "400 Bad Request" "encoding-in-http10"
        "There is a Transfer-Encoding in an HTTP/1.0 message", "send HTTP/1.1 or a Content-Length";
    ConnectWithBody "400 Bad Request" "connect-with-body"
        "There is a Content-Length above 0 or a Transfer-Encoding in a CONNECT request",
        "send what follows in the tunnel";
    BadChunkSize "400 Bad Request" "bad-chunk-size"
        "A chunk does not start with its size in at most 16 hexadecimal digits and a line end", "send it so";
    BadChunkEnd "400 Bad Request" "bad-chunk-end"
        "A chunk is not as long as it says", "send its data, then a line end";
    ChunkLineTooLong "400 Bad Request" "chunk-line-too-long"
        "The extensions of a chunk are longer than 4096 bytes", "send fewer or none";
    BadTrailer "400 Bad Request" "bad-trailer"
        "A trailer line is not of the form Name: value", "send it so, on one line";
    ForbiddenTrailer "400 Bad Request" "forbidden-trailer"
        "There is a trailer for framing, routing, authentication or the content's form", "send it as a header";
    AlpnMissing "400 Bad Request" "alpn-missing"
        "There is no ALPN header that offers http/1.1", "send ALPN: http%2F1.1 with Upgrade: ptth";
    BadOrigin "400 Bad Request" "bad-origin"
        "An origin in the path of the registration is not of the form https://host or https://host:port",
        "send it so, percent-encoded";
    TooManyOrigins "400 Bad Request" "too-many-origins"
        "The registration names too many domains", "spread them over several connections";
    BadProxyHeader "400 Bad Request" "bad-proxy-header"
        "The PROXY protocol header is malformed or too long", "look at the proxy in front";
    BadDomain "400 Bad Request" "bad-domain"
        "The relay domain has a character that no domain may have",
        "use letters, digits and - . _ ~ % ! $ & ' ( ) * + , ; =";
    Unauthorized "401 Unauthorized" "unauthorized"
        "The key for this relay domain is missing or wrong", "send Authorization: Bearer and the key"
        "WWW-Authenticate: Bearer\r\n";
    ReservedDomain "401 Unauthorized" "reserved-domain"
        "The relay domain is reserved or empty", "register another one"
        "WWW-Authenticate: Bearer\r\n";
    CallUnauthorized "401 Unauthorized" "call-unauthorized"
        "Requests to this relay domain take a key, and there is none or a wrong one",
        "send X-Relay-Authorization: Bearer and the key, or Authorization"
        "WWW-Authenticate: Bearer, Basic realm=\"relay domain\"\r\n";
    KeyExpired "401 Unauthorized" "key-expired"
        "The key has expired", "use a new one"
        "WWW-Authenticate: Bearer\r\n";
    GatewaysClosed "401 Unauthorized" "gateways-closed"
        "Only gateways on the relay's own machine may register",
        "start the relay with --keys, or with --allow-any-gateway"
        "WWW-Authenticate: Bearer\r\n";
    KeyForOthers "403 Forbidden" "key-for-others"
        "The key is good, but not for this relay domain, or not for this", "use the one that is";
    SourceForbidden "403 Forbidden" "source-forbidden"
        "Requests to this relay domain may not come from your address", "ask whoever runs the relay";
    MethodForbidden "403 Forbidden" "method-forbidden"
        "Requests to this relay domain may not have this method", "ask whoever runs the relay";
    PathForbidden "403 Forbidden" "path-forbidden"
        "Requests to this relay domain may not have this path", "ask whoever runs the relay";
    NoDomain "404 Not Found" "no-domain"
        "The request names no relay domain", "put it first in the path or in the host name";
    RequestTooSlow "408 Request Timeout" "request-too-slow"
        "The request's body came too slowly while other clients were waiting",
        "send it faster than the relay's minimum rate, or when less is going on";
    HeadTimeout "408 Request Timeout" "head-timeout"
        "The head of the request did not arrive in time", "send it at once";
    OriginsOverlap "409 Conflict" "origins-overlap"
        "Other connections have registered some of these domains without the others, or with more",
        "register the same list on all connections";
    LengthForClassic "413 Content Too Large" "length-for-classic"
        "The body is longer than the 2147483647 bytes that this gateway can count", "send it in parts";
    DomainTooLong "414 URI Too Long" "domain-too-long"
        "The relay domain is longer than 255 bytes", "use a shorter one";
    Misdirected "421 Misdirected Request" "misdirected"
        "The request target is an https URL, and this connection is not encrypted",
        "send an http URL or a path, or use the port for https";
    ClientsElsewhere "421 Misdirected Request" "clients-elsewhere"
        "Only gateways are served at this address", "send requests to the relay's other one";
    GatewaysElsewhere "421 Misdirected Request" "gateways-elsewhere"
        "Gateways register at another address of this relay", "use the one of its --listen-gateways";
    TooManyFromAddress "429 Too Many Requests" "too-many-from-address"
        "This address has as many connections as it may, or opens them too fast", "use fewer, and keep them"
        "Retry-After: 1\r\n";
    HeadTooLarge "431 Request Header Fields Too Large" "head-too-large"
        "The request line and the headers are too long together", "send less";
    TooManyHeaders "431 Request Header Fields Too Large" "too-many-headers"
        "There are too many headers", "send fewer";
    TooManyHopByHop "431 Request Header Fields Too Large" "too-many-hop-by-hop"
        "There are more than 128 options in Connection", "send fewer";
    TrailersTooLarge "431 Request Header Fields Too Large" "trailers-too-large"
        "The trailers are longer than 16384 bytes together", "send less";
    GatewayFailed "502 Bad Gateway" "gateway-failed"
        "The gateway's connection ended before a response", "look at the gateway, then try again";
    GatewayBadResponse "502 Bad Gateway" "gateway-bad-response"
        "The gateway's response breaks the rules of HTTP", "look at the service behind the gateway";
    GatewayInsecure "502 Bad Gateway" "gateway-insecure"
        "The gateway's connection is not encrypted, and yours is",
        "have the gateway use https, or start the relay with --allow-plain-gateways";
    TooManyConnections "503 Service Unavailable" "too-many-connections"
        "The relay has as many connections as it may", "try again later"
        "Retry-After: 5\r\n";
    MemoryFull "503 Service Unavailable" "memory-full"
        "The relay holds as many bytes for others as it may", "try again later"
        "Retry-After: 5\r\n";
    ShuttingDown "503 Service Unavailable" "shutting-down"
        "The relay is shutting down", "try again soon"
        "Retry-After: 2\r\n";
    NoGateway "504 Gateway Timeout" "no-gateway"
        "No gateway serves this relay domain", "check its spelling, or start the gateway";
    GatewayAbsent "504 Gateway Timeout" "gateway-absent"
        "The gateway was here lately and has not come back", "try again soon"
        "Retry-After: 2\r\n";
    GatewayBusy "504 Gateway Timeout" "gateway-busy"
        "All connections of the gateway are busy", "try again soon, or let it open more"
        "Retry-After: 2\r\n";
    GatewayTimeout "504 Gateway Timeout" "gateway-timeout"
        "The gateway did not start a response in time", "look at the service behind the gateway";
    UnsupportedVersion "505 HTTP Version Not Supported" "unsupported-version"
        "The version is neither HTTP/1.1 nor HTTP/1.0", "send HTTP/1.1";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wrong())
    }
}

impl std::error::Error for Refusal {}
