//! What comes before a session: WebSocket frames, first messages, what proxies and web pages say of themselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use antiphon_broker::net::fuzz;

/// The first byte says in how large pieces the others come.
fn in_pieces(bytes: &[u8], read: fn(&[u8], usize)) {
    if let Some((piece, bytes)) = bytes.split_first() {
        read(bytes, usize::from(*piece).max(1));
    }
}

pub(crate) fn frames(bytes: &[u8]) {
    in_pieces(bytes, fuzz::frames);
}

pub(crate) fn first_message(bytes: &[u8]) {
    in_pieces(bytes, fuzz::first_message);
}

pub(crate) fn proxy_header(bytes: &[u8]) {
    fuzz::proxy_header(bytes);
}

/// Who is trusted, as a proxy.
fn is_proxy(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
}

/// Lines of `X-Forwarded-For`. Who is no proxy is not listened to, and who is one is believed about the last entry alone: what
/// stands before an address that is no proxy's was written by who knows whom.
pub(crate) fn forwarded_for(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines: Vec<_> = text.lines().collect();
    let (stranger, proxy) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([10, 0, 0, 1]));
    assert_eq!(fuzz::forwarded_for(stranger, &lines, is_proxy), stranger);
    let client = fuzz::forwarded_for(proxy, &lines, is_proxy);
    assert_eq!(client, client.to_canonical());
    if !is_proxy(client) {
        let forged = [&["198.51.100.7, 10.0.0.2"], &lines[..]].concat();
        assert_eq!(fuzz::forwarded_for(proxy, &forged, is_proxy), client, "somebody else than the proxy was believed");
    }
}

/// The first line is a host, the second an origin.
pub(crate) fn origin(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((host, origin)) = text.split_once('\n') else { return };
    let listed = fuzz::origin(&["https://app.example"], origin, "app.example", true);
    assert_eq!(listed, origin == "https://app.example");
    for is_tls in [false, true] {
        if fuzz::origin(&["same-host"], origin, host, is_tls) {
            let (scheme, page) = origin.split_once("://").expect("a scheme");
            let port = match (scheme, is_tls) {
                ("https", _) => ":443",
                ("http", false) => ":80",
                _ => panic!("a page that came by {scheme}"),
            };
            let host = host.to_ascii_lowercase();
            assert!(page == host || format!("{page}{port}") == host, "a page of {page} at {host}");
        }
        if fuzz::origin(&["loopback"], origin, host, is_tls) {
            assert!(is_of_this_machine(origin), "{origin} is elsewhere");
        }
    }
}

/// Read as the end of an address is: the host is what stands before the last port.
fn is_of_this_machine(origin: &str) -> bool {
    let authority = origin.split("://").nth(1).unwrap_or_default();
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    if let Some(address) = authority.strip_prefix('[') {
        let address = address.split(']').next().and_then(|address| address.parse::<Ipv6Addr>().ok());
        return address.is_some_and(|address| address.to_canonical().is_loopback());
    }
    let host = authority.rsplit_once(':').map_or(&authority[..], |(host, _)| host);
    let name = host.strip_suffix('.').unwrap_or(host);
    name == "localhost" || name.ends_with(".localhost") || host.parse::<Ipv4Addr>().is_ok_and(|host| host.is_loopback())
}
