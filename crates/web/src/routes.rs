//! What is answered to which request, and what every answer carries: a policy that lets the page use nothing but its own
//! files, no caching, and no way to be embedded elsewhere.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use xlat_control::live::Live;

use crate::host::is_ours;
use crate::{Exposition, Watched, metrics, page};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Everything that is answered; `names` are the host's own.
pub(crate) fn router<W: Watched>(watched: W, names: Vec<String>) -> Router {
    let names = Arc::new(names);
    Router::new()
        .route("/", get(page::html))
        .route("/style.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/icon.svg", get(page::icon))
        .route("/live", get(live::<W>))
        .route("/metrics", get(scraped::<W>))
        .route("/health", get(health::<W>))
        .route("/ready", get(ready::<W>))
        .fallback(async || (StatusCode::NOT_FOUND, "There is nothing here.\n"))
        .with_state(watched)
        .layer(middleware::from_fn(move |request, next| admit(Arc::clone(&names), request, next)))
        .layer(middleware::map_response(marked))
}

/// Lets only those through that read, and that call this host by one of its own names.
async fn admit(names: Arc<Vec<String>>, request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refusal = "Nothing can be changed here.\n";
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")], refusal).into_response();
    }
    if !called(request.uri(), request.headers()).is_some_and(|name| is_ours(name, &names)) {
        let refusal =
            "This host does not answer to that name: add it to hosts in [web], or use the address.\n";
        return (StatusCode::MISDIRECTED_REQUEST, refusal).into_response();
    }
    next.run(request).await
}

/// What the request calls this host: exactly one name.
fn called<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    match (uri.authority(), first, second) {
        (_, _, Some(_)) | (None, None, _) => None,
        (Some(authority), _, _) => Some(authority.as_str()),
        (None, Some(host), None) => host.to_str().ok(),
    }
}

async fn marked(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn live<W: Watched>(State(watched): State<W>) -> Json<Live> {
    Json(Live::clone(&*watched.live().await))
}

async fn scraped<W: Watched>(State(watched): State<W>, headers: HeaderMap) -> Response {
    let asked = Exposition::asked(&headers);
    match metrics(&*watched.counts().await, asked) {
        Ok(text) => ([(CONTENT_TYPE, asked.content_type()), (VARY, "accept")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Is it alive? If not, starting it again may help.
async fn health<W: Watched>(State(watched): State<W>) -> Response {
    match watched.is_alive() {
        true => "alive\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the control loop does not answer\n").into_response(),
    }
}

/// Does it translate? If not, packets should be sent elsewhere.
async fn ready<W: Watched>(State(watched): State<W>) -> Response {
    if !watched.is_alive() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the control loop does not answer\n").into_response();
    }
    let live = watched.counts().await;
    match (live.ready, live.instances.is_empty()) {
        (true, _) => "translating\n".into_response(),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "there is no instance\n").into_response(),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "nothing is translated\n").into_response(),
    }
}
