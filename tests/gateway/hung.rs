//! Peers that hang: a slot of the gateway is never held by one for good. Each test's gateway has one slot only, so a new
//! registration shows that it is free, while the hung peer's connection is still open.
use std::time::Duration;

use ringback::{gateway::Config, http::Dialect};

use crate::wire::{CLASSIC_101, GET, Gateway, Host, OK, Wire, config, joined, joined_with};

/// A limit that is soon over.
const SHORT: Duration = Duration::from_millis(30);

const CONNECT: &str = "CONNECT /my-domain HTTP/1.1\r\nHost: h\r\n\r\n";
const LONG_POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n";

/// More than sockets hold.
fn flood() -> Vec<u8> {
    vec![b'x'; 64 << 20]
}

/// What the target's hanging is answered with.
async fn is_504(relay: &mut Wire, connection: &str) {
    let text = "The gateway's target did not answer in time.\n";
    let head = format!(
        "HTTP/1.1 504 Gateway Timeout\r\nX-Relay-Error: target-timeout\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n{connection}\r\n",
        text.len()
    );
    relay.expect(format!("{head}{text}")).await;
}

#[tokio::test]
async fn the_relays_end_gives_a_request_up_although_the_target_hangs() {
    let (mut wire, target, relay, _gateway) = joined().await;
    wire.say(GET).await;
    let mut hung = target.accept().await;
    hung.expect(GET).await;
    wire.finish().await;
    relay.register().await;
    hung.gone().await;
}

#[tokio::test]
async fn the_relays_end_gives_a_response_up_that_stands_still() {
    let (mut wire, target, relay, _gateway) = joined().await;
    wire.say(GET).await;
    let mut hung = target.accept().await;
    hung.expect(GET).await;
    hung.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning").await;
    wire.head().await;
    wire.expect("the beginning").await;
    wire.finish().await;
    relay.register().await;
    hung.gone().await;
}

#[tokio::test]
async fn the_relays_reset_gives_an_upload_up_that_the_target_does_not_read() {
    let (mut wire, target, relay, _gateway) = joined().await;
    wire.say(LONG_POST).await;
    let mut hung = target.accept().await;
    wire.say_until_it_sticks(&flood()).await;
    wire.reset();
    relay.register().await;
    hung.gone().await;
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_a_504_and_the_relays_connection_goes_on() {
    let (mut wire, target, _relay, _gateway) = joined_with(|config| Config { response_timeout: SHORT, ..config }).await;
    for request in [GET, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"] {
        wire.say(request).await;
        let mut hung = target.accept().await;
        hung.expect(request).await;
        is_504(&mut wire, "").await;
        hung.gone().await;
    }
    wire.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say(OK).await;
    wire.expect(OK).await;
}

#[tokio::test]
async fn a_head_that_drips_is_not_waited_for_longer_than_one_that_does_not_come() {
    let (mut wire, target, _relay, _gateway) = joined_with(|config| Config { response_timeout: SHORT, ..config }).await;
    wire.say(GET).await;
    let mut slow = target.accept().await;
    slow.say("HTTP/1.1 200 OK\r\nX: ").await;
    let dripping = tokio::spawn(async move { slow.gone().await });
    is_504(&mut wire, "").await;
    dripping.await.unwrap();
}

#[tokio::test]
async fn an_upload_that_the_target_does_not_read_is_a_504_and_the_end() {
    let (mut wire, target, relay, _gateway) = joined_with(|config| Config { idle_timeout: SHORT, ..config }).await;
    wire.say(LONG_POST).await;
    let mut hung = target.accept().await;
    hung.expect(LONG_POST).await;
    wire.say_until_it_sticks(&flood()).await;
    is_504(&mut wire, "Connection: close\r\n").await;
    relay.register().await;
    hung.gone().await;
}

#[tokio::test]
async fn an_upload_that_the_relay_does_not_go_on_with_ends() {
    let (mut wire, target, relay, _gateway) = joined_with(|config| Config { idle_timeout: SHORT, ..config }).await;
    wire.say(LONG_POST).await;
    let mut at_target = target.accept().await;
    at_target.expect(LONG_POST).await;
    relay.register().await;
    wire.end().await;
    at_target.end().await;
}

#[tokio::test]
async fn a_request_whose_head_does_not_come_to_its_end_ends() {
    let (mut wire, _target, relay, _gateway) = joined_with(|config| Config { idle_timeout: SHORT, ..config }).await;
    wire.say("GET / HTTP/1.1\r\nHost: ").await;
    relay.register().await;
    wire.end().await;
}

#[tokio::test]
async fn a_body_that_stands_still_ends_and_does_not_look_whole() {
    for (head, looks_whole) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", true),
    ] {
        let (mut wire, target, relay, _gateway) = joined_with(|config| Config { idle_timeout: SHORT, ..config }).await;
        wire.say(GET).await;
        let mut hung = target.accept().await;
        hung.expect(GET).await;
        hung.say(head).await;
        wire.expect(head).await;
        match looks_whole {
            true => wire.reset_by_peer().await,
            false => wire.end().await,
        }
        relay.register().await;
        hung.gone().await;
    }
}

