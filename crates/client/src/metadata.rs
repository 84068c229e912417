//! What goes along with a request beside its value: texts by key.

use std::collections::BTreeMap;

use antiphon_protocol::client as core;
use antiphon_protocol::value::DataType;
use antiphon_protocol::wire::headers::MAX_METADATA_BYTES;

use crate::error::RequestError;
use crate::value::{Item, Value};

/// Texts by key.
pub(crate) type Metadata = BTreeMap<String, String>;

/// The W3C trace context.
const TRACE_PARENT: &str = "traceparent";
const TRACE_STATE: &str = "tracestate";
const TOO_LARGE: &str = "metadata has more than 8,192 bytes";

/// From its wire form. What is no object, or no text in it, is not of our making, and passed over.
pub(crate) fn read(bytes: Vec<u8>) -> Metadata {
    let text = |(key, item)| if let Item::Text(text) = item { Some((key, text)) } else { None };
    match Value::new(DataType::Json, bytes).decode() {
        Ok(Item::Object(members)) => members.into_iter().filter_map(text).collect(),
        _ => Metadata::new(),
    }
}

/// In its wire form; empty if there is none.
pub(crate) fn written(metadata: &Metadata) -> Result<Vec<u8>, RequestError> {
    if metadata.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = Value::json(metadata).map_err(RequestError::unsendable)?.into_bytes();
    match bytes.len() {
        0..=MAX_METADATA_BYTES => Ok(bytes),
        _ => Err(core::RequestError::InvalidArgument(TOO_LARGE).into()),
    }
}

/// Adds the trace context of the request that this one is within, unless this one has its own.
pub(crate) fn inherit(metadata: &mut Metadata, outer: &Metadata) {
    if !metadata.contains_key(TRACE_PARENT) {
        for key in [TRACE_PARENT, TRACE_STATE] {
            if let Some(text) = outer.get(key) {
                metadata.entry(key.to_owned()).or_insert_with(|| text.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: &[(&str, &str)]) -> Metadata {
        entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn what_is_written_is_read_and_whatever_is_no_text_is_passed_over() {
        let sent = metadata(&[("a", "é"), ("__proto__", ""), ("traceparent", "00-1-2-01")]);
        assert_eq!(read(written(&sent).expect("small")), sent);
        assert_eq!(written(&Metadata::new()), Ok(Vec::new()));
        let mixed = Item::Object(vec![
            ("a".into(), Item::Integer(1)),
            ("b".into(), Item::Text("text".into())),
            ("c".into(), Item::Array(vec![])),
        ]);
        assert_eq!(read(Value::json(&mixed).expect("json").into_bytes()), metadata(&[("b", "text")]));
        for bytes in [&[][..], &[0x61, b'a'], &[0x81, 0x61, b'a'], &[0xbf, 0x61], &[0xf6]] {
            assert_eq!(read(bytes.to_vec()), Metadata::new(), "{bytes:?}");
        }
    }

    #[test]
    fn as_much_is_sent_as_a_broker_takes() {
        let of = |length| metadata(&[("a", &"x".repeat(length))]);
        let most = (1..=MAX_METADATA_BYTES).rev().find(|length| written(&of(*length)).is_ok()).expect("one fits");
        assert_eq!(written(&of(most)).map(|bytes| bytes.len()), Ok(MAX_METADATA_BYTES));
        assert_eq!(written(&of(most + 1)).map_err(|error| error.code().into_owned()), Err("INVALID_ARGUMENT".into()));
    }

    #[test]
    fn a_trace_goes_along_unless_there_is_another_one() {
        let outer = metadata(&[("traceparent", "1"), ("tracestate", "2"), ("other", "3")]);
        for (own, expected) in [
            (metadata(&[]), metadata(&[("traceparent", "1"), ("tracestate", "2")])),
            (metadata(&[("a", "b")]), metadata(&[("a", "b"), ("traceparent", "1"), ("tracestate", "2")])),
            (metadata(&[("tracestate", "9")]), metadata(&[("traceparent", "1"), ("tracestate", "9")])),
            (metadata(&[("traceparent", "9")]), metadata(&[("traceparent", "9")])),
        ] {
            let mut own = own;
            inherit(&mut own, &outer);
            assert_eq!(own, expected);
        }
    }
}
