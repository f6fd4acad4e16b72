//! Shards that wait for further events before they handle the ones there are.
use crate::support::{peers::*, *};
use ringback::relay::{Config, Relay, StartError};
use std::{thread, time::Duration};

const WAIT: Duration = Duration::from_millis(10);

/// Many clients at a time, and one alone behind them: each gets its own answers, whether company comes or not.
#[test]
fn who_waits_for_company_is_served_without() {
    if let Err(StartError::BatchWait(_)) = Relay::start(Config { batch_wait: WAIT, ..config() }) {
        println!("skipped: this kernel cannot wait for several events");
        return;
    }
    for dialect in BOTH {
        let server = Server::start(Config { batch_wait: WAIT, ..config() });
        let exchanges = |number: usize, count: usize| {
            let name = format!("dev-{number}");
            let (mut gateway, mut client) = (server.gateway(dialect, &name), server.connect());
            move || {
                for nth in 0..count {
                    let (request, answer) = (get(&format!("/{name}/{nth}")), ok(&format!("{number} {nth}")));
                    client.send(format!("{request}\r\n"));
                    gateway.expect(dialect.seen(&request, nth == 0));
                    gateway.send(&answer);
                    client.expect(&answer);
                }
            }
        };
        let many: Vec<_> = (0..16).map(|number| thread::spawn(exchanges(number, 40))).collect();
        many.into_iter().for_each(|one| one.join().expect("all answers are right"));
        exchanges(16, 3)();
    }
}
