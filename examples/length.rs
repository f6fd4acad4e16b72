//! A server that says how it has read each request: its target and the length of its body, in the header `X-Said`.
//!
//! `cargo run --example length` prints the address it listens on. `tests/outside/differential.py` asks it how hyper reads
//! what the relay passes on.

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use std::{error::Error, io::Write};
use tokio::net::TcpListener;

/// The longest body that is read.
const BODY_MAX: usize = 1 << 20;

async fn answer(request: Request) -> Response {
    let target = request.uri().to_string();
    match axum::body::to_bytes(request.into_body(), BODY_MAX).await {
        Ok(body) => ([("X-Said", said(&target, body.len()))], "said\n").into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// A JSON object in ASCII.
fn said(target: &str, bytes: usize) -> String {
    let target: String = target
        .chars()
        .map(|letter| if letter.is_ascii_graphic() && !"\"\\".contains(letter) { letter } else { '?' })
        .collect();
    format!("{{\"url\":\"{target}\",\"bytes\":{bytes}}}")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening at {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    axum::serve(listener, Router::new().fallback(answer)).await?;
    Ok(())
}
