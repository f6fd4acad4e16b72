//! The classic dialect.
use ringback::{gateway::Config, http::Dialect};

use crate::wire::{CLASSIC_101, GET, Gateway, Host, OK, config};

fn post(relay: &Host) -> String {
    let host = relay.authority();
    format!("POST /my-domain HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: {host}\r\n\r\n")
}

fn classic(relay: &Host, target: &Host) -> Config {
    Config { dialect: Dialect::Classic, max_connections: 2, ..config(relay, target) }
}

#[tokio::test]
async fn it_registers_again_on_the_same_connection_as_often_as_it_is_asked_to() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(classic(&relay, &target));
    let mut wire = relay.accept().await;
    for _ in 0..3 {
        wire.expect(post(&relay)).await;
        wire.say("HTTP/1.1 204 \r\n\r\n").await;
    }
    wire.expect(post(&relay)).await;
    assert!(relay.is_lonely().await);
}

#[tokio::test]
async fn the_bytes_behind_the_101_are_the_clients_and_a_replacement_comes_before_the_session_ends() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(classic(&relay, &target));
    let mut wire = relay.accept().await;
    wire.expect(post(&relay)).await;
    wire.say(format!("{CLASSIC_101}{GET}")).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    relay.accept().await.expect(post(&relay)).await;
    at_target.say(OK).await;
    wire.expect(OK).await;
}

#[tokio::test]
async fn one_clients_requests_follow_one_another_until_the_session_ends() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(classic(&relay, &target));
    let mut wire = relay.accept().await;
    wire.expect(post(&relay)).await;
    wire.say(CLASSIC_101).await;
    wire.say(GET).await;
    let mut at_target = target.accept().await;
    for _ in 0..2 {
        at_target.expect(GET).await;
        at_target.say(OK).await;
        wire.expect(OK).await;
        wire.say(GET).await;
    }
    // A head goes through as it is, and says that this was the last response.
    at_target.expect(GET).await;
    let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    at_target.say(last).await;
    wire.expect(last).await;
    wire.end().await;
}

#[tokio::test]
async fn an_answer_that_is_no_http_goes_through_until_its_end() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(classic(&relay, &target));
    let mut wire = relay.accept().await;
    wire.expect(post(&relay)).await;
    wire.say(format!("{CLASSIC_101}{GET}")).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say("RFB 003.008\n").await;
    wire.expect("RFB 003.008\n").await;
    drop(at_target);
    wire.end().await;
}

/// A classic relay passes requests on as they are, so that the prefix would be any client's word.
#[tokio::test]
async fn a_classic_relays_prefix_is_not_believed() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let config = Config { dialect: Dialect::Classic, strip_prefix: true, ..config(&relay, &target) };
    let _gateway = Gateway::start(config);
    let mut way = relay.accept().await;
    way.head().await;
    let request = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: //evil.example\r\n\r\n";
    way.say(format!("{CLASSIC_101}{request}")).await;
    let mut at_target = target.accept().await;
    at_target.expect(request).await;
    let answer = "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
    at_target.say(answer).await;
    way.expect(answer).await;
}
