//! For whom a proxy connects: the header `X-Forwarded-For`, and the PROXY protocol before the first byte of a connection.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes that a header of the PROXY protocol has at most: version 2 may carry much that nobody asks for here.
const MAX_HEADER: usize = 4 << 10;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// And one of version 1.
const NAME: &[u8; 6] = b"PROXY ";
/// Bytes of the longest header of version 1.
const LONGEST_LINE: usize = 107;

/// The client behind proxies: the last one in the list that is not trusted itself, since each proxy adds at the end whom
/// it has it from, and whatever stands before was written by somebody else.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let entries = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    for entry in entries {
        if !trusts(client) {
            break;
        }
        let Some(address) = address(entry.trim()) else { break };
        client = address;
    }
    client
}

/// With a port or without, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip()).ok();
    text.parse::<IpAddr>().ok().or_else(with_port).or_else(bare).map(|address| address.to_canonical())
}

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// A header: its bytes, and whom it names. Nobody, if the proxy speaks for itself.
    Header(usize, Option<IpAddr>),
    /// No header.
    Other,
    /// Not enough to tell.
    Unclear,
}

/// The address that a proxy names at the beginning of a connection, if it does; and what was read beyond it.
pub(super) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Result<(Option<IpAddr>, Vec<u8>), Error> {
    let mut bytes = Vec::new();
    loop {
        match beginning(&bytes).ok_or(ErrorKind::InvalidData)? {
            Beginning::Header(length, address) => return Ok((address, bytes.split_off(length))),
            Beginning::Other => return Ok((None, bytes)),
            Beginning::Unclear if bytes.len() < MAX_HEADER => {}
            Beginning::Unclear => return Err(ErrorKind::InvalidData.into()),
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Nothing if it begins like a header and is none.
fn beginning(bytes: &[u8]) -> Option<Beginning> {
    let is_like = |beginning: &[u8]| {
        let length = bytes.len().min(beginning.len());
        bytes[..length] == beginning[..length]
    };
    match (bytes.strip_prefix(NAME), bytes.strip_prefix(SIGNATURE)) {
        (Some(_), _) => line(bytes),
        (_, Some(rest)) => binary(rest),
        _ if is_like(NAME) || is_like(SIGNATURE) => Some(Beginning::Unclear),
        _ => Some(Beginning::Other),
    }
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Option<Beginning> {
    let bytes = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return (bytes.len() < LONGEST_LINE).then_some(Beginning::Unclear);
    };
    let mut words = std::str::from_utf8(&bytes[NAME.len()..end]).ok()?.split(' ');
    let address = match words.next()? {
        "UNKNOWN" => None,
        "TCP4" => Some(words.next()?.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => Some(words.next()?.parse::<Ipv6Addr>().ok()?.to_canonical()),
        _ => return None,
    };
    Some(Beginning::Header(end + 2, address))
}

/// Version 2, behind its signature.
fn binary(rest: &[u8]) -> Option<Beginning> {
    let &[version, family, high, low, ref rest @ ..] = rest else { return Some(Beginning::Unclear) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let header = SIGNATURE.len() + 4 + length;
    if version >> 4 != 2 || header > MAX_HEADER {
        return None;
    }
    let Some(addresses) = rest.get(..length) else { return Some(Beginning::Unclear) };
    let address = match (version & 0xF, family >> 4) {
        (0, _) => None,
        (1, 1) => Some(IpAddr::from(*addresses.first_chunk::<4>()?)),
        (1, 2) => Some(IpAddr::from(*addresses.first_chunk::<16>()?).to_canonical()),
        (1, _) => None,
        _ => return None,
    };
    Some(Beginning::Header(header, address))
}

/// What is known from the beginning of a connection stays, whatever comes behind; and nothing that was read is lost.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn assert_decided_once(bytes: &[u8]) {
    use futures_util::FutureExt;

    let decided = beginning(bytes);
    for length in 0..bytes.len().min(MAX_HEADER) {
        let earlier = beginning(&bytes[..length]);
        assert!(earlier == Some(Beginning::Unclear) || earlier == decided, "{earlier:?} after {length}, {decided:?}");
    }
    let mut socket = bytes;
    let read = read(&mut socket).now_or_never().expect("nothing is waited for");
    let read = read.map(|(address, begun)| (address, [&begun, socket].concat()));
    match (decided, read) {
        (Some(Beginning::Header(length, address)), Ok(read)) => assert_eq!(read, (address, bytes[length..].to_vec())),
        (Some(Beginning::Other), Ok(read)) => assert_eq!(read, (None, bytes.to_vec())),
        (decided, read) => assert!(matches!(decided, None | Some(Beginning::Unclear)) && read.is_err(), "{read:?}"),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// The client of a request from 10.0.0.1, where 10.0.0.0/8 and ::1 are trusted.
    fn from(peer: &str, lines: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let trusts = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
        };
        client(peer.parse().unwrap(), &headers, trusts).to_string()
    }

    #[test]
    fn the_client_is_the_last_one_that_is_no_trusted_proxy() {
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(from("::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            from("10.0.0.1", &["198.51.100.9, 192.0.2.1, 10.1.1.1"]),
            "192.0.2.1",
            "what is before may be a lie"
        );
        assert_eq!(from("10.0.0.1", &["198.51.100.9, 192.0.2.1", "10.1.1.1"]), "192.0.2.1", "over several lines");
        assert_eq!(from("10.0.0.1", &["10.3.3.3,10.2.2.2"]), "10.3.3.3");
        assert_eq!(from("::1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(from("10.0.0.1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(from("10.0.0.1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(from("10.0.0.1", &["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(from("10.0.0.1", &["::ffff:192.0.2.1"]), "192.0.2.1");
        assert_eq!(from("10.0.0.1", &["192.0.2.1, unknown, 10.2.2.2"]), "10.2.2.2", "nobody knows who was before");
        assert_eq!(from("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(from("192.0.2.1", &["10.9.9.9"]), "192.0.2.1", "anybody can write that");
    }

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02\x01\x0A\0\0\x01\x12\x34\x01\xBB";

    fn named(length: usize, address: &str) -> Option<Beginning> {
        Some(Beginning::Header(length, Some(address.parse().unwrap())))
    }

    #[test]
    fn a_header_names_the_client() {
        assert_eq!(beginning(b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET /"), named(41, "192.0.2.1"));
        assert_eq!(beginning(b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n"), named(38, "2001:db8::7"));
        assert_eq!(beginning(b"PROXY UNKNOWN\r\n"), Some(Beginning::Header(15, None)));
        assert_eq!(beginning(V2), named(28, "192.0.2.1"));
        let mut six = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
        six.extend_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six.extend_from_slice(&[0; 20]);
        assert_eq!(beginning(&six), named(52, "2001:db8::7"));
        assert_eq!(
            beginning(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
            Some(Beginning::Header(16, None)),
            "of the proxy itself"
        );
        assert_eq!(beginning(b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\0"), Some(Beginning::Header(16, None)), "a Unix socket");
    }

    #[test]
    fn what_only_begins_like_a_header_is_none() {
        for other in [&b"GET /diffusion HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"PROPFIND / HTTP/1.1", b"\r\nGET /"] {
            assert_eq!(beginning(other), Some(Beginning::Other), "{other:?}");
        }
        let long = [NAME, &b"9".repeat(LONGEST_LINE)[..]].concat();
        for bad in [
            &b"PROXY TCP4 192.0.2.300 10.0.0.1 1 2\r\n"[..],
            b"PROXY TCP4\r\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
            b"PROXY \xFF\r\n",
            &long,
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0C",
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF",
        ] {
            assert_eq!(beginning(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_header_that_has_not_arrived_is_waited_for(length in 0..V2.len()) {
            prop_assert_eq!(beginning(&V2[..length]), Some(Beginning::Unclear));
        }

        #[test]
        fn whatever_comes_is_no_reason_to_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            start in prop_oneof![Just(&b""[..]), Just(&NAME[..]), Just(&SIGNATURE[..])],
        ) {
            assert_decided_once(&[start, &bytes].concat());
        }
    }
}