#[tokio::test]
async fn a_response_that_the_relay_does_not_read_ends() {
    let (mut wire, target, relay, _gateway) = joined_with(|config| Config { idle_timeout: SHORT, ..config }).await;
    wire.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await;
    at_target.gone_while_saying(&flood()).await;
    relay.register().await;
    drop(wire);
}

#[tokio::test]
async fn a_refused_upload_that_does_not_come_is_not_waited_for() {
    let (mut wire, target, relay, _gateway) = joined_with(|config| Config { idle_timeout: SHORT, ..config }).await;
    drop(target);
    wire.say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n").await;
    relay.register().await;
    wire.end().await;
}

#[tokio::test]
async fn a_silent_tunnel_ends_on_both_sides() {
    let (mut wire, target, relay, _gateway) = joined_with(|config| Config { tunnel_idle: SHORT, ..config }).await;
    wire.say(CONNECT).await;
    let mut hung = target.accept().await;
    wire.expect("HTTP/1.1 200 OK\r\n\r\n").await;
    relay.register().await;
    wire.end().await;
    hung.end().await;
}

#[tokio::test]
async fn a_tunnel_that_one_side_has_ended_waits_for_the_other_for_a_shorter_time() {
    for relay_ends in [true, false] {
        let (mut wire, target, relay, _gateway) = joined_with(|config| Config { idle_timeout: SHORT, ..config }).await;
        wire.say(CONNECT).await;
        let mut at_target = target.accept().await;
        wire.expect("HTTP/1.1 200 OK\r\n\r\n").await;
        let (ending, other) = match relay_ends {
            true => (&mut wire, &mut at_target),
            false => (&mut at_target, &mut wire),
        };
        ending.finish().await;
        other.end().await;
        relay.register().await;
        other.gone().await;
    }
}

#[tokio::test]
async fn a_half_closed_tunnel_goes_on_as_long_as_anything_moves() {
    let (mut wire, target, _relay, _gateway) = joined_with(|config| Config { idle_timeout: SHORT, ..config }).await;
    wire.say(CONNECT).await;
    let mut at_target = target.accept().await;
    wire.expect("HTTP/1.1 200 OK\r\n\r\n").await;
    wire.finish().await;
    at_target.end().await;
    let body = flood();
    let saying = tokio::spawn({
        let body = body.clone();
        async move { at_target.say(&body).await }
    });
    wire.expect(&body).await;
    saying.await.unwrap();
    wire.end().await;
}

#[tokio::test]
async fn the_relays_reset_ends_a_tunnel_whose_target_does_not_read() {
    let (mut wire, target, relay, _gateway) = joined().await;
    wire.say(CONNECT).await;
    let mut hung = target.accept().await;
    wire.expect("HTTP/1.1 200 OK\r\n\r\n").await;
    wire.say_until_it_sticks(&flood()).await;
    wire.reset();
    relay.register().await;
    hung.gone().await;
}

/// A classic gateway with one slot, taken by a client's GET that a target has.
async fn classic(change: impl FnOnce(Config) -> Config) -> (Wire, Wire, Host, Gateway) {
    let (relay, target) = (Host::start().await, Host::start().await);
    let gateway = Gateway::start(change(Config { dialect: Dialect::Classic, ..config(&relay, &target) }));
    let mut wire = relay.accept().await;
    wire.head().await;
    wire.say(format!("{CLASSIC_101}{GET}")).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    (wire, at_target, relay, gateway)
}

#[tokio::test]
async fn a_classic_relays_half_close_reaches_the_target_and_the_answer_still_passes() {
    let (mut wire, mut at_target, _relay, _gateway) = classic(|config| config).await;
    wire.finish().await;
    at_target.end().await;
    at_target.say(OK).await;
    wire.expect(OK).await;
}

#[tokio::test]
async fn a_classic_relays_half_close_is_not_followed_by_waiting_for_ever() {
    let (mut wire, mut hung, relay, _gateway) = classic(|config| Config { response_timeout: SHORT, ..config }).await;
    wire.finish().await;
    hung.end().await;
    relay.accept().await.head().await;
    hung.gone().await;
}

#[tokio::test]
async fn a_classic_relays_reset_gives_a_request_up() {
    let (wire, mut hung, relay, _gateway) = classic(|config| config).await;
    wire.reset();
    relay.accept().await.head().await;
    hung.gone().await;
}
