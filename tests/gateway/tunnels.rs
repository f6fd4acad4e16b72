//! Raw bytes: CONNECT and upgrades at the gateway, and the tunnel client.
use std::{future::pending, time::Duration};

use ringback::gateway::tunnel;
use tokio::net::TcpListener;

use crate::wire::{Host, Wire, joined};

/// A limit that is soon over.
const SHORT: Duration = Duration::from_millis(30);

const CONNECT: &str = "CONNECT /my-domain HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn connect_carries_bytes_both_ways_and_each_end_by_itself() {
    let (mut relay, target, _host, _gateway) = joined().await;
    // The first bytes come right behind the head.
    relay.say(format!("{CONNECT}SSH-2.0-client\r\n")).await;
    let mut at_target = target.accept().await;
    relay.expect("HTTP/1.1 200 OK\r\n\r\n").await;
    at_target.expect("SSH-2.0-client\r\n").await;
    at_target.say("SSH-2.0-server\r\n").await;
    relay.expect("SSH-2.0-server\r\n").await;
    relay.finish().await;
    at_target.end().await;
    at_target.say("still talking").await;
    relay.expect("still talking").await;
    at_target.finish().await;
    relay.end().await;
}

#[tokio::test]
async fn the_targets_end_leaves_the_other_way_open() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(CONNECT).await;
    let mut at_target = target.accept().await;
    relay.expect("HTTP/1.1 200 OK\r\n\r\n").await;
    at_target.finish().await;
    relay.end().await;
    relay.say("still talking").await;
    at_target.expect("still talking").await;
}

#[tokio::test]
async fn after_the_targets_101_bytes_are_raw() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let request = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    relay.say(request).await;
    let mut at_target = target.accept().await;
    at_target.expect(request).await;
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    at_target.say(format!("{answer}\u{1}frame")).await;
    relay.expect(format!("{answer}\u{1}frame")).await;
    for _ in 0..2 {
        relay.say("\u{0}\r\n\r\nraw").await;
        at_target.expect("\u{0}\r\n\r\nraw").await;
        at_target.say("raw\u{0}").await;
        relay.expect("raw\u{0}").await;
    }
}

#[tokio::test]
async fn an_upgrade_that_is_declined_is_an_ordinary_exchange() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let request = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    relay.say(request).await;
    let mut at_target = target.accept().await;
    for _ in 0..2 {
        at_target.expect(request).await;
        at_target.say("HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n").await;
        relay.expect("HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n").await;
        relay.say(request).await;
    }
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_502() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(crate::wire::GET).await;
    let mut at_target = target.accept().await;
    at_target.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
    let head = relay.head().await;
    assert!(head.contains("\r\nX-Relay-Error: target-no-response\r\n"), "{head}");
}

/// A relay driven by hand, and a connection to a tunnel client that leads there.
async fn tunnel_client(change: impl FnOnce(tunnel::Config) -> tunnel::Config) -> (Host, Wire) {
    let relay = Host::start().await;
    let config = change(tunnel::Config::new(relay.authority(), "my-domain".into()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().into();
    tokio::spawn(tunnel::listen(config, listener, pending()));
    (relay, Wire::connect(&address).await)
}

#[tokio::test]
async fn a_tunnel_client_keeps_the_bytes_behind_the_200_and_passes_both_ends_on() {
    let (relay, mut client) = tunnel_client(|config| config).await;
    let mut wire = relay.accept().await;
    wire.expect(format!("CONNECT /my-domain HTTP/1.1\r\nHost: {}\r\n\r\n", relay.authority())).await;
    wire.say("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-server\r\n").await;
    client.expect("SSH-2.0-server\r\n").await;
    client.say("SSH-2.0-client\r\n").await;
    wire.expect("SSH-2.0-client\r\n").await;
    client.finish().await;
    wire.end().await;
    wire.say("still talking").await;
    client.expect("still talking").await;
    wire.finish().await;
    client.end().await;
}

#[tokio::test]
async fn a_refused_tunnel_closes_its_connection() {
    let (relay, mut client) = tunnel_client(|config| tunnel::Config { key: Some("s3cret".into()), ..config }).await;
    let mut wire = relay.accept().await;
    let head = wire.head().await;
    assert!(head.contains("\r\nAuthorization: Bearer s3cret\r\n"), "{head}");
    wire.say("HTTP/1.1 504 Gateway Timeout\r\nX-Relay-Error: no-gateway\r\nContent-Length: 0\r\n\r\n").await;
    client.end().await;
}

#[tokio::test]
async fn a_tunnel_clients_answer_is_not_waited_for_for_ever_nor_while_it_drips() {
    for dripped in ["", "HTTP/1.1 200 OK\r\nX: "] {
        let (relay, mut client) = tunnel_client(|config| tunnel::Config { response_timeout: SHORT, ..config }).await;
        let mut wire = relay.accept().await;
        wire.head().await;
        wire.say(dripped).await;
        client.end().await;
        wire.gone().await;
    }
}

#[tokio::test]
async fn a_tunnel_clients_silent_tunnel_ends_and_sooner_when_one_side_has_ended() {
    for half_closed in [true, false] {
        let (relay, mut client) = tunnel_client(|config| match half_closed {
            true => tunnel::Config { idle_timeout: SHORT, ..config },
            false => tunnel::Config { tunnel_idle: SHORT, ..config },
        })
        .await;
        let mut wire = relay.accept().await;
        wire.head().await;
        wire.say("HTTP/1.1 200 OK\r\n\r\n").await;
        if half_closed {
            client.finish().await;
        }
        wire.end().await;
        client.end().await;
        wire.gone().await;
    }
}
