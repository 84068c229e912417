//! How to connect: options that `options.js` has checked.

use antiphon_protocol::client::ClientConfig;
use js_sys::Array;
use wasm_bindgen::prelude::*;

use crate::clock::milliseconds;

/// Reads a list: principal or undefined, session properties, version of the protocol, then milliseconds for connecting, for
/// reconnecting (0 for not at all) and for a request, and the largest message taken from the server in bytes.
pub fn client_config(options: &Array) -> ClientConfig {
    // Checked, so that the kinds of values and the ranges of numbers are known; `as` saturates.
    let number = |index| options.get(index).as_f64().unwrap_or_default();
    let mut properties = strings(&options.get(1).unchecked_into()).into_iter();
    ClientConfig {
        principal: options.get(0).as_string(),
        properties: std::iter::from_fn(|| Some((properties.next()?, properties.next()?))).collect(),
        protocol_version: number(2) as u8,
        connect_timeout: milliseconds(number(3)),
        reconnect_timeout: milliseconds(number(4)),
        request_timeout: milliseconds(number(5)),
        max_message_size: number(6) as usize,
        ..ClientConfig::default()
    }
}

/// An array of strings.
pub fn strings(array: &Array) -> Vec<String> {
    array.iter().filter_map(|item| item.as_string()).collect()
}
