//! Requests that were received before their turn, in more than one buffer.
use crate::support::{peers::*, *};
use ringback::relay::Config;

/// A busy client sends a request with a body while its last one is still being answered. When its turn comes, all of
/// it goes to the gateway, although no more comes from the client.
#[test]
fn a_request_received_early_goes_on_by_itself() {
    let server = Server::start(Config { buffer_size: 1024, max_head_bytes: 1024, ..config() });
    for dialect in BOTH {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.connect();
        let mut first = true;
        let mut ask = |client: &mut Peer, gateway: &mut Peer| {
            client.send(get("/dev/") + "\r\n");
            gateway.expect(dialect.seen(&get("/dev/"), std::mem::take(&mut first)));
        };
        // In quick succession: from then on the relay receives what comes, whether or not it is its turn.
        for _ in 0..10 {
            ask(&mut client, &mut gateway);
            gateway.send(ok("x"));
            client.expect(ok("x"));
        }
        ask(&mut client, &mut gateway);
        // Another gateway, of which the relay expects nothing: no event of its own may help.
        let mut other = server.gateway(dialect, "other");
        let head = "PUT /other/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 6000\r\n";
        let body = "b".repeat(6000);
        client.send(format!("{head}\r\n{body}"));
        eventually("it is received", || server.held().buffers >= 4);
        gateway.send(ok("x"));
        client.expect(ok("x"));
        other.expect(dialect.seen(head, true));
        other.expect(&body);
        other.send(ok("stored"));
        client.expect(ok("stored"));
    }
}
