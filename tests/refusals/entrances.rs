//! Listeners of their own: for gateways, and for TLS.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config, transport::Certificates};
use std::net::SocketAddr;

/// Refusals that are tested here.
pub const TESTED: &[Refusal] = &[Refusal::ClientsElsewhere, Refusal::GatewaysElsewhere, Refusal::GatewayInsecure];

/// Gateways register at their own listener and not at the clients', clients are served at theirs and not at the
/// gateways'; also a client that has been handed over to another shard does not register there.
#[test]
fn everybody_has_an_entrance() {
    for config in [config(), two_shards()] {
        let listen_gateways = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let server = Server::start(Config { listen_gateways, ..config });
        let [_, inner] = server.relay().addresses() else { panic!("two addresses") };
        let registrations = [ptth_get("dev", ""), classic_post("dev")];
        for registration in &registrations {
            let mut outside = server.client(registration);
            outside.expect(Refusal::GatewaysElsewhere.closing());
            outside.expect_end();
        }
        for _ in 0..8 {
            let mut gateway = Peer::connect(*inner);
            gateway.send(&registrations[0]);
            gateway.expect(PTTH_101);
            let mut client = server.client(get("/dev/") + "\r\n");
            gateway.expect(Dialect::Ptth.seen(&get("/dev/"), true));
            gateway.send(ok("x"));
            client.expect(ok("x"));
            client.send(&registrations[0]);
            client.expect(Refusal::GatewaysElsewhere.closing());
            drop(gateway);
            server.await_parked(0);
        }
        let mut inside = Peer::connect(*inner);
        inside.send(get("/dev/") + "\r\n");
        inside.expect(Refusal::ClientsElsewhere.kept());
        inside.send(&registrations[0]);
        inside.expect(PTTH_101);
    }
}

/// What a client has encrypted is not passed to a gateway elsewhere whose connection is not, unless that is allowed.
#[test]
fn secure_clients_get_secure_gateways() {
    for allowed in [false, true] {
        let config = Config {
            listen_tls: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            certificates: Some(Certificates::SelfSigned(vec!["localhost".to_owned()])),
            trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
            allow_plain_gateways: allowed,
            ..config()
        };
        let server = Server::start(config);
        let mut gateway = server.connect();
        // As from another machine.
        gateway.send("PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\n");
        gateway.send(ptth_get("d", ""));
        gateway.expect(PTTH_101);
        server.await_parked(1);
        let mut client = Peer::new(tls::connect(server.relay().addresses()[1], &tls::config(&rustls::version::TLS13)));
        client.send("GET /d/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        match allowed {
            true => {
                gateway.head();
                gateway.send("HTTP/1.1 204 No Content\r\n\r\n");
                assert!(client.head().starts_with("HTTP/1.1 204"));
            }
            false => client.expect(Refusal::GatewayInsecure.kept()),
        }
    }
}
