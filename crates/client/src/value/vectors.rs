//! The values of `tests/vectors/vectors.json`: bytes of other clients. Every one is read; what we write in one form only is
//! written again and must give the same bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::item::Item;
use super::*;

/// One entry of the file.
struct Vector {
    name: String,
    source: String,
    bytes: Vec<u8>,
    decoded: Json,
}

fn vectors(kind: &str) -> Vec<Vector> {
    const FILE: &str = include_str!("../../../../tests/vectors/vectors.json");
    let entries: Vec<Json> = serde_json::from_str(FILE).expect("the vectors are JSON");
    let text = |entry: &Json, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let vector = |entry: &Json| Vector {
        name: text(entry, "name"),
        source: text(entry, "source"),
        bytes: hex::decode(text(entry, "hex")).expect("hex"),
        decoded: entry["decoded"].clone(),
    };
    entries.iter().filter(|entry| entry["kind"] == kind).map(vector).collect()
}

#[test]
fn every_value_is_read_and_those_of_one_form_are_written_back_to_the_same_bytes() {
    let (mut read, mut written, mut raw) = (0, 0, 0);
    for Vector { name, source, bytes, decoded } in vectors("value") {
        let data_type = decoded["dataType"].as_str().and_then(DataType::from_name).expect("a data type");
        let value = Value::new(data_type, bytes.clone());
        if matches!(data_type, DataType::Binary | DataType::RecordV2) {
            raw += 1;
            continue;
        }
        let item: Item = value.decode().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(same(&item, &decoded["value"]), "{name}: {item:?}");
        read += 1;
        // Python writes short floats; JavaScript writes `undefined`, and for some floats a wrong integer in a long form
        // (section 7.1), and marks bigints by long heads. We write none of them, and no integer of more than 64 bits, sign
        // included.
        let short_float = source == "python-client" && contains_float(&item);
        let has_other_forms = short_float || bytes.contains(&0xf7) || name.contains("quirk") || name.contains("marked");
        if !has_other_forms && !contains_large_integer(&item) {
            assert_eq!(Value::json(&item).expect("written").bytes(), bytes, "{name}");
            written += 1;
        }
    }
    println!("values: {read} read, {written} written, {raw} raw ones passed on");
    assert_eq!(read + raw, 165);
    assert!(written > 110, "{written}");
}

#[test]
fn every_malformed_value_is_refused() {
    let malformed: Vec<_> = vectors("invalid").into_iter().filter(|vector| vector.name.contains("CBOR")).collect();
    assert_eq!(malformed.len(), 2);
    for Vector { name, bytes, .. } in malformed {
        assert!(Value::new(DataType::Json, bytes).decode::<Item>().is_err(), "{name}");
    }
}

proptest! {
    #[test]
    fn whatever_json_can_say_survives(item in item()) {
        prop_assert_eq!(Value::json(&item).and_then(|value| value.decode::<Item>()), Ok(item));
    }

    #[test]
    fn reading_anything_does_not_panic(bytes in vec(any::<u8>(), 0..400)) {
        for data_type in DataType::ALL {
            let value = Value::new(*data_type, bytes.clone());
            let _ = value.decode::<Item>();
            let _ = value.decode::<Option<Vec<u16>>>();
            let _ = value.decode::<std::collections::HashMap<u8, Result<String, ()>>>();
        }
    }
}

fn item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        Just(Item::Null),
        any::<bool>().prop_map(Item::Bool),
        any::<i64>().prop_map(|number| Item::Integer(number.into())),
        any::<f64>().prop_filter("NaN equals nothing", |float| !float.is_nan()).prop_map(Item::Float),
        ".*".prop_map(Item::Text),
        any::<Vec<u8>>().prop_map(Item::Bytes),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![vec(inner.clone(), 0..8).prop_map(Item::Array), vec((".*", inner), 0..8).prop_map(Item::Object)]
    })
}

fn contains_float(item: &Item) -> bool {
    contains(item, &|item| matches!(item, Item::Float(_)))
}

fn contains_large_integer(item: &Item) -> bool {
    contains(item, &|item| matches!(item, Item::Integer(number) if i64::try_from(*number).is_err()))
}

fn contains(item: &Item, is_it: &dyn Fn(&Item) -> bool) -> bool {
    match item {
        Item::Array(items) => items.iter().any(|item| contains(item, is_it)),
        Item::Object(members) => members.iter().any(|(_, item)| contains(item, is_it)),
        item => is_it(item),
    }
}

/// Whether `item` is what a vector shows as `value`, with the notation of section 16.
fn same(item: &Item, value: &Json) -> bool {
    if let Some(special) = value.as_object().filter(|object| object.len() == 1) {
        let (kind, text) = special.iter().next().expect("one entry");
        match kind.as_str() {
            "$int" => return *item == Item::Integer(text.as_str().expect("text").parse().expect("a number")),
            "$double" => {
                let expected: f64 = text.as_str().expect("text").parse().expect("a float");
                return matches!(item, Item::Float(float) if float.to_bits() == expected.to_bits()
                    || float.is_nan() && expected.is_nan());
            }
            "$bytes" => return *item == Item::Bytes(hex::decode(text.as_str().expect("text")).expect("hex")),
            "$undefined" => return *item == Item::Null,
            _ => {}
        }
    }
    match item {
        Item::Null => value.is_null(),
        Item::Bool(flag) => value == flag,
        Item::Integer(number) => value.as_number().is_some_and(|value| value.to_string() == number.to_string()),
        Item::Float(float) => value.as_f64() == Some(*float),
        Item::Text(text) => value == text,
        Item::Bytes(_) => false,
        Item::Array(items) => value.as_array().is_some_and(|values| {
            values.len() == items.len() && items.iter().zip(values).all(|(item, value)| same(item, value))
        }),
        Item::Object(members) => value.as_object().is_some_and(|object| {
            object.len() == members.len()
                && members.iter().all(|(key, item)| object.get(key).is_some_and(|value| same(item, value)))
        }),
    }
}
