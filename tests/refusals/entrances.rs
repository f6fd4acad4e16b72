//! A listener of their own for gateways.
use crate::support::{peers::*, *};
use ringback::{http::Refusal, relay::Config};
use std::net::SocketAddr;

/// Refusals that are tested here.
pub const TESTED: &[Refusal] = &[Refusal::ClientsElsewhere, Refusal::GatewaysElsewhere];

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
