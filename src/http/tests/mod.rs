//! What the parsers promise, file by file, and what they promise together.
mod canned;
mod domain;
mod faults;
mod forward;
mod framing;
mod generated;
mod registration;
mod repair;
mod reply;
mod request;
mod response;

use super::{Parse, Refusal, RequestHead, request as requests};

/// A whole request head, or the refusal.
fn parse(head: &str) -> Result<RequestHead, Refusal> {
    match requests::parse(head.as_bytes(), 100)? {
        Parse::Complete(head) => Ok(head),
        Parse::Partial => panic!("not complete: {head:?}"),
    }
}

/// A request head that is known to be in order.
fn parsed(head: &str) -> RequestHead {
    parse(head).unwrap_or_else(|refusal| panic!("{refusal:?}: {head:?}"))
}

/// A GET head with `headers`, each with its line end, behind a `Host`.
fn get(headers: &str) -> String {
    format!("GET /dom/x HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

/// What is left of `head` when its cuts are taken out.
fn without_cuts(head: &[u8], cuts: &super::Cuts) -> Vec<u8> {
    let mut left = Vec::new();
    let mut at = 0;
    for cut in cuts.spans(head) {
        left.extend_from_slice(&head[at..usize::from(cut.start)]);
        at = usize::from(cut.end);
    }
    left.extend_from_slice(&head[at..]);
    left
}
