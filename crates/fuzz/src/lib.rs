//! What a fuzzer calls: every decoder that bytes of strangers reach, as functions of bytes.
//!
//! None of them may panic, take longer than a second or more than 64 MiB, whatever the bytes; and what is read has to be
//! written as something that is read as the same. `tests/corpus.rs` runs them with the inputs in `corpus/` and with changed
//! ones; `npm run test:fuzz` has libFuzzer look for new ones.
//!
//! - `wire`: what `antiphon-protocol` reads.
//! - `values`: what is in a value.
//! - `network`: what comes before a session: frames, first messages, what proxies and web pages say.
//! - `tokens`: JSON Web Tokens. `operator`: the configuration file, key sets.
//! - `server`: what only the broker reads, and both cores as a whole, message after message.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod network;
mod operator;
mod server;
mod tokens;
mod values;
mod wire;

/// A function to be called with whatever bytes, by the name of its folder in `corpus/`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("connect-query", wire::connect_query),
    ("connect-headers", wire::connect_headers),
    ("connect-response", wire::connect_response),
    ("message", wire::message),
    ("batch", wire::batch),
    ("headers", wire::headers),
    ("service-request", wire::service_request),
    ("service-response", wire::service_response),
    ("path", wire::path),
    ("value", values::value),
    ("frames", network::frames),
    ("first-message", network::first_message),
    ("proxy-header", network::proxy_header),
    ("forwarded-for", network::forwarded_for),
    ("origin", network::origin),
    ("token", tokens::token),
    ("claims", tokens::claims),
    ("key-set", operator::key_set),
    ("configuration", operator::configuration),
    ("filter", server::filter),
    ("client", server::client),
    ("broker", server::broker),
];

/// The function of this name.
#[must_use]
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}
