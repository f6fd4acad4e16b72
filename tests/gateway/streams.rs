//! Bodies that take their time: a byte that arrived is a byte sent on.
use crate::wire::{GET, OK, Wire, joined};

#[tokio::test]
async fn an_event_arrives_before_the_next_is_sent() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    at_target.say(head).await;
    relay.expect(head).await;
    for n in 0..5 {
        let event = format!("9\r\ndata: {n}\n\n\r\n");
        // Split inside the chunk: the half goes on, too.
        at_target.say(&event[..7]).await;
        relay.expect(&event[..7]).await;
        at_target.say(&event[7..]).await;
        relay.expect(&event[7..]).await;
    }
    at_target.say("0\r\nX-End: t\r\n\r\n").await;
    relay.expect("0\r\nX-End: t\r\n\r\n").await;
    // The chunked response had an end: both connections are used again.
    relay.say(GET).await;
    at_target.expect(GET).await;
}

#[tokio::test]
async fn a_chunked_upload_streams_and_its_end_is_found() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    relay.say(head).await;
    let mut at_target = target.accept().await;
    at_target.expect(head).await;
    for _ in 0..3 {
        relay.say("4\r\nabcd\r\n").await;
        at_target.expect("4\r\nabcd\r\n").await;
    }
    relay.say(format!("0\r\n\r\n{GET}")).await;
    at_target.expect("0\r\n\r\n").await;
    at_target.say(OK).await;
    relay.expect(OK).await;
    at_target.expect(GET).await;
}

#[tokio::test]
async fn bodies_larger_than_every_buffer_go_through_both_ways() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let sending = tokio::spawn({
        let bytes = [head.as_bytes(), &body].concat();
        async move {
            relay.say(bytes).await;
            relay
        }
    });
    let mut at_target = target.accept().await;
    at_target.expect([head.as_bytes(), &body].concat()).await;
    let mut relay = sending.await.unwrap();
    let bytes = [answer.as_bytes(), &body].concat();
    let answering = tokio::spawn({
        let bytes = bytes.clone();
        async move { at_target.say(bytes).await }
    });
    relay.expect(bytes).await;
    answering.await.unwrap();
}

#[tokio::test]
async fn a_100_continue_passes_before_the_body() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    relay.say(head).await;
    let mut at_target = target.accept().await;
    at_target.expect(head).await;
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n"] {
        at_target.say(interim).await;
        relay.expect(interim).await;
    }
    relay.say("abc").await;
    at_target.expect("abc").await;
    at_target.say(OK).await;
    relay.expect(OK).await;
    relay.say(GET).await;
    at_target.expect(GET).await;
}

#[tokio::test]
async fn a_body_that_will_not_come_any_more_is_not_waited_for() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    relay.say(head).await;
    let mut at_target = target.accept().await;
    at_target.expect(head).await;
    let answer = "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    at_target.say(answer).await;
    relay.expect(answer).await;
    relay.end().await;
}

#[tokio::test]
async fn an_early_response_passes_and_the_upload_goes_on() {
    let (mut relay, target, _host, _gateway) = joined().await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n";
    relay.say(format!("{head}abc")).await;
    let mut at_target = target.accept().await;
    at_target.expect(format!("{head}abc")).await;
    at_target.say(OK).await;
    relay.expect(OK).await;
    relay.say("def").await;
    at_target.expect("def").await;
    relay.say(GET).await;
    at_target.expect(GET).await;
}

#[tokio::test]
async fn a_target_that_answers_and_closes_without_reading_is_delivered_whole() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc").await;
    let mut at_target = target.accept().await;
    let answer = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    at_target.head().await;
    at_target.expect("abc").await;
    at_target.say(answer).await;
    drop(at_target);
    relay.expect("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
    relay.end().await;
}

#[tokio::test]
async fn the_target_hears_at_once_that_the_client_is_gone() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    at_target.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    relay.head().await;
    drop(relay);
    at_target.end().await;
}

/// Sends a lot at once, then little by little, then a lot again; each small piece has to arrive before the next is sent.
async fn carries(from: &mut Wire, to: &mut Wire, pieces: &[Vec<u8>]) {
    for piece in pieces {
        let ((), ()) = tokio::join!(from.say(piece), to.expect(piece));
    }
}

/// Payload in pieces: 2 MiB, some of a few bytes, and 2 MiB.
fn pieces() -> Vec<Vec<u8>> {
    let bytes = |from: u32, len: u32| (from..from + len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let small = (0..40).map(|n| bytes(n, 1 + n % 7));
    [bytes(0, 2 << 20)].into_iter().chain(small).chain([bytes(7, 2 << 20)]).collect()
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
}

#[tokio::test]
async fn bulk_and_what_follows_arrive_at_once_whatever_the_framing() {
    let pieces = pieces();
    let length: usize = pieces.iter().map(Vec::len).sum();
    let one_chunk = pieces.concat();
    let framed = [
        (format!("Content-Length: {length}\r\n"), pieces.clone()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), {
            let whole = one_chunk.chunks(1 << 20).flat_map(chunk).collect();
            pieces.iter().map(|piece| chunk(piece)).chain([whole, b"0\r\n\r\n".to_vec()]).collect()
        }),
    ];
    let (mut relay, target, _host, _gateway) = joined().await;
    let mut at_target = None;
    for (field, pieces) in &framed {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{field}\r\n");
        relay.say(&head).await;
        let at_target = match &mut at_target {
            Some(there) => there,
            none => none.insert(target.accept().await),
        };
        at_target.expect(&head).await;
        carries(&mut relay, at_target, pieces).await;
        let head = format!("HTTP/1.1 200 OK\r\n{field}\r\n");
        at_target.say(&head).await;
        relay.expect(&head).await;
        carries(at_target, &mut relay, pieces).await;
    }
}

#[tokio::test]
async fn bulk_in_a_tunnel_and_what_follows_arrive_at_once() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say("CONNECT /my-domain HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut at_target = target.accept().await;
    relay.expect("HTTP/1.1 200 OK\r\n\r\n").await;
    for _ in 0..2 {
        carries(&mut relay, &mut at_target, &pieces()).await;
        carries(&mut at_target, &mut relay, &pieces()).await;
    }
    relay.finish().await;
    at_target.end().await;
    at_target.say("still talking").await;
    relay.expect("still talking").await;
}

#[tokio::test]
async fn a_response_without_a_length_ends_behind_its_bulk() {
    let (mut relay, target, _host, _gateway) = joined().await;
    relay.say(GET).await;
    let mut at_target = target.accept().await;
    at_target.expect(GET).await;
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    at_target.say(head).await;
    relay.head().await;
    carries(&mut at_target, &mut relay, &pieces()).await;
    drop(at_target);
    relay.end().await;
}
