//! One process's share of a fleet: gateways that register, answer, and come back when they are cut off.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use monoio::time::sleep;

use crate::answer::{Style, serve};
use crate::conn::Conn;
use crate::fleet::{Dialect, FleetArgs, source};
use crate::runtime;

/// First pause after a failed registration; it doubles with each further failure.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause after a failed registration.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the gateways of a process share.
struct Share {
    args: FleetArgs,
    style: Rc<Style>,
    source: Option<IpAddr>,
    /// Registrations under way for the first time.
    pending: Cell<usize>,
    /// Gateways that have registered at least once.
    registered: Cell<usize>,
    /// State of the generator that spreads retries in time.
    seed: Cell<u64>,
}

impl Share {
    /// A pause between half of `up_to` and all of it.
    fn jittered(&self, up_to: Duration) -> Duration {
        let mut x = self.seed.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.seed.set(x);
        up_to / 2 + up_to.mul_f64((x % 1000) as f64 / 2000.0)
    }
}

/// How a registration went.
enum Registered {
    /// The relay has a client, or will send one down this connection.
    Open(Conn),
    /// The relay refuses for this long.
    Refused(Duration),
}

/// Registers gateways `first .. first + count` and serves them until killed.
///
/// # Errors
/// When the kernel grants no ring.
pub fn run(args: &FleetArgs, first: usize, count: usize) -> io::Result<()> {
    let share = Rc::new(Share {
        args: args.clone(),
        style: args.answer.style(),
        source: source(args),
        pending: Cell::new(0),
        registered: Cell::new(0),
        seed: Cell::new(0x9E37_79B9_7F4A_7C15 ^ (first as u64 + 1)),
    });
    runtime::run(async move {
        for index in first..first + count {
            while share.pending.get() >= share.args.concurrency.max(1) {
                sleep(Duration::from_millis(1)).await;
            }
            share.pending.set(share.pending.get() + 1);
            spawn(share.clone(), index, true);
        }
        while share.registered.get() < count {
            sleep(Duration::from_millis(1)).await;
        }
        println!("ready {count}");
        loop {
            sleep(Duration::from_secs(3600)).await;
        }
    })
}

/// Starts a gateway; `counted` says that the share waits for its first registration.
fn spawn(share: Rc<Share>, index: usize, counted: bool) {
    monoio::spawn(gateway(share, index, counted));
}

/// One gateway; a classic one ends with its session, having started its replacement.
async fn gateway(share: Rc<Share>, index: usize, mut counted: bool) {
    let domain = share.args.domain(index);
    let mut pause = PAUSE_MIN;
    loop {
        let mut on_registered = || {
            if std::mem::take(&mut counted) {
                share.pending.set(share.pending.get() - 1);
                share.registered.set(share.registered.get() + 1);
            }
        };
        let refused = match register(&share, &domain, &mut on_registered).await {
            Ok(Registered::Open(mut conn)) => {
                let classic = share.args.dialect == Dialect::Classic;
                if classic {
                    spawn(share.clone(), index, false);
                }
                // Cut off in the middle or at the end: either way the gateway registers anew.
                let _ = serve(&mut conn, &share.style, Some(&domain), || ()).await;
                if classic {
                    return;
                }
                pause = PAUSE_MIN;
                continue;
            }
            Ok(Registered::Refused(refused)) => refused,
            Err(_) => Duration::ZERO,
        };
        sleep(share.jittered(pause.max(refused))).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Dials the relay and waits for its 101.
async fn register(share: &Share, domain: &str, on_registered: &mut impl FnMut()) -> io::Result<Registered> {
    let relay = share.args.relay;
    let mut conn = Conn::connect(relay, share.source).await?;
    let classic = share.args.dialect == Dialect::Classic;
    let request = if classic {
        format!("POST /{domain} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: {relay}\r\n\r\n")
    } else {
        format!(
            "GET /{domain} HTTP/1.1\r\nHost: {relay}\r\nConnection: upgrade\r\nUpgrade: ptth\r\n\
             ALPN: http%2F1.1\r\n\r\n"
        )
    };
    loop {
        conn.write(request.clone().into_bytes()).await?;
        if classic {
            on_registered();
        }
        let Some(head_len) = conn.head().await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (status, retry_after) = answer(&conn.unread()[..head_len])?;
        conn.consume(head_len);
        match status {
            101 => {
                on_registered();
                return Ok(Registered::Open(conn));
            }
            204 if classic => (),
            _ => return Ok(Registered::Refused(Duration::from_secs(retry_after))),
        }
    }
}

/// Status and `Retry-After` of what the relay says to a registration.
fn answer(head: &[u8]) -> io::Result<(u16, u64)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => (),
        _ => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bad answer head"));
        }
    }
    let retry_after = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("retry-after"))
        .and_then(|header| std::str::from_utf8(header.value).ok())
        .and_then(|value| value.trim().parse().ok());
    Ok((response.code.unwrap_or(0), retry_after.unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn what_the_relay_says_is_understood() {
        assert_eq!(answer(b"HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\n\r\n").unwrap().0, 101);
        assert_eq!(answer(b"HTTP/1.1 204 \r\n\r\n").unwrap().0, 204);
        assert_eq!(answer(b"HTTP/1.1 429 \r\nRetry-After: 7\r\n\r\n").unwrap(), (429, 7));
        assert!(answer(b"nonsense\r\n\r\n").is_err());
    }
}
