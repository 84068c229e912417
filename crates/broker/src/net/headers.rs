//! What every answer says to browsers, whatever it is: how they may use it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::entrance::{Current, Via};
use super::origin::is_loopback_authority;

/// No other site may show a page in a frame, where its user would click without knowing on what; nothing is taken for another
/// kind of file than it is; and no other site learns from which page a link led there. What a page loads and runs is for
/// its own policy to say, in a `<meta>`: any application may be served.
const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'self'")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
];

/// Adds these headers to an answer; a WebSocket is none.
pub(super) async fn add_security_headers(
    State(entrance): State<Arc<Current>>,
    Extension(via): Extension<Via>,
    request: Request,
    next: Next,
) -> Response {
    let is_for_all_to_come = via.is_tls && !is_for_this_machine(request.headers());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let headers = response.headers_mut();
    headers.extend(ALWAYS);
    let hsts = entrance.borrow().hsts;
    if is_for_all_to_come && !hsts.is_zero() {
        headers.insert(STRICT_TRANSPORT_SECURITY, only_by_tls(hsts));
    }
    response
}

/// For so long, browsers are to use nothing but TLS for this host.
fn only_by_tls(time: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={}", time.as_secs())).unwrap_or(HeaderValue::from_static("max-age=0"))
}

/// `localhost` is the host of every program that a developer runs, and most of them know nothing of TLS.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let authority = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    authority.is_some_and(|authority| is_loopback_authority(&authority))
}
