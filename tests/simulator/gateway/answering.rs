//! What a gateway checks of a request, and what it answers.
use super::{Gateway, Leave, Serving};
use crate::simulator::draw::{self, Style};
use crate::simulator::net::Net;
use crate::simulator::payload::{answer_key, astray, payload, request_key};
use crate::simulator::plan::{Exchange, Fate, Framed, Kind, Ledger, domain_name};
use crate::simulator::wire::{Body, Framing, Head, chunked};
use ringback::io::Millis;

impl Gateway {
    /// Takes a request's head, after checking that it may be here.
    pub(super) fn begin<M>(&mut self, world: &Net<M>, ledger: &mut Ledger, head: &Head) {
        let who = self.describe();
        let exchange = head.number("x-id").and_then(|id| ledger.exchanges.get_mut(id));
        let Some(exchange) = exchange else {
            world.fault(&format!("{who}: nobody sent {:?}", String::from_utf8_lossy(&head.raw)));
        };
        let id = head.number("x-id").expect("found");
        world.note(|| format!("{who}: request {id}: {}", exchange.describe()));
        if exchange.domain != self.domain {
            world.fault(&format!("{who}: request {id} is for {}", domain_name(exchange.domain)));
        }
        let again = !exchange.reached.is_empty();
        if again && (!exchange.repeatable() || exchange.answered || !exchange.disturbed) {
            world.fault(&format!("{who}: request {id} must not be sent again: {}", exchange.describe()));
        }
        exchange.reached.push(self.connection);
        exchange.disturbed = false;
        if let Some(wrong) = self.head_fault(exchange, head) {
            world.fault(&format!("{who}: request {id}: {wrong}: {:?}", String::from_utf8_lossy(&head.raw)));
        }
        let tunnel = exchange.is_tunnel() && exchange.answer.status != 403;
        let framing = if exchange.is_tunnel() { Framing::Done } else { head.framing(false) };
        let opaque = exchange.answer.opaque && self.classic;
        let delays = match ledger.crowded {
            true if ledger.hurried => [0, 1000, 2000, 2000, 3000, 3000],
            // Some are free at about the same time, and others not for long.
            true => [0, 0, 50, 200, 8000, 30_000],
            false => [0, 0, 0, 5, 50, 1000],
        };
        let delay = self.random.pick(&delays);
        let early = exchange.answer.early && !opaque;
        let body = Body::new(framing);
        let answer_at = Some(if early || body.is_done() { world.now() + delay } else { Millis::MAX });
        world.wake_at(world.now() + delay);
        self.style = Style::draw(&mut self.random, exchange.answer.len + 500);
        if exchange.expect && !early && self.random.chance(600) {
            self.out.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.last = Some(id);
        self.serving = Some(Serving { id, body, answer_at, answer_from: 0, tunnel, opaque });
    }

    fn head_fault(&self, exchange: &Exchange, head: &Head) -> Option<&'static str> {
        if self.classic {
            return (head.raw != exchange.head).then_some("changed on its way to a classic gateway");
        }
        let from = head.header("x-forwarded-for").and_then(|from| from.parse().ok());
        if from.is_none() || from != exchange.address {
            return Some("X-Forwarded-For is not the client");
        }
        let upgrade = exchange.kind == Kind::Upgrade;
        if head.header("upgrade").is_some() != upgrade {
            return Some("Upgrade lost or made up");
        }
        // To HTTP/1.0 the relay speaks of its own hop.
        let kept = head.connection("keep-alive") && !exchange.http10;
        (head.connection("close") || kept).then_some("hop-by-hop header")
    }

    /// Answers, when it is time.
    pub(super) fn answer<M>(&mut self, world: &Net<M>, ledger: &mut Ledger) -> bool {
        let serving = self.serving.as_mut().expect("serving");
        let Some(at) = serving.answer_at else { return false };
        if world.now() < at && !(at == Millis::MAX && serving.body.is_done()) {
            return false;
        }
        serving.answer_at = None;
        serving.answer_from = self.out.len();
        let id = serving.id;
        let exchange = &mut ledger.exchanges[id];
        let answer = exchange.answer;
        if answer.fate == Fate::Never {
            return true;
        }
        if answer.fate == Fate::None {
            self.leave = if answer.by_reset { Leave::Reset } else { Leave::Close };
            self.fail(ledger);
            return true;
        }
        exchange.answered = true;
        let (mut bytes, body_at) = self.response(exchange, id);
        self.leave = self.leave_after(exchange);
        if answer.fate == Fate::Cut {
            bytes.truncate(self.random.below(bytes.len()).max(1));
            self.leave = if answer.by_reset { Leave::Reset } else { Leave::Close };
            // Many a classic device resets as it closes, having read nothing; its answer counts as whole.
            ledger.exchanges[id].reset = answer.by_reset && !self.classic;
            self.fail(ledger);
        } else {
            let (chunked, before) = (answer.framed == Framed::Chunked, self.out.len());
            let rests = draw::rests(&mut self.random, &bytes, body_at, chunked);
            self.rests = rests.into_iter().map(|(at, time)| (at + before, time)).collect();
        }
        self.out.extend(bytes);
        true
    }

