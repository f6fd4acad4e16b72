//! Signals, which mean the same to all commands: SIGTERM and SIGINT end it, SIGUSR1 asks for a report, and SIGHUP asks
//! for files to be read again, of which only a relay with certificates has some.
use super::console;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator::{Handle, Signals},
};
use std::time::{Duration, Instant};

/// A second signal to end within this time is the first one again: supervisors signal a process and its group.
const SAME_WITHIN: Duration = Duration::from_secs(1);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A report on standard error.
    Report,
    /// The end, in order; the signal's name.
    End(&'static str),
    /// The end at once.
    EndNow,
    /// Files to be read again.
    Reload,
}

/// What SIGHUP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// Nothing: there is no configuration to read again.
    GoOn,
    /// It has certificates read again.
    Reload,
    /// It ends the program, as ssh expects of its `ProxyCommand`.
    End,
}

/// The signals of this process, watched from now on.
pub struct Watch {
    signals: Signals,
    hangup: Hangup,
    first: Option<Instant>,
}

impl Watch {
    /// Watches.
    ///
    /// # Errors
    /// The message for the user.
    pub fn start(hangup: Hangup) -> Result<Watch, String> {
        match Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1]) {
            Ok(signals) => Ok(Watch { signals, hangup, first: None }),
            Err(error) => Err(format!("cannot watch for signals: {error}")),
        }
    }

    /// Ends the wait for signals.
    pub fn handle(&self) -> Handle {
        self.signals.handle()
    }

    /// The next thing asked for; `None` once the wait has been ended.
    pub fn next(&mut self) -> Option<Asked> {
        loop {
            let signal = self.signals.forever().next()?;
            if let Some(asked) = meaning(signal, self.hangup, &mut self.first, Instant::now()) {
                return Some(asked);
            }
        }
    }
}

/// The signals of a command that runs on tokio: a thread of their own waits for them.
#[cfg(feature = "gateway")]
pub struct Asks(tokio::sync::mpsc::UnboundedReceiver<Asked>);

#[cfg(feature = "gateway")]
impl Asks {
    /// Watches.
    ///
    /// # Errors
    /// The message for the user.
    pub fn watch(hangup: Hangup) -> Result<Asks, String> {
        let mut watch = Watch::start(hangup)?;
        let (to, asks) = tokio::sync::mpsc::unbounded_channel();
        let wait = move || {
            while let Some(asked) = watch.next() {
                if to.send(asked).is_err() {
                    return;
                }
            }
        };
        match std::thread::Builder::new().name("signals".to_owned()).spawn(wait) {
            Ok(_) => Ok(Asks(asks)),
            Err(error) => Err(format!("cannot watch for signals: {error}")),
        }
    }

    /// Ready when the command is to end. Until then it reports when it is asked to.
    pub async fn end(&mut self, report: impl Fn() -> String) {
        while let Some(asked) = self.0.recv().await {
            match asked {
                Asked::Report => console::say(&report()),
                Asked::Reload => {}
                Asked::End(_) | Asked::EndNow => return,
            }
        }
        std::future::pending().await
    }
}

/// What a signal asks for, if the program has to do something.
fn meaning(signal: i32, hangup: Hangup, first: &mut Option<Instant>, now: Instant) -> Option<Asked> {
    match signal {
        SIGUSR1 => Some(Asked::Report),
        SIGHUP if hangup == Hangup::Reload => Some(Asked::Reload),
        SIGHUP if hangup == Hangup::GoOn => {
            console::say("ringback: SIGHUP: there is no configuration to read again; all goes on\n");
            None
        }
        _ => match *first {
            None => {
                *first = Some(now);
                Some(Asked::End(name(signal)))
            }
            Some(first) if now - first < SAME_WITHIN => None,
            Some(_) => Some(Asked::EndNow),
        },
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGHUP => "SIGHUP",
        _ => "SIGTERM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two signals to end within a second are one; a later one means at once. A hangup means nothing.
    #[test]
    fn a_doubled_signal_is_one() {
        let (mut first, began) = (None, Instant::now());
        let mut after =
            |signal, millis| meaning(signal, Hangup::GoOn, &mut first, began + Duration::from_millis(millis));
        assert_eq!(after(SIGHUP, 0), None);
        assert_eq!(after(SIGUSR1, 0), Some(Asked::Report));
        assert_eq!(after(SIGTERM, 0), Some(Asked::End("SIGTERM")));
        assert_eq!(after(SIGTERM, 1), None);
        assert_eq!(after(SIGINT, 999), None);
        assert_eq!(after(SIGINT, 1000), Some(Asked::EndNow));
        assert_eq!(meaning(SIGHUP, Hangup::Reload, &mut None, began), Some(Asked::Reload));
        assert_eq!(meaning(SIGHUP, Hangup::End, &mut None, began), Some(Asked::End("SIGHUP")));
    }
}
