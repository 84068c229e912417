//! Which web pages may use the broker.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

/// The web pages that may use the broker, by where they come from. Programs that are no browsers say nothing about that,
/// and are always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// As browsers write them: in lower case, and without the port that goes without saying.
    listed: Vec<String>,
    /// Pages that come from the host and port that they connect to.
    same_host: bool,
    /// Pages of this machine.
    loopback: bool,
}

impl Origins {
    /// From origins such as `https://app.example.com`, and the words `same-host` and `loopback`. What is none of these
    /// allows nobody.
    #[must_use]
    pub fn new<T: AsRef<str>>(list: &[T]) -> Self {
        let mut origins = Self::default();
        for entry in list {
            match entry.as_ref() {
                "same-host" => origins.same_host = true,
                "loopback" => origins.loopback = true,
                origin => origins.listed.push(without_usual_port(&origin.to_ascii_lowercase()).to_owned()),
            }
        }
        origins
    }

    /// Whether a request with these headers may pass; `is_tls` if it came by TLS.
    pub(super) fn allow(&self, headers: &HeaderMap, is_tls: bool) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => origin.to_str().is_ok_and(|origin| self.allow_page(origin, headers, is_tls)),
            (Some(_), Some(_)) => false,
        }
    }

    fn allow_page(&self, origin: &str, headers: &HeaderMap, is_tls: bool) -> bool {
        let host = || headers.get(HOST).and_then(|host| host.to_str().ok());
        self.listed.iter().any(|listed| listed == origin)
            || self.loopback && is_loopback(origin)
            || self.same_host && host().is_some_and(|host| is_same_host(origin, host, is_tls))
    }
}

/// Without the port that browsers leave out.
fn without_usual_port(origin: &str) -> &str {
    let port = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => return origin,
    };
    origin.strip_suffix(port).unwrap_or(origin)
}

/// A page that came by TLS is not mistaken for one that did not: whoever can put himself between could have written that.
/// Where a proxy takes TLS off, the broker does not know it of its own end.
fn is_same_host(origin: &str, host: &str, is_tls: bool) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let is_scheme = scheme == "https" || scheme == "http" && !is_tls;
    let host = host.to_ascii_lowercase();
    let same = |usual: &str| host.strip_suffix(usual).unwrap_or(&host) == authority;
    is_scheme && !host.is_empty() && same(if scheme == "https" { ":443" } else { ":80" })
}

fn is_loopback(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    !authority.as_str().contains('@') && is_loopback_authority(authority)
}

/// Whether a host, with its port if there is one, is this machine.
pub(super) fn is_loopback_authority(authority: &Authority) -> bool {
    let host = authority.host();
    if !authority.as_str().strip_prefix(host).is_some_and(is_port) {
        return false;
    }
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    is_localhost(host) || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether it is a port as it stands behind a host, or nothing. The parser of addresses looks at what stands behind the last
/// colon alone.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    text.is_empty() || digits.is_some_and(|digits| digits.parse::<u16>().is_ok())
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
    use axum::http::HeaderValue;

    use super::*;

    /// Whether a page may connect to a broker with this list at `host`.
    fn allows(list: &[&str], origin: &str, host: &str, is_tls: bool) -> bool {
        let header = |text: &str| HeaderValue::from_str(text).unwrap();
        let headers = HeaderMap::from_iter([(HOST, header(host)), (ORIGIN, header(origin))]);
        Origins::new(list).allow(&headers, is_tls)
    }

    /// V1.
    #[test]
    fn only_pages_that_are_listed_letter_by_letter_may_connect() {
        let list = [
            "https://good.example",
            "http://other.example:8080",
            "https://xn--bcher-kva.example",
            "https://[2001:db8::1]",
        ];
        for good in list {
            assert!(allows(&list, good, "good.example", true), "{good}");
        }
        for bad in [
            "",
            "null",
            "good.example",
            "//good.example",
            "http://good.example",
            "wss://good.example",
            "https://GOOD.example",
            "HTTPS://good.example",
            "https://good.example.",
            "https://good.example/",
            "https://good.example:443",
            "https://good.example:8443",
            "https://good.example.evil.example",
            "https://good.example@evil.example",
            "https://evil.example#good.example",
            "https://evil.example/good.example",
            "https://evilgood.example",
            "https://sub.good.example",
            "https://good.exampl",
            "https://good.example, https://evil.example",
            "https://good.example https://evil.example",
            "http://other.example",
            "http://other.example:80801",
            "https://b\u{fc}cher.example",
            "https://[2001:db8::2]",
            "https://[2001:0db8::1]",
        ] {
            assert!(!allows(&list, bad, "good.example", true), "{bad}");
        }
        assert!(allows(&["HTTPS://Good.Example:443", "http://a.example:80"], "https://good.example", "x", true));
        assert!(!allows(&[], "https://good.example", "good.example", true));
    }

    /// V1.
    #[test]
    fn who_says_nothing_may_connect_and_who_says_two_things_may_not() {
        let listed = Origins::new(&["https://good.example"]);
        assert!(listed.allow(&HeaderMap::new(), true));
        let twice = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://good.example"))]);
        let mut headers = twice.clone();
        headers.append(ORIGIN, HeaderValue::from_static("https://good.example"));
        assert!(listed.allow(&twice, true) && !listed.allow(&headers, true));
    }

    /// V1.
    #[test]
    fn the_same_host_is_the_same_name_and_port() {
        let same = |origin: &str, host: &str| allows(&["same-host"], origin, host, false);
        for (origin, host) in [
            ("https://app.example", "app.example"),
            ("https://app.example", "App.Example:443"),
            ("http://app.example", "app.example:80"),
            ("https://app.example:8443", "app.example:8443"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(same(origin, host), "{origin} at {host}");
        }
        for (origin, host) in [
            ("https://app.example", "app.example:8443"),
            ("https://app.example:8443", "app.example"),
            ("https://app.example", "app.example:80"),
            ("https://app.example.evil.example", "app.example"),
            ("https://app.example", "evil.app.example"),
            ("https://app.example.", "app.example"),
            ("null", "app.example"),
            ("https://", ""),
            ("https://user@app.example", "app.example"),
        ] {
            assert!(!same(origin, host), "{origin} at {host}");
        }
        assert!(!allows(&["same-host"], "http://app.example", "app.example:80", true), "not by TLS");
    }

    #[test]
    fn loopback_is_every_page_of_this_machine() {
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
            assert!(allows(&["loopback"], good, "x", false), "{good}");
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
            "http://localhost:",
            "http://localhost:+80",
            "http://localhost:5a",
            "http://localhost:5[::2]:80",
            "ftp://localhost",
            "http://192.168.0.1",
            "http://0.0.0.0",
            "http://[::2]",
            "http://127.0.0.1:8080, http://evil.example",
            "http://2130706433",
        ] {
            assert!(!allows(&["loopback"], bad, "x", false), "{bad}");
        }
    }
}