    /// The request at hand ends badly as soon as everything is sent.
    fn fail(&mut self, ledger: &mut Ledger) {
        let serving = self.serving.take().expect("serving");
        ledger.exchanges[serving.id].disturbed = true;
        self.dies_at = None;
    }

    fn leave_after(&mut self, exchange: &Exchange) -> Leave {
        let serving = self.serving.as_ref().expect("serving");
        let until_close = exchange.answer.framed == Framed::UntilClose && has_body(exchange) || serving.opaque;
        match serving.tunnel || until_close || exchange.answer.close || self.eof {
            // Closing with the request unread would be a reset, which is another story.
            true if serving.tunnel || !serving.body.is_done() => Leave::Finish,
            true if self.random.chance(500) => Leave::Finish,
            true => Leave::Close,
            false => Leave::Stay,
        }
    }

    /// The answer's bytes, and where its body begins.
    fn response(&mut self, exchange: &Exchange, id: usize) -> (Vec<u8>, usize) {
        let serving = self.serving.as_ref().expect("serving");
        let answer = exchange.answer;
        let bytes = payload(answer_key(id), answer.len);
        if serving.opaque {
            // No reason, no CR, and a space before a colon: the relay makes a head of its own out of that.
            let head = format!("HTTP/1.1 {}\nX-Id : {id}\nX-Domain: {}\n\n", answer.status, self.domain);
            let whole = [head.as_bytes(), if has_body(exchange) { &bytes[..] } else { b"" }].concat();
            return (whole, head.len());
        }
        let mut out = Vec::new();
        for interim in 0..if exchange.http10 { 0 } else { answer.interim } {
            out.extend(format!("HTTP/1.1 103 Early Hints\r\nX-Hint: {interim}\r\n\r\n").bytes());
        }
        let mut head = match exchange.kind {
            _ if !serving.tunnel => format!("HTTP/1.1 {} Fine\r\n", answer.status),
            Kind::Connect => "HTTP/1.1 200 OK\r\n".to_owned(),
            _ => "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n".to_owned(),
        };
        head += &format!("X-Id: {id}\r\nX-Domain: {}\r\n", self.domain);
        if answer.close && !serving.tunnel {
            head += "Connection: close\r\n";
        }
        let body = !serving.tunnel && has_body(exchange);
        let chunks = body && answer.framed == Framed::Chunked && !exchange.http10;
        if chunks {
            head += "Transfer-Encoding: chunked\r\n";
        } else if body && answer.framed != Framed::UntilClose {
            head += &format!("Content-Length: {}\r\n", answer.len);
        }
        out.extend((head + "\r\n").bytes());
        let body_at = out.len();
        if chunks {
            let largest = self.random.pick(&[500, 5000, 100_000]);
            let trailer = self.random.chance(300).then_some("X-Trailer: down");
            let random = &mut self.random;
            out.extend(chunked(&bytes, trailer, |rest| random.between(1, rest.min(largest))));
        } else if body || serving.tunnel {
            out.extend(bytes);
        }
        (out, body_at)
    }

    pub(super) fn check_whole<M>(&self, world: &Net<M>, ledger: &Ledger, serving: &Serving) {
        self.check_part(world, ledger, serving);
        let exchange = &ledger.exchanges[serving.id];
        let cut = serving.body.bytes.len() < exchange.len && (serving.tunnel || exchange.kind == Kind::Post);
        let excused = exchange.client_quits || ledger.ending && !exchange.under_way;
        if cut && (serving.body.is_done() || serving.tunnel) && !excused {
            world.fault(&format!("{}: request {} arrived cut", self.describe(), serving.id));
        }
    }

    pub(super) fn check_part<M>(&self, world: &Net<M>, ledger: &Ledger, serving: &Serving) {
        let want = payload(request_key(serving.id), ledger.exchanges[serving.id].len);
        if let Some(wrong) = astray(&serving.body.bytes, &want) {
            world.fault(&format!("{}: the body of request {} {wrong}", self.describe(), serving.id));
        }
    }
}

/// Whether the answer to this may have a body.
pub fn has_body(exchange: &Exchange) -> bool {
    exchange.kind != Kind::Head && !matches!(exchange.answer.status, 204 | 304)
}
