use crate::http::canned::*;

/// The head's lines and the body of a canned answer.
fn take_apart(answer: &'static [u8]) -> (Vec<&'static str>, &'static str) {
    let text = std::str::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split("\r\n").collect(), body)
}

/// Every refusal, in both forms: right length, right status, right reason, right `Connection`, one line of body.
#[test]
fn every_answer_is_well_formed() {
    for &refusal in Refusal::ALL {
        for (answer, connection) in [(refusal.closing(), "close"), (refusal.kept(), "keep-alive")] {
            let (lines, body) = take_apart(answer);
            assert!(lines[0].starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{refusal:?}");
            assert!((400..600).contains(&refusal.status()), "{refusal:?}");
            assert_eq!(lines[1], "Content-Type: text/plain; charset=utf-8");
            assert_eq!(lines[2], format!("Content-Length: {}", body.len()), "{refusal:?}");
            assert_eq!(lines[3], format!("Connection: {connection}"));
            assert_eq!(lines[4], format!("X-Relay-Error: {}", refusal.reason()));
            // Who is refused for now learns when to come back.
            let more = match refusal.status() {
                401 => "WWW-Authenticate: Bearer",
                429 | 503 => "Retry-After: ",
                _ if matches!(refusal, Refusal::GatewayAbsent | Refusal::GatewayBusy) => "Retry-After: ",
                _ => "",
            };
            assert_eq!(lines.get(5).is_some(), !more.is_empty(), "{refusal:?}");
            assert!(lines.get(5).is_none_or(|line| line.starts_with(more)), "{refusal:?}");
            assert!(body.ends_with(".\n") && body.matches('\n').count() == 1, "{refusal:?}: {body:?}");
            assert!(body.starts_with(refusal.wrong()), "{refusal:?}");
        }
    }
}

/// A script can tell refusals apart by their reason, which is a plain slug.
#[test]
fn reasons_are_distinct_slugs() {
    let mut reasons: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.reason()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), Refusal::ALL.len());
    let is_slug = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    assert!(reasons.iter().all(|reason| is_slug(reason)));
}

/// One answer in full, so that a change of form does not go unseen.
#[test]
fn one_answer_byte_for_byte() {
    let expected = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 45\r\n\
                    Connection: close\r\nX-Relay-Error: nul\r\n\r\nThere is a zero byte in the head: remove it.\n";
    assert_eq!(std::str::from_utf8(Refusal::Nul.closing()).unwrap(), expected);
}

/// The answer to HEAD ends with the blank line and still has the length of what GET would get.
#[test]
fn head_gets_no_body() {
    for &refusal in Refusal::ALL {
        let head = without_body(refusal.kept());
        assert!(head.ends_with(b"\r\n\r\n") && refusal.kept().starts_with(head));
        assert!(head.len() < refusal.kept().len());
    }
    assert_eq!(without_body(CLASSIC_204), CLASSIC_204);
}

/// The bytes of PROTOCOL §1.1 and §1.2.
#[test]
fn gateway_answers_byte_for_byte() {
    assert_eq!(CLASSIC_204, b"HTTP/1.1 204 \r\n\r\n");
    assert_eq!(CLASSIC_101, b"HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n");
    assert_eq!(UNAUTHORIZED_401, b"HTTP/1.1 401 \r\nWWW-Authenticate: Bearer\r\n\r\n");
    let ptth = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n";
    assert_eq!(PTTH_101, ptth.as_bytes());
    for (seconds, text) in [(0, "0"), (7, "7"), (120, "120"), (u32::MAX, "4294967295")] {
        for (put_off, reason) in
            [(PutOff::RegistrationRate, "registration-rate"), (PutOff::DomainConnections, "gateways-of-domain")]
        {
            let expected = format!("HTTP/1.1 429 \r\nRetry-After: {text}\r\nX-Relay-Error: {reason}\r\n\r\n");
            assert_eq!(too_many_429(put_off, seconds).as_bytes(), expected.as_bytes());
        }
    }
    let mut out = Vec::new();
    moved_307(&mut out, false, "node2.example:8080", b"gsiot-ffmq-ttd5");
    moved_307(&mut out, true, "node2.example", b"d");
    let expected = "HTTP/1.1 307 \r\nLocation: http://node2.example:8080/gsiot-ffmq-ttd5\r\n\r\n\
                    HTTP/1.1 307 \r\nLocation: https://node2.example/d\r\n\r\n";
    assert_eq!(out, expected.as_bytes());
}
