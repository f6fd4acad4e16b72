//! Which target a request goes to, under which name, and the way to the relay through a proxy.
use ringback::gateway::{Authority, Config, Proxies, TargetHost, Targets};

use crate::wire::*;

fn by_path(list: &[(&str, &Host)]) -> Targets {
    Targets::by_path(list.iter().map(|&(path, host)| (path.to_owned(), host.authority()))).unwrap()
}

/// Each path has its target, on one and the same connection to the relay; a path without one gets a 404, also with a
/// body, and the connection goes on.
#[tokio::test]
async fn each_path_has_its_target() {
    let (api, files) = (Host::start().await, Host::start().await);
    let targets = by_path(&[("/api", &api), ("/files", &files)]);
    let (mut relay, _target, _host, _gateway) = joined_with(|config| Config { targets, ..config }).await;
    let mut at_target = None;
    for (path, host) in [("/api", &api), ("/files/x?y=/api", &files), ("/api/x", &api)] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        relay.say(&request).await;
        // The connection to another target is not used.
        drop(at_target.take());
        let mut there = host.accept().await;
        there.expect(&request).await;
        there.say(OK).await;
        relay.expect(OK).await;
        at_target = Some(there);
    }
    for request in
        ["GET /apis HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"]
    {
        relay.say(request).await;
        relay.expect(
            "HTTP/1.1 404 Not Found\r\nX-Relay-Error: no-target\r\nContent-Type: text/plain\r\nContent-Length: 41\r\n\r\n\
             The gateway has no target for this path.\n",
        ).await;
    }
}

/// The target gets its own name, and responses that lead to that lead to the client's; a body behind the head stays
/// whole.
#[tokio::test]
async fn the_target_gets_its_own_name() {
    for (target_host, fixed) in
        [(TargetHost::Target, None), (TargetHost::Fixed("printer:631".into()), Some("printer:631"))]
    {
        let (mut relay, target, _host, _gateway) = joined_with(|config| Config { target_host, ..config }).await;
        let name = fixed.map_or_else(|| target.authority().to_string(), str::to_owned);
        let mut at_target = None;
        for _ in 0..2 {
            relay.say("PUT /a HTTP/1.1\r\nHost: relay\r\nA: b\r\nContent-Length: 5\r\n\r\nhello").await;
            let there = match &mut at_target {
                Some(there) => there,
                none => none.insert(target.accept().await),
            };
            there.expect(format!("PUT /a HTTP/1.1\r\nHost: {name}\r\nA: b\r\nContent-Length: 5\r\n\r\nhello")).await;
            there
                .say(format!("HTTP/1.1 201 Created\r\nLocation: http://{name}/a/1\r\nContent-Length: 0\r\n\r\n"))
                .await;
            relay.expect("HTTP/1.1 201 Created\r\nLocation: /a/1\r\nContent-Length: 0\r\n\r\n").await;
        }
    }
}

fn proxied(proxy: &Host, user: &str) -> Proxies {
    Proxies::only(&format!("http://{user}{}", proxy.authority())).unwrap()
}

/// The gateway asks the proxy for a way to the relay, with name and password, and registers there; if the proxy refuses, it
/// tries again.
#[tokio::test]
async fn a_gateway_goes_through_a_proxy() {
    let (proxy, target) = (Host::start().await, Host::start().await);
    let relay = Authority { host: "relay.example".into(), port: 80, secure: false };
    let config = Config { relay, proxies: proxied(&proxy, "user:pass@"), ..config(&proxy, &target) };
    let _gateway = Gateway::start(config);
    for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 407 Who?\r\n\r\n", "SSH-2.0\r\n\r\n"] {
        let mut way = proxy.accept().await;
        way.head().await;
        way.say(answer).await;
        way.end().await;
    }
    let mut way = proxy.accept().await;
    way.expect(
        "CONNECT relay.example:80 HTTP/1.1\r\nHost: relay.example:80\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
    )
    .await;
    way.say("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
    assert!(way.head().await.starts_with("GET /my-domain HTTP/1.1\r\nHost: relay.example\r\n"));
    way.say(ACCEPTED).await;
    way.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say(OK).await;
    way.expect(OK).await;
}
