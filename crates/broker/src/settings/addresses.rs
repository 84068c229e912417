//! Kinds of values that are addresses: where to listen, whom to believe, which pages may connect.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use ipnet::IpNet;

use super::kinds::{Describe, Form, Single, describe};
use super::place::{Place, quoted};

describe! {
    Address Text "ADDRESS:PORT"
    Network Text "NETWORK"
    Origin Text "ORIGIN"
    NatsUrl Text "URL"
}

/// An address and a port. A port alone is one of this machine. A name such as `localhost` stands for its first address,
/// an IPv4 one if there is any.
#[derive(Clone, Copy)]
pub(super) struct Address;

impl Single<SocketAddr> for Address {
    fn parse(&self, text: &str, _: &Place) -> Result<SocketAddr, String> {
        if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
        let wrong = || format!("{} will not do; write an address and a port, such as 127.0.0.1:8080", quoted(text));
        let addresses: Vec<_> = text.to_socket_addrs().map_err(|_| wrong())?.collect();
        let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        address.copied().ok_or_else(wrong)
    }
    fn write(&self, value: &SocketAddr) -> String {
        value.to_string()
    }
}

/// Addresses of a network; one address is a network as well.
pub(super) struct Network;

impl Single<IpNet> for Network {
    fn parse(&self, text: &str, _: &Place) -> Result<IpNet, String> {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match network {
            Some(network) if network.addr() == network.network() => Ok(network),
            Some(network) => Err(format!("{} has bits set behind its prefix; write {}", quoted(text), network.trunc())),
            None => Err(format!("{} will not do; write a network such as 10.0.0.0/8 or ::1/128", quoted(text))),
        }
    }
    fn write(&self, value: &IpNet) -> String {
        value.to_string()
    }
}

/// Which web pages may connect: the start of their addresses, or a word.
pub(super) struct Origin;

impl Single<String> for Origin {
    fn parse(&self, text: &str, _: &Place) -> Result<String, String> {
        if ["same-host", "loopback"].contains(&text) {
            return Ok(text.into());
        }
        let wrong = |what: String| format!("{} will not do; {what}", quoted(text));
        let examples = "write an origin such as \"https://app.example.com\", or \"same-host\" or \"loopback\"";
        let (scheme, authority) = text.split_once("://").ok_or_else(|| wrong(examples.into()))?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) || authority.is_empty() {
            return Err(wrong(examples.into()));
        }
        if let Some((host, _)) = authority.split_once('/') {
            return Err(wrong(format!("an origin has no path; write \"{scheme}://{host}\"")));
        }
        if authority.contains('*') {
            return Err(wrong("origins are compared as a whole; list each one".into()));
        }
        if !authority.chars().all(is_host) {
            return Err(wrong(examples.into()));
        }
        let uri = text.parse::<axum::http::Uri>().map_err(|_| wrong(examples.into()))?;
        if uri.host().is_none_or(str::is_empty) || authority.ends_with(':') {
            return Err(wrong(examples.into()));
        }
        Ok(text.to_ascii_lowercase())
    }
    fn write(&self, value: &String) -> String {
        value.clone()
    }
}

/// The address of a NATS server.
pub(super) struct NatsUrl;

impl Single<String> for NatsUrl {
    fn parse(&self, text: &str, _: &Place) -> Result<String, String> {
        let host = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
        if host.is_some_and(|host| !host.is_empty() && !host.contains([' ', '/'])) {
            return Ok(text.into());
        }
        // It is not repeated: there may be a password in it.
        Err("write an address such as nats://127.0.0.1:4222".into())
    }
    fn write(&self, value: &String) -> String {
        value.clone()
    }
}
