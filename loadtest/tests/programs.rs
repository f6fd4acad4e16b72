//! The programs as they are run: real processes, real sockets, ports that the kernel picks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ringback-loadtest");

/// A program that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and gives what it says it is ready with.
fn start(arguments: &[&str]) -> (Running, String) {
    let mut child = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("ready ").unwrap().to_owned();
    (Running(child), address)
}

/// Runs `load` to its end and gives its JSON.
fn load(target: &str, arguments: &[&str]) -> serde_json::Value {
    let folder = std::env::temp_dir();
    let out = folder.join(format!("loadtest-{}-{target}.json", std::process::id()));
    let done = Command::new(PROGRAM)
        .args(["load", "--target", target, "--seconds", "0.3", "--warmup", "0.1"])
        .args(["--json", out.to_str().unwrap()])
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let text = std::fs::read_to_string(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn assert_clean(report: &serde_json::Value) {
    assert_eq!(report["errors"], 0, "{report}");
    assert!(report["requests"].as_u64().unwrap() > 0, "{report}");
}

/// Reads up to and including a blank line.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn every_workload_goes_through_the_pipes_without_an_error() {
    let (_origin, origin) = start(&["origin", "--listen", "127.0.0.1:0"]);
    for mode in [&[][..], &["--splice"]] {
        let listen = ["pipe", "--listen", "127.0.0.1:0", "--to", &origin];
        let (_pipe, pipe) = start(&[&listen[..], mode].concat());
        for workload in ["small", "churn", "hot", "many", "idle", "storm"] {
            let report = load(&pipe, &["--workload", workload, "--connections", "8"]);
            assert_clean(&report);
        }
        assert_clean(&load(&pipe, &["--rate", "500", "--connections", "4"]));
        for mode in ["get", "put", "chunked-get", "chunked-put", "tunnel-get", "tunnel-put"] {
            // Not a multiple of any buffer.
            let bulk = ["--workload", "bulk", "--size", "3000001", "--connections", "3", "--mode", mode];
            assert_clean(&load(&pipe, &bulk));
        }
    }
}

/// Bytes a second at which a few thousand bytes take no time worth waiting for, and are still sent in several pieces.
const PACE: [&str; 2] = ["--pace", "50000"];

#[test]
fn every_long_transfer_can_be_paced() {
    let (_origin, origin) = start(&[&["origin", "--listen", "127.0.0.1:0"], &PACE[..]].concat());
    for mode in ["get", "put", "chunked-get", "chunked-put", "tunnel-get", "tunnel-put"] {
        // Not a multiple of a piece, and the first transfers are shorter.
        let bulk = ["--workload", "bulk", "--size", "12001", "--connections", "3", "--mode", mode];
        assert_clean(&load(&origin, &[&bulk[..], &PACE].concat()));
    }
}

#[test]
fn a_paced_answer_has_the_bytes_asked_for_in_chunks_of_its_pace() {
    const LENGTH: usize = 12_001;
    let (_origin, origin) = start(&[&["origin", "--listen", "127.0.0.1:0"], &PACE[..]].concat());
    let payload: Vec<u8> = (0..LENGTH).map(|index| b'a' + (index % 23) as u8).collect();
    let mut stream = TcpStream::connect(&origin).unwrap();

    stream.write_all(format!("GET /d0/bytes/{LENGTH} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
    assert!(head(&mut stream).contains(&format!("\r\nContent-Length: {LENGTH}\r\n")));
    let mut body = vec![0; LENGTH];
    stream.read_exact(&mut body).unwrap();
    assert!(body == payload);

    let request = format!("GET /d0/chunked/{LENGTH} HTTP/1.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    assert!(head(&mut stream).contains("\r\nTransfer-Encoding: chunked\r\n"));
    let mut wanted = Vec::new();
    for chunk in payload.chunks(5_000) {
        wanted.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wanted.extend_from_slice(chunk);
        wanted.extend_from_slice(b"\r\n");
    }
    wanted.extend_from_slice(b"0\r\n\r\n");
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    assert!(body == wanted);
}

#[test]
fn a_gateway_is_watched_beside_the_relay() {
    let (watched, origin) = start(&["origin", "--listen", "127.0.0.1:0"]);
    let pid = watched.0.id().to_string();
    let report = load(&origin, &["--watch", &pid, "--watch-gateway", &pid]);
    assert_clean(&report);
    for watched in ["relay", "gateway"] {
        assert!(report[watched]["us_per_request"].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[test]
fn answers_can_be_chunked_and_can_close() {
    let (_origin, origin) = start(&["origin", "--listen", "127.0.0.1:0", "--chunked", "--close"]);
    assert_clean(&load(&origin, &["--connections", "2"]));
}

#[test]
fn another_domains_answer_is_told_to_be_wrong() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                loop {
                    head(&mut stream);
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nd99 ").unwrap();
                }
            });
        }
    });
    let report = load(&address, &["--connections", "2"]);
    assert_eq!(report["requests"], 0);
    assert!(report["wrong"].as_u64().unwrap() > 0);
}

#[test]
fn a_polite_client_is_answered_beside_rude_ones() {
    let (_origin, origin) = start(&["origin", "--listen", "127.0.0.1:0"]);
    for kind in ["refused", "drips", "storm"] {
        let mut rude = Command::new(PROGRAM)
            .args(["rude", kind, "--target", &origin, "--seconds", "60"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(rude.stdout.take().unwrap());
        let mut rude = Running(rude);
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{kind}");
        let polite = Command::new(PROGRAM).args(["polite", "--target", &origin, "--seconds", "0.3"]).output().unwrap();
        let waits: serde_json::Value = serde_json::from_slice(&polite.stdout).unwrap();
        assert_eq!(waits["errors"], 0, "{kind}: {waits}");
        assert!(waits["samples"].as_u64().unwrap() > 0, "{kind}: {waits}");
        // It ends when it is told to, long before its time.
        drop(rude.0.stdin.take());
        line.clear();
        said.read_line(&mut line).unwrap();
        assert!(line.starts_with("done "), "{kind}: {line}");
    }
}

#[test]
fn a_ptth_gateway_registers_answers_many_requests_and_comes_back() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = relay.local_addr().unwrap().to_string();
    let _fleet = fleet(&address, "ptth");
    for _ in 0..2 {
        let (mut gateway, _) = relay.accept().unwrap();
        let asked = head(&mut gateway);
        assert!(asked.starts_with("GET /d7 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("Upgrade: ptth\r\n") && asked.contains("ALPN: http%2F1.1\r\n"));
        // The first request may come in the same packet as the 101.
        gateway
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ptth\r\n\
                  ALPN: http%2F1.1\r\n\r\nGET /d7/x HTTP/1.1\r\nHost: relay\r\n\r\n",
            )
            .unwrap();
        for _ in 0..3 {
            assert!(head(&mut gateway).starts_with("HTTP/1.1 200 OK\r\n"));
            let mut body = [0; 29];
            gateway.read_exact(&mut body).unwrap();
            assert!(body.starts_with(b"d7 "));
            gateway.write_all(b"GET /d7/x HTTP/1.1\r\nHost: relay\r\n\r\n").unwrap();
        }
    }
}

#[test]
fn a_classic_gateway_asks_again_after_204_and_is_replaced_at_101() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = relay.local_addr().unwrap().to_string();
    let _fleet = fleet(&address, "classic");
    let (mut gateway, _) = relay.accept().unwrap();
    assert!(head(&mut gateway).starts_with("POST /d7 HTTP/1.1\r\nUpgrade: PTTH/1.0\r\n"));
    gateway.write_all(b"HTTP/1.1 204 \r\n\r\n").unwrap();
    assert!(head(&mut gateway).starts_with("POST /d7 "));
    gateway
        .write_all(
            b"HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n\
              GET /d7/x HTTP/1.1\r\nHost: relay\r\n\r\n",
        )
        .unwrap();
    assert!(head(&mut gateway).starts_with("HTTP/1.1 200 OK\r\n"));
    let (mut replacement, _) = relay.accept().unwrap();
    assert!(head(&mut replacement).starts_with("POST /d7 "));
}

/// A fleet of one gateway, for the domain d7.
fn fleet(relay: &str, dialect: &str) -> Running {
    let child = Command::new(PROGRAM)
        .args(["fleet", "--relay", relay, "--dialect", dialect])
        .args(["--gateways", "1", "--domain-offset", "7"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}
