//! The answering program as a plain server, for relays that connect to their backends.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use clap::Args;
use monoio::net::{ListenerOpts, TcpListener};

use crate::answer::{Style, serve};
use crate::conn::Conn;
use crate::pace::Pace;
use crate::runtime;

/// Connections that may wait for `accept`.
const BACKLOG: i32 = 4096;

/// How answers look, for origin and fleet alike.
#[derive(Args, Clone, Debug)]
pub struct AnswerArgs {
    /// Length of the small answer's body in bytes
    #[arg(long, default_value_t = 29)]
    pub response_bytes: usize,
    /// Send small answers in chunks
    #[arg(long)]
    pub chunked: bool,
    /// Close the connection after every answer
    #[arg(long)]
    pub close: bool,
    /// Rate that each connection's answers keep to [default: as fast as they are taken]
    #[arg(long, value_name = "BYTES_PER_SECOND")]
    pub pace: Option<Pace>,
}

impl AnswerArgs {
    /// The style these arguments ask for.
    pub fn style(&self) -> Rc<Style> {
        Rc::new(Style::new(self.response_bytes, self.chunked, self.close, self.pace))
    }
}

/// Arguments of `origin`.
#[derive(Args, Debug)]
pub struct OriginArgs {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// CPU to run on
    #[arg(long)]
    core: Option<usize>,
    #[command(flatten)]
    answer: AnswerArgs,
}

/// Listens and answers until killed.
///
/// # Errors
/// When the address cannot be bound or the kernel grants no ring.
pub fn run(args: &OriginArgs) -> io::Result<()> {
    runtime::raise_open_files();
    runtime::pin(args.core)?;
    let style = args.answer.style();
    runtime::run(accept(args.listen, style))?
}

async fn accept(listen: SocketAddr, style: Rc<Style>) -> io::Result<()> {
    let listener = TcpListener::bind_with_config(listen, &ListenerOpts::new().backlog(BACKLOG))?;
    println!("ready {}", listener.local_addr()?);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: let some connections end first.
            monoio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let style = style.clone();
        monoio::spawn(async move {
            // A client that goes away is no news here.
            let _ = serve(&mut Conn::new(stream), &style, None, || ()).await;
        });
    }
}
