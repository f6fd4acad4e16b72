//! The demo's service: the kind of small web server that runs on a device.
use std::{fmt::Write as _, io, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    http::{HeaderMap, Method, Uri, header},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{get, post},
    serve::ListenerExt,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;

/// Time between two events of `/events`.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// The page, with a mark where the headers go.
const PAGE: &str = include_str!("page.html");

/// Where the headers go in [`PAGE`].
const SEEN_MARK: &str = "<!-- what the service saw -->";

/// Serves on `listener` until dropped: `/` a page, `/hello` text, `/events` a stream, `/echo` a WebSocket, `/upload`
/// a byte counter. Paths have no prefix: the gateway has the relay strip it.
///
/// # Errors
/// Those of `listener`.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let routes = Router::new()
        .route("/", get(page))
        .route("/hello", get(hello))
        .route("/events", get(events))
        .route("/echo", get(echo))
        .route("/upload", post(upload));
    let listener = listener.tap_io(|connection| {
        // An event is a small write: without this it may wait for the acknowledgement of the one before.
        let _slower_at_worst = connection.set_nodelay(true);
    });
    axum::serve(listener, routes).await
}

async fn page(headers: HeaderMap) -> Html<String> {
    let mut rows = String::new();
    for (name, value) in &headers {
        let relayed = name.as_str().starts_with("x-forwarded-") || name.as_str().starts_with("x-relay-");
        let class = if relayed { " class=relayed" } else { "" };
        let value = escaped(&String::from_utf8_lossy(value.as_bytes()));
        let _into_a_string = write!(rows, "<tr{class}><th>{name}<td>{value}");
    }
    Html(PAGE.replace(SEEN_MARK, &rows))
}

async fn hello(method: Method, uri: Uri, headers: HeaderMap) -> String {
    let mut text = format!("hello from behind the firewall\n\nThe service saw:\n{method} {uri}\n");
    for (name, value) in &headers {
        let _into_a_string = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

async fn events() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], Sse::new(ticks()))
}

/// An event at once, and one every [`EVENT_INTERVAL`].
fn ticks() -> impl Stream<Item = Result<Event, std::convert::Infallible>> {
    stream::unfold((tokio::time::interval(EVENT_INTERVAL), 1_u64), |(mut interval, n)| async move {
        interval.tick().await;
        Some((Ok(Event::default().id(n.to_string()).data(format!("event {n}"))), (interval, n + 1)))
    })
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo_messages)
}

async fn echo_messages(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let echoed = matches!(message, Message::Text(_) | Message::Binary(_));
        if echoed && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Counts without keeping: an upload of any size costs nothing.
async fn upload(body: Body) -> Result<String, String> {
    let mut chunks = body.into_data_stream();
    let mut bytes = 0;
    while let Some(chunk) = chunks.next().await {
        bytes += chunk.map_err(|error| format!("the upload broke off after {bytes} bytes: {error}\n"))?.len();
    }
    Ok(format!("{bytes} bytes arrived\n"))
}

/// Text that cannot be taken for HTML: headers come from anybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_place_for_the_headers_and_needs_nobody_else() {
        assert_eq!(PAGE.matches(SEEN_MARK).count(), 1);
        for foreign in ["http://", "https://", "src=\"/", "href=\"/"] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }

    #[tokio::test]
    async fn headers_cannot_bring_html_into_the_page() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "<script>&".parse().unwrap());
        let Html(page) = page(headers).await;
        assert!(page.contains("<tr class=relayed><th>x-forwarded-for<td>&lt;script>&amp;"));
    }

    #[tokio::test]
    async fn an_upload_is_counted() {
        assert_eq!(upload(Body::from(vec![0; 70_000])).await.unwrap(), "70000 bytes arrived\n");
    }
}
