//! What is in a value.

use std::collections::BTreeMap;

use antiphon_client::{DataType, Value};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a program may expect, of every kind that serde has.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only read")]
enum Expected {
    Nothing,
    One(Option<i64>),
    Two(String, f64),
    Members { key: u8, list: Vec<bool>, map: BTreeMap<i16, char> },
}

/// The first byte says of which data type.
pub(crate) fn value(bytes: &[u8]) {
    let Some((first, content)) = bytes.split_first() else { return };
    let data_type = DataType::ALL[usize::from(*first) % DataType::ALL.len()];
    let value = Value::new(data_type, content.to_vec());
    let _ = value.decode::<IgnoredAny>();
    let _ = value.decode::<Vec<u8>>();
    let _ = value.decode::<Vec<Expected>>();
    let _ = value.decode::<BTreeMap<String, Expected>>();
    if let Ok(read) = value.decode::<serde_json::Value>()
        && let Ok(written) = Value::json(&read)
    {
        assert!(written.decode().is_ok_and(|again: serde_json::Value| again == read), "it is another value");
    }
}
