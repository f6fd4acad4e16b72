//! Whose bytes are whose: a target's connection is used again only when there is no doubt about where its next response
//! starts, and what it sends is passed on in one way to read it or not at all.
use crate::wire::{GET, OK, Wire, joined};

/// The next request comes over a new connection to the target, and the old one was closed.
async fn is_left(relay: &mut Wire, target: &crate::wire::Host, old: &mut Wire) {
    relay.say(GET).await;
    let mut fresh = target.accept().await;
    fresh.expect(GET).await;
    fresh.say(OK).await;
    relay.expect(OK).await;
    old.gone().await;
}

#[tokio::test]
async fn a_body_that_the_target_may_not_have_read_is_not_the_next_clients_request() {
    let smuggled = "GET /chosen-by-the-first-client HTTP/1.1\r\nHost: h\r\n\r\n";
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "PROPFIND"] {
        for chunked in [false, true] {
            let (mut relay, target, _host, _gateway) = joined().await;
            let (framing, body) = match chunked {
                false => (format!("Content-Length: {}", smuggled.len()), smuggled.to_owned()),
                true => {
                    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
                    ("Transfer-Encoding: chunked".to_owned(), chunk)
                }
            };
            let lines = format!("{method} / HTTP/1.1\r\nHost: h\r\n{framing}\r\n");
            relay.say(format!("{lines}\r\n{body}")).await;
            let mut at_target = target.accept().await;
            at_target.expect(format!("{lines}Connection: close\r\n\r\n{body}")).await;
            let answer = if method == "HEAD" { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" } else { OK };
            at_target.say(answer).await;
            relay.expect(answer).await;
            is_left(&mut relay, &target, &mut at_target).await;
        }
    }
}

#[tokio::test]
async fn the_connection_is_kept_behind_bodies_that_servers_read() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    for method in ["POST", "PUT", "PATCH"] {
        at_target.say(OK).await;
        relay.expect(OK).await;
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        relay.say(&request).await;
        at_target.expect(&request).await;
    }
}

#[tokio::test]
async fn what_was_sent_behind_a_declined_connect_is_no_request() {
    let (mut relay, target, host, _gateway) = joined().await;
    drop(target);
    relay.say(format!("CONNECT /my-domain HTTP/1.1\r\nHost: h\r\n\r\n{GET}")).await;
    let head = relay.head().await;
    assert!(head.starts_with("HTTP/1.1 502 ") && head.contains("\r\nConnection: close\r\n"), "{head}");
    relay.expect("The gateway cannot reach its target.\n").await;
    relay.end().await;
    host.register().await;
}

#[tokio::test]
async fn heads_with_bare_line_feeds_get_proper_line_ends() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say("HTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\n\nok").await;
    relay.expect("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").await;
    relay.expect("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok").await;
    is_left(&mut relay, &target, &mut at_target).await;
}

#[tokio::test]
async fn a_target_that_gives_nothing_a_length_is_not_asked_again_on_the_same_connection() {
    for (answer, rest) in [
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", ""),
        ("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", OK),
        ("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n", OK),
    ] {
        let (mut relay, target, _host, _gateway) = joined().await;
        relay.say(GET).await;
        let mut at_target = target.accept().await;
        at_target.expect(GET).await;
        at_target.say(format!("{answer}{rest}")).await;
        relay.head().await;
        relay.expect(rest).await;
        is_left(&mut relay, &target, &mut at_target).await;
    }
}

#[tokio::test]
async fn malformed_responses_are_a_502_and_the_end_of_the_targets_connection() {
    for answer in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let (mut relay, target, _host, _gateway) = joined().await;
        relay.say(GET).await;
        let mut at_target = target.accept().await;
        at_target.expect(GET).await;
        at_target.say(answer).await;
        let head = relay.head().await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{answer:?} leads to {head}");
        assert!(head.contains("\r\nX-Relay-Error: target-no-response\r\n"), "{head}");
        relay.expect("The gateway's target gave no usable response.\n").await;
        is_left(&mut relay, &target, &mut at_target).await;
    }
}

#[tokio::test]
async fn a_flood_of_interim_responses_is_a_502() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    at_target.say(interim.repeat(1000)).await;
    let passed = async {
        let mut passed = 0;
        loop {
            match relay.head().await {
                head if head == interim => passed += 1,
                head => return (passed, head),
            }
        }
    };
    let (passed, head) = passed.await;
    assert!(passed <= 101 && head.starts_with("HTTP/1.1 502 "), "{passed} and {head}");
}

#[tokio::test]
async fn a_head_of_almost_64_kib_passes_also_behind_an_interim_one() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    let cookie = format!("Set-Cookie: {}\r\n", "c".repeat(580));
    let head = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\n", cookie.repeat(110));
    assert!(head.len() > 65_000 && head.len() < 65_535);
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20);
    let answer = format!("{interim}{head}ok");
    // In one go, and byte by byte.
    at_target.say(&answer).await;
    relay.expect(&answer).await;
    relay.say(GET).await;
    at_target.expect(GET).await;
    let dripping = tokio::spawn({
        let answer = answer.clone();
        async move {
            for byte in answer.bytes() {
                at_target.say([byte]).await;
            }
        }
    });
    relay.expect(&answer).await;
    dripping.await.unwrap();
}
