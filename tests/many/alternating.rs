//! One client connection, many domains: each request is answered by the right gateway.
use crate::{
    from_environment,
    support::{peers::*, *},
};
use ringback::relay::Config;
use std::{
    io::{BufRead, BufReader, Write},
    thread::{self, JoinHandle},
    time::Duration,
};

const DOMAINS: usize = 10;
/// Requests that are sent together, when they are pipelined.
const TOGETHER: usize = 50;

/// Which domain the nth request is for: all of them, in no simple order, sometimes the same one again.
fn domain_of(n: usize) -> usize {
    (n * 7 + n / 13) % DOMAINS
}

fn request(n: usize) -> String {
    let body = format!("question {n}");
    match n % 3 {
        0 => format!("GET /dev-{}/{n} HTTP/1.1\r\nHost: relay\r\n\r\n", domain_of(n)),
        1 => format!(
            "POST /dev-{}/{n} HTTP/1.1\r\nHost: relay\r\nContent-Length: {}\r\n\r\n{body}",
            domain_of(n),
            body.len()
        ),
        _ => format!(
            "PUT /dev-{}/{n} HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            domain_of(n),
            body.len()
        ),
    }
}

/// What the right gateway says to the nth request.
fn response(n: usize) -> String {
    let body = format!("domain {} answers {n}", domain_of(n));
    match n % 4 {
        0 => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        _ => ok(&body),
    }
}

/// Serves one connection of a domain until it ends. False if it ended before anything was asked.
fn serve(connection: Peer, domain: usize) -> bool {
    let mut reader = BufReader::new(connection.stream().try_clone().expect("a descriptor"));
    let mut line = String::new();
    let mut asked = false;
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        let n = line.strip_suffix(" HTTP/1.1\r\n").and_then(|start| start.rsplit('/').next()?.parse::<usize>().ok());
        let Some(n) = n else {
            // The 101 that comes first.
            line.clear();
            continue;
        };
        assert_eq!(domain_of(n), domain, "domain {domain} is asked {line:?}");
        let whole = request(n);
        let (_, body) = whole.split_once("\r\n\r\n").expect("a blank line");
        while line != "\r\n" {
            line.clear();
            assert!(reader.read_line(&mut line).is_ok_and(|read| read > 0), "a head is cut short");
        }
        let mut got = vec![0; body.len()];
        std::io::Read::read_exact(&mut reader, &mut got).expect("a whole body");
        assert_eq!(show(&got), show(body.as_bytes()));
        asked = true;
        if connection.stream().write_all(response(n).as_bytes()).is_err() {
            break;
        }
        line.clear();
    }
    asked
}

/// Keeps a domain's gateway connected until the relay is gone: a classic one once a client goes to another domain.
fn gateway(server: &Server, dialect: Dialect, domain: usize) -> JoinHandle<usize> {
    let name = format!("dev-{domain}");
    let address = server.address();
    let first = server.gateway(dialect, &name);
    thread::spawn(move || {
        let mut sessions = 0;
        let mut connection = Some(first);
        while let Some(open) = connection.take() {
            sessions += usize::from(serve(open, domain));
            connection = std::net::TcpStream::connect(address).ok().map(Peer::new);
            if let Some(connection) = &mut connection {
                connection.try_send(match dialect {
                    Dialect::Classic => classic_post(&name),
                    Dialect::Ptth => ptth_get(&name, ""),
                });
            }
        }
        sessions
    })
}

fn alternates(config: Config, dialect: Dialect, together: usize) {
    let many = from_environment("RINGBACK_MANY", 10_000);
    let server = Server::start(Config { client_wait: Duration::from_secs(60), ..config });
    let gateways: Vec<_> = (0..DOMAINS).map(|domain| gateway(&server, dialect, domain)).collect();
    let mut client = server.connect();
    for first in (0..many).step_by(together) {
        let batch = first..(first + together).min(many);
        client.send(batch.clone().map(request).collect::<String>());
        batch.for_each(|n| client.expect(response(n)));
    }
    client.expect_silence();
    drop(client);
    drop(server);
    for gateway in gateways {
        assert!(gateway.join().expect("a gateway is asked only what is meant for it") > 0);
    }
}

/// One request after the other.
#[test]
fn one_by_one() {
    for dialect in BOTH {
        alternates(config(), dialect, 1);
    }
}

/// The same on two shards, where the client is handed off again and again.
#[test]
fn one_by_one_on_two_shards() {
    for dialect in BOTH {
        alternates(two_shards(), dialect, 1);
    }
}

/// Many requests at once, answered in order.
#[test]
fn pipelined() {
    for dialect in BOTH {
        alternates(config(), dialect, TOGETHER);
    }
}

/// The same on two shards: what was read and not yet served travels with the client.
#[test]
fn pipelined_on_two_shards() {
    for dialect in BOTH {
        alternates(two_shards(), dialect, TOGETHER);
    }
}
