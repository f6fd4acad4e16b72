//! Requests and responses on one `ptth` connection.
use crate::wire::{GET, Gateway, Host, OK, Wire, config, joined, joined_with};
use ringback::gateway::Config;

/// Passes one GET from `relay` to `target`, and the answer back.
async fn exchange(relay: &mut Wire, target: &mut Wire) {
    relay.say(GET).await;
    target.expect(GET).await;
    target.say(OK).await;
    relay.expect(OK).await;
}

#[tokio::test]
async fn requests_follow_one_another_on_one_target_connection() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say(OK).await;
    relay.expect(OK).await;
    for _ in 0..3 {
        exchange(&mut relay, &mut at_target).await;
    }
    assert!(target.is_lonely().await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let post = "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    relay.say(format!("{GET}{post}{GET}")).await;
    let mut at_target = target.accept().await;
    for request in [GET, post, GET] {
        at_target.expect(request).await;
        at_target.say(OK).await;
        relay.expect(OK).await;
    }
}

#[tokio::test]
async fn a_request_right_behind_the_101_is_served() {
    let (relay, target) = (Host::start().await, Host::start().await);
    let _gateway = Gateway::start(config(&relay, &target));
    let mut wire = relay.accept().await;
    wire.head().await;
    wire.say(format!("{}{GET}", crate::wire::ACCEPTED)).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say(OK).await;
    wire.expect(OK).await;
}

#[tokio::test]
async fn responses_without_a_body_end_at_their_heads() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let head = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
    let answers = [
        (head, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, OK),
    ];
    relay.say(answers[0].0).await;
    let mut at_target = target.accept().await;
    for (n, (request, answer)) in answers.into_iter().enumerate() {
        at_target.expect(request).await;
        at_target.say(answer).await;
        relay.expect(answer).await;
        relay.say(answers.get(n + 1).map_or(GET, |next| next.0)).await;
    }
}

#[tokio::test]
async fn a_target_that_closes_its_idle_connection_does_not_cost_the_relays() {
    let (mut relay, target, _host, _gateway) = joined().await;
    for _ in 0..3 {
        relay.say(GET).await;
        let mut at_target = target.accept().await;
        at_target.expect(GET).await;
        at_target.say(OK).await;
        drop(at_target);
        relay.expect(OK).await;
    }
}

#[tokio::test]
async fn an_http_1_0_target_costs_no_relay_connection_when_it_gives_a_length() {
    let (mut relay, target, _host, _gateway) = joined().await;
    for _ in 0..2 {
        relay.say(GET).await;
        let mut at_target = target.accept().await;
        at_target.expect(GET).await;
        at_target.say("HTTP/1.0 200 OK\r\nConnection: close\r\nX: y\r\nContent-Length: 2\r\n\r\nok").await;
        drop(at_target);
        relay.expect("HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nok").await;
    }
}

#[tokio::test]
async fn the_end_of_a_close_delimited_response_ends_the_relay_connection() {
    let (mut wire, target, relay, _gateway) = joined().await;
    wire.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    let answer = "HTTP/1.0 200 OK\r\n\r\nas long as it takes";
    at_target.say(answer).await;
    wire.expect(answer).await;
    drop(at_target);
    wire.end().await;
    relay.register().await;
}

#[tokio::test]
async fn a_response_that_breaks_off_ends_the_relay_connection() {
    let (mut wire, target, _host, _gateway) = joined().await;
    wire.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
    at_target.say(answer).await;
    drop(at_target);
    wire.expect(answer).await;
    wire.end().await;
}

#[tokio::test]
async fn an_unreachable_target_is_a_502_and_the_connection_goes_on() {
    let (mut wire, target, _relay, _gateway) = joined().await;
    drop(target);
    let text = "The gateway cannot reach its target.\n";
    let head = format!(
        "HTTP/1.1 502 Bad Gateway\r\nX-Relay-Error: target-unreachable\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n",
        text.len()
    );
    for request in [GET, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", GET] {
        wire.say(request).await;
        wire.expect(format!("{head}{text}")).await;
    }
    wire.say("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    wire.expect(&head).await;
    wire.say(GET).await;
    wire.expect(format!("{head}{text}")).await;
}

#[tokio::test]
async fn a_get_that_met_a_closing_target_is_sent_again_once() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say(OK).await;
    relay.expect(OK).await;
    // The target takes the second request on the kept connection, and closes without a word.
    relay.say(GET).await;
    at_target.expect(GET).await;
    drop(at_target);
    let mut fresh = target.accept().await;
    fresh.expect(GET).await;
    fresh.say(OK).await;
    relay.expect(OK).await;
    // The third time on a fresh connection: that is the target's answer.
    relay.say(GET).await;
    fresh.expect(GET).await;
    drop(fresh);
    let mut fresh = target.accept().await;
    fresh.expect(GET).await;
    drop(fresh);
    let head = relay.head().await;
    assert!(head.contains("\r\nX-Relay-Error: target-no-response\r\n"), "{head}");
}

#[tokio::test]
async fn a_post_that_met_a_closing_target_is_not_sent_again() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say(OK).await;
    relay.expect(OK).await;
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    relay.say(post).await;
    at_target.expect(post).await;
    drop(at_target);
    let head = relay.head().await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(target.is_lonely().await);
    relay.expect("The gateway's target gave no usable response.\n").await;
    // The relay connection is still good.
    relay.say(GET).await;
    target.accept().await.expect(GET).await;
}

#[tokio::test]
async fn bytes_behind_a_whole_response_reach_nobody() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say(format!("{OK}{OK}")).await;
    relay.expect(OK).await;
    at_target.end().await;
    relay.say(GET).await;
    let mut fresh = target.accept().await;
    fresh.expect(GET).await;
    fresh.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew").await;
    relay.expect("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew").await;
}

#[tokio::test]
async fn a_request_that_is_none_is_refused() {
    let (mut wire, target, _host, _gateway) = joined().await;
    wire.say("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(target.is_lonely().await);
}

#[tokio::test]
async fn responses_lead_below_the_stripped_path() {
    let (mut relay, target, _host, _gateway) = joined_with(|config| Config { strip_prefix: true, ..config }).await;
    let answer = |prefix: &str| {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {prefix}/login\r\nSet-Cookie: a=b; Path={prefix}/\r\nContent-Length: 2\r\n\r\nhi"
        )
    };
    // In the path form the relay says what it has stripped; in the host form there is nothing.
    let path_form = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /dev\r\n\r\n";
    let mut at_target = None;
    for (request, prefix) in [(path_form, "/dev"), (GET, ""), (path_form, "/dev")] {
        relay.say(request).await;
        let at_target = match &mut at_target {
            Some(there) => there,
            none => none.insert(target.accept().await),
        };
        at_target.expect(request).await;
        at_target.say(answer("")).await;
        relay.expect(answer(prefix)).await;
    }
}

#[tokio::test]
async fn paths_stay_where_nothing_was_to_be_stripped() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let request = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /dev\r\n\r\n";
    relay.say(request).await;
    let mut at_target = target.accept().await;
    at_target.expect(request).await;
    let answer = "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
    at_target.say(answer).await;
    relay.expect(answer).await;
}
