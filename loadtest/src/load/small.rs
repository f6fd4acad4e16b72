//! Clients that send small requests, and those that mostly keep silent.

use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::time::sleep;

use super::client::{Expected, exchange};
use super::{Run, Workload, rate};
use crate::conn::Conn;

/// Pause after a connection has ended unexpectedly, so that a dead relay is not hammered.
const PAUSE: Duration = Duration::from_millis(10);

/// One client: a request as soon as the one before is answered, or when the schedule says so.
pub async fn client(run: Rc<Run>, index: usize) {
    let churn = run.args.workload == Workload::Churn;
    let open = rate(&run.args).is_some();
    let mut conn = if churn { None } else { run.connect().await };
    run.has_started();
    let mut turn = 0;
    while let Some(intended) = next(&run, open).await {
        run.begin();
        run.tally.record(&run.tally.lateness, intended.elapsed());
        let domain = domain(&run, index, turn);
        turn += 1;
        request(&run, &mut conn, domain, intended).await;
        run.end();
        if churn {
            conn = None;
        }
    }
}

/// When the next request is meant to be sent.
async fn next(run: &Run, open: bool) -> Option<Instant> {
    if open {
        return run.schedule.next().await;
    }
    (!run.over.get()).then(Instant::now)
}

/// Which domain a client's request goes to.
fn domain(run: &Run, index: usize, turn: usize) -> usize {
    let domains = run.domains.len();
    match run.args.workload {
        // Those that no other client asks for, one after the other, as far as there are enough.
        Workload::Many => {
            let clients = run.args.connections.max(1);
            let own = domains.saturating_sub(index % clients).div_ceil(clients).max(1);
            (index + turn % own * clients) % domains
        }
        _ => index % domains,
    }
}

/// One request, on the connection there is or a new one.
async fn request(run: &Run, conn: &mut Option<Conn>, domain: usize, intended: Instant) {
    if conn.is_none() {
        *conn = run.connect().await;
    }
    let Some(open) = conn else { return };
    let (name, request) = &run.domains[domain];
    let tally = &run.tally;
    let answer = exchange(open, request.clone(), Expected::Domain(name), |_| ()).await;
    match answer {
        Ok(answer) => {
            tally.add(&tally.bytes_in, answer.bytes);
            tally.answered(answer.verdict, intended.elapsed());
            if !answer.reusable {
                *conn = None;
            }
        }
        Err(_) => {
            tally.add(&tally.io_errors, 1);
            *conn = None;
            sleep(PAUSE).await;
        }
    }
}

/// A client that asks once, keeps its connection, and asks once more at the end.
pub async fn idler(run: Rc<Run>, index: usize) {
    let mut conn = run.connect().await;
    let domain = domain(&run, index, 0);
    request(&run, &mut conn, domain, Instant::now()).await;
    run.begin();
    run.has_started();
    // The schedule is never run: this waits for its end.
    run.schedule.next().await;
    let tally = &run.tally;
    if conn.is_none() {
        // It was to be kept, and was not.
        tally.add(&tally.io_errors, 1);
    }
    request(&run, &mut conn, domain, Instant::now()).await;
    run.end();
}
