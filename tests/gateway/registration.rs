//! How a gateway comes to the relay, and comes back.
use std::time::Duration;

use ringback::{
    gateway::{self, Backoff, Config, Error},
    http::Dialect,
};

use crate::wire::{ACCEPTED, CLASSIC_101, GET, Gateway, Host, OK, Wire, config, soon};

#[tokio::test]
async fn the_ptth_registration_is_exact() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(config(&relay, &target));
    let host = relay.authority();
    let bytes = format!(
        "GET /my-domain HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n"
    );
    relay.accept().await.expect(bytes).await;
}

#[tokio::test]
async fn a_key_and_the_wish_for_stripping_are_sent_along() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let config = Config { key: Some("s3cret".into()), strip_prefix: true, ..config(&relay, &target) };
    let _gateway = Gateway::start(config);
    let head = relay.accept().await.head().await;
    assert!(head.ends_with("\r\nAuthorization: Bearer s3cret\r\nX-Relay-Strip-Prefix: 1\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn a_taken_connection_is_replaced_at_once_but_never_above_the_maximum() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(Config { max_connections: 2, ..config(&relay, &target) });
    let mut first = relay.register().await;
    assert!(relay.is_lonely().await);
    first.say(GET).await;
    let mut first_target = target.accept().await;
    first_target.expect(GET).await;
    // The first is still in use: this is the spare.
    let mut second = relay.register().await;
    second.say(GET).await;
    let mut second_target = target.accept().await;
    second_target.expect(GET).await;
    // Both are in use; a whole response later still nobody else has come.
    first_target.say(OK).await;
    first.expect(OK).await;
    assert!(relay.is_lonely().await);
    drop(first);
    second_target.say(OK).await;
    second.expect(OK).await;
}

#[tokio::test]
async fn of_two_connections_the_one_that_was_unused_for_longer_is_closed_when_one_is_not_needed() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let surplus_after = Duration::from_millis(20);
    let _gateway = Gateway::start(Config { max_connections: 2, surplus_after, ..config(&relay, &target) });
    let mut first = relay.register().await;
    first.say(GET).await;
    let mut second = relay.register().await;
    let mut first_target = target.accept().await;
    first_target.expect(GET).await;
    first_target.say(OK).await;
    first.expect(OK).await;
    // The one that was not used for longest closes; the other, which the relay takes first, stays and serves.
    second.end().await;
    first.say(GET).await;
    first_target.expect(GET).await;
}

#[tokio::test]
async fn a_redirect_is_followed_and_remembered_until_it_fails() {
    let (relay, node, target) = (Host::start().await, Host::start().await, Host::start().await);
    let _gateway = Gateway::start(config(&relay, &target));
    let mut wire = relay.accept().await;
    wire.head().await;
    wire.say(format!("HTTP/1.1 307 \r\nLocation: http://{}/my-domain\r\n\r\n", node.authority())).await;
    let mut wire = node.accept().await;
    let head = wire.head().await;
    assert!(head.contains(&format!("\r\nHost: {}\r\n", node.authority())), "{head}");
    wire.say(ACCEPTED).await;
    // Lost: straight back to the node.
    drop(wire);
    let wire = node.register().await;
    // Lost, and the node is gone: back to the relay it was configured with.
    drop(node);
    drop(wire);
    relay.register().await;
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(config(&relay, &target));
    let location = format!("HTTP/1.1 307 \r\nLocation: http://{}/my-domain\r\n\r\n", relay.authority());
    // Five hops belong to one attempt; it then backs off like after any failure and goes on trying.
    for _ in 0..8 {
        let mut wire = relay.accept().await;
        wire.head().await;
        wire.say(&location).await;
        wire.end().await;
    }
    relay.register().await;
}

#[tokio::test]
async fn after_429_it_comes_back_alone() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(Config { connections: 2, max_connections: 2, ..config(&relay, &target) });
    let (mut one, mut other) = (relay.accept().await, relay.accept().await);
    for wire in [&mut one, &mut other] {
        wire.head().await;
        wire.say("HTTP/1.1 429 \r\nRetry-After: 1\r\n\r\n").await;
        wire.end().await;
    }
    assert!(relay.is_lonely().await);
    let mut probe = relay.accept().await;
    probe.head().await;
    // The second waits until the first is in.
    assert!(relay.is_lonely().await);
    probe.say(ACCEPTED).await;
    relay.register().await;
}

#[tokio::test]
async fn after_401_it_does_not_come_back_soon_and_does_not_give_up() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap() };
    let running = tokio::spawn(gateway::run(config(&relay, &target), shutdown));
    let mut wire = relay.accept().await;
    wire.head().await;
    wire.say("HTTP/1.1 401 \r\nWWW-Authenticate: Bearer\r\n\r\n").await;
    wire.end().await;
    assert!(relay.is_lonely().await);
    assert!(!running.is_finished());
    stop.send(()).unwrap();
    soon("shutdown", running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_opened_again() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(config(&relay, &target));
    for _ in 0..3 {
        relay.register().await;
    }
}

#[tokio::test]
async fn a_relay_that_takes_connections_for_no_requests_is_not_come_back_to_at_once() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let hour = Backoff { first: Duration::from_secs(3600), most: Duration::from_secs(3600) };
    for (dialect, accepted) in [(Dialect::Ptth, ACCEPTED), (Dialect::Classic, CLASSIC_101)] {
        let _gateway = Gateway::start(Config { backoff: hour, dialect, ..config(&relay, &target) });
        let mut wire = relay.accept().await;
        wire.head().await;
        wire.say(format!("{accepted}no request\r\n\r\n")).await;
        wire.head().await;
        drop(wire);
        assert!(relay.is_lonely().await);
    }
}

#[tokio::test]
async fn stopping_closes_every_connection() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let gateway = Gateway::start(config(&relay, &target));
    let mut wire: Wire = relay.register().await;
    drop(gateway);
    wire.end().await;
}

#[tokio::test]
async fn a_config_that_cannot_work_is_refused() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let refused = async |config| gateway::run(config, std::future::pending()).await.unwrap_err();
    let none = Config { connections: 0, ..config(&relay, &target) };
    assert!(matches!(refused(none).await, Error::Connections { least: 0, most: 1 }));
    let bad = Config { domain: "a/b".into(), ..config(&relay, &target) };
    assert!(refused(bad).await.to_string().contains("\"a/b\" cannot be a relay domain"));
    let none = Config { idle_timeout: Duration::ZERO, ..config(&relay, &target) };
    assert!(refused(none).await.to_string().contains("idle timeout cannot be 0"));
    let bad = Config { key: Some("a b".into()), ..config(&relay, &target) };
    assert!(matches!(refused(bad).await, Error::Key));
}
