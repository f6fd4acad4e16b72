//! What it costs to read what passes: the processor time of a relay between two system calls.
//!
//! The users' situation: many small requests on warm connections, whose heads all have to be read and whose relay
//! domains have to be looked up. Clients are a load generator, a script with curl, and people with browsers, whose heads
//! are ten times as long; and devices that answer in chunks, large ones or, as sketches do, small ones.
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringback::{
    http::{
        Body, HEADERS_MAX, Method,
        Parse::Complete,
        RequestHead,
        domain::{self, DOMAIN_BYTES_MAX},
        request, response,
    },
    relay::directory::Directory,
};
use std::hint::black_box;

const WRK: &str = "GET /gsiot-ffmq-ttd5/status HTTP/1.1\r\nHost: relay.example:8080\r\n\r\n";

const CURL: &str = "POST /gsiot-ffmq-ttd5/led HTTP/1.1\r\nHost: relay.example\r\nUser-Agent: curl/8.14.1\r\n\
    Accept: */*\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n";

const BROWSER: &str = "GET /gsiot-ffmq-ttd5/index.html?since=1732271000 HTTP/1.1\r\nHost: relay.example\r\n\
    Connection: keep-alive\r\nCache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\
    \r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08; theme=dark; zone=Europe/Zurich\
    \r\nIf-None-Match: \"5f3c-18c2b7\"\r\n\r\n";

const SKETCH: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n";

const SERVER: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.28.0\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\
    Keep-Alive: timeout=60\r\nVary: Accept-Encoding\r\nCache-Control: no-store\r\n\
    Strict-Transport-Security: max-age=31536000\r\nX-Request-Id: 0b3c6d9e-5f1e-4a53-9a43-21b7f3f5a1c2\r\n\r\n";

/// Bytes that a relay's buffer holds.
const BUFFER_BYTES: usize = 16 * 1024;

fn head(bytes: &[u8]) -> RequestHead {
    match request::parse(bytes, HEADERS_MAX) {
        Ok(Complete(head)) => head,
        other => panic!("not a whole head: {other:?}"),
    }
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("request head");
    for (name, text) in [("wrk", WRK), ("curl", CURL), ("browser", BROWSER)] {
        assert_eq!(usize::from(head(text.as_bytes()).len), text.len());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| request::parse(black_box(text.as_bytes()), HEADERS_MAX)));
    }
}

fn responses(c: &mut Criterion) {
    let mut group = c.benchmark_group("response head");
    for (name, text) in [("sketch", SKETCH), ("server", SERVER)] {
        assert!(matches!(response::parse(text.as_bytes(), Method::Get, HEADERS_MAX), Ok(Complete(_))));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| response::parse(black_box(text.as_bytes()), Method::Get, HEADERS_MAX));
        });
    }
}

/// So many bytes of data in chunks of a size, and the last chunk.
fn chunked(data: usize, chunk: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..data / chunk {
        body.extend_from_slice(format!("{chunk:x}\r\n").as_bytes());
        body.resize(body.len() + chunk, b'.');
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

/// Follows a body as it comes, a buffer at a time.
fn follow(bytes: &[u8]) -> Body {
    let mut body = Body::CHUNKED;
    for buffer in bytes.chunks(BUFFER_BYTES) {
        assert_eq!(body.take(buffer), Ok(buffer.len()));
    }
    body
}

fn framing(c: &mut Criterion) {
    let mut group = c.benchmark_group("64 KiB chunked");
    for chunk in [16 * 1024, 1024] {
        let bytes = chunked(64 * 1024, chunk);
        assert!(follow(&bytes).is_done());
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let id = BenchmarkId::from_parameter(format!("{} KiB chunks", chunk / 1024));
        group.bench_function(id, |b| b.iter(|| follow(black_box(&bytes))));
    }
}

fn domains(c: &mut Criterion) {
    let mut group = c.benchmark_group("domain");
    let directory = Directory::new(2);
    let hostnames = vec!["relay.example".to_string()];
    let in_host = "GET /status HTTP/1.1\r\nHost: GSIoT-ffmq-ttd5.relay.example\r\n\r\n";
    for (name, text) in [("in the path", WRK), ("in the host", in_host)] {
        let bytes = text.as_bytes();
        let head = head(bytes);
        group.bench_function(name, |b| {
            b.iter(|| {
                let named = domain::of(black_box(bytes), &head, &hostnames).expect("a domain");
                let mut room = [0; DOMAIN_BYTES_MAX];
                directory.hash(domain::lower(named.name.of(bytes), &mut room))
            });
        });
    }
}

criterion_group!(benches, requests, responses, framing, domains);
criterion_main!(benches);
