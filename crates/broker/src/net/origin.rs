//! Which web pages may use the broker.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Lets requests pass but those of web pages that are not from this machine.
///
/// A browser says which page makes a request. Any page could, so only those of this machine may; programs that are no
/// browsers say nothing.
pub(super) async fn only_local_pages(request: Request, next: Next) -> Response {
    if origin_is_allowed(request.headers()) {
        return next.run(request).await;
    }
    let (host, origin) = (request.headers().get(HOST), request.headers().get(ORIGIN));
    tracing::info!(?host, ?origin, "refused: the page is not from this machine");
    (StatusCode::FORBIDDEN, "pages from this origin may not connect\n").into_response()
}

fn origin_is_allowed(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin.to_str().is_ok_and(is_loopback_origin),
        (Some(_), Some(_)) => false,
    }
}

fn is_loopback_origin(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    is_localhost(host) || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// `localhost` and every name below it is this machine, whatever a name server says (RFC 6761, section 6.3); a dot may
/// stand at the end.
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let (below, last) = host.rsplit_once('.').unwrap_or(("localhost", host));
    last.eq_ignore_ascii_case("localhost") && below.split('.').all(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_may_connect() {
        for good in [
            "http://localhost",
            "http://LOCALHOST:8080",
            "http://shop.localhost:8080",
            "https://a.b.Localhost",
            "http://localhost.:3000",
            "https://127.0.0.1:5173",
            "http://127.1.2.3",
            "http://[::1]:3000",
        ] {
            assert!(is_loopback_origin(good), "{good}");
        }
        for bad in [
            "null",
            "",
            "localhost",
            "//localhost",
            "file://",
            "http://localhost.evil.example",
            "http://notlocalhost",
            "http://evil-localhost",
            "http://.localhost",
            "http://localhost..",
            "http://127.0.0.1.evil.example",
            "http://evil.example",
            "http://evil.example:8080",
            "http://localhost@evil.example",
            "http://evil.example#localhost",
            "http://user@localhost",
            "ftp://localhost",
            "http://192.168.0.1",
            "http://0.0.0.0",
            "http://[::2]",
            "http://127.0.0.1:8080, http://evil.example",
            "http://2130706433",
        ] {
            assert!(!is_loopback_origin(bad), "{bad}");
        }
    }
}
