//! Health checks, which the relay answers itself.
use crate::support::{peers::*, *};
use ringback::{
    http::{
        Refusal,
        canned::{HEALTHY_CLOSING, HEALTHY_KEPT},
    },
    relay::Config,
};

/// `/healthz` is answered on a connection that is kept, with HEAD and with `Connection: close`, too; longer paths are not
/// it, no gateway can register the name, and at a device's host name the path is the device's.
#[test]
fn the_relay_says_that_it_is_well() {
    let server = Server::start(Config { hostnames: vec!["relay.example".to_owned()], ..config() });
    let mut client = server.client(get("/healthz") + "\r\n");
    client.expect(HEALTHY_KEPT);
    client.send(get("/healthz?from=probe") + "\r\n");
    client.expect(HEALTHY_KEPT);
    client.send("HEAD /healthz HTTP/1.1\r\nHost: relay.example\r\n\r\n");
    client.expect(&HEALTHY_KEPT[..HEALTHY_KEPT.len() - 3]);
    client.send(get("/healthz/more") + "\r\n");
    client.expect(Refusal::NoGateway.kept());
    client.send(get("/healthz") + "Connection: close\r\n\r\n");
    client.expect(HEALTHY_CLOSING);
    client.expect_end();
    let mut gateway = server.client(ptth_get("healthz", ""));
    gateway.expect(Refusal::ReservedDomain.closing());
    let mut gateway = server.ptth("dev");
    let mut client = server.client("GET /healthz HTTP/1.1\r\nHost: dev.relay.example\r\n\r\n");
    assert!(gateway.head().starts_with("GET /healthz HTTP/1.1\r\nHost: dev.relay.example\r\n"));
    gateway.send(ok("mine"));
    client.expect(ok("mine"));
}
