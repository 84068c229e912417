//! Values by themselves.

use std::collections::HashMap;

use antiphon_client::{DataType, Value, ValueError};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::requests::{Item, Order, order};

fn value(bytes: &[u8]) -> Value {
    Value::new(DataType::Json, bytes.to_vec())
}

pub async fn values_are_read_as_the_types_of_the_program(_broker: &str) {
    assert_eq!(Value::json(&order()).and_then(|value| value.decode::<Order>()), Ok(order()));
    assert_eq!(Value::string("text").decode::<String>().as_deref(), Ok("text"));
    assert_eq!(Value::int64(-7).decode(), Ok(-7_i8));
    assert_eq!(Value::int64(-7).decode(), Ok(-7.0));
    assert_eq!(Value::double(0.5).decode(), Ok(0.5));
    assert_eq!(Value::binary([1, 2]).decode(), Ok(vec![1_u8, 2]));
    // What other clients write: definite lengths, long heads, short floats, tags, keys that are numbers.
    assert_eq!(value(&[0x82, 0x18, 5, 0xf9, 0x3e, 0]).decode(), Ok((5_u64, 1.5)));
    assert_eq!(
        value(&[0xc1, 0xa1, 7, 0x7f, 0x61, b'a', 0x61, b'b', 0xff]).decode(),
        Ok(HashMap::from([(7_u8, "ab".to_owned())]))
    );
    assert_eq!(value(&[0x42, 1, 2]).decode(), Ok(vec![1_u8, 2]));
    assert_eq!(value(&[0x63, b't', b'e', b'a']).decode(), Ok(Item::Tea));
    assert_eq!(value(&[0xa1, 0x63, b't', b'e', b'a', 0xf6]).decode(), Ok(Item::Tea));
    // Members that the program does not know are left out.
    #[derive(Debug, PartialEq, Deserialize)]
    struct Small<'a> {
        note: Option<&'a str>,
        number: i64,
    }
    let value = Value::json(&order()).expect("json");
    assert_eq!(value.decode(), Ok(Small { note: None, number: -5_000_000_000 }));
}

pub async fn null_is_none_of_every_type(_broker: &str) {
    for data_type in [DataType::Json, DataType::String, DataType::Int64, DataType::Double] {
        let null = Value::new(data_type, vec![0xf6]);
        assert_eq!(null.decode::<Option<String>>(), Ok(None), "{data_type:?}");
        assert_eq!(null.decode::<()>(), Ok(()), "{data_type:?}");
    }
    assert_eq!(Value::json(&None::<u8>).expect("json").bytes(), [0xf6]);
    // Of peers that write `undefined`.
    assert_eq!(value(&[0xf7]).decode::<Option<u8>>(), Ok(None));
}

fn code<T>(outcome: Result<T, ValueError>) -> &'static str {
    outcome.err().expect("an error").code()
}

pub async fn what_does_not_fit_is_an_error(_broker: &str) {
    assert_eq!(code(Value::string("text").decode::<u8>()), "INVALID_DATA");
    assert_eq!(code(Value::int64(300).decode::<u8>()), "INVALID_DATA");
    assert_eq!(code(Value::new(DataType::RecordV2, Vec::new()).decode::<String>()), "INCOMPATIBLE_DATATYPE");
    // The bytes are not what the data type says.
    assert_eq!(code(Value::new(DataType::String, vec![0x05]).decode::<u8>()), "INVALID_DATA");
    // Cut short, too much, lengths that are lies, a text that is none, more items than are wanted.
    for bytes in [
        &[][..],
        &[0x65, b'a'],
        &[0x9f, 1],
        &[1, 1],
        &[0xff],
        &[0x61, 0xff],
        &[0x83, 1, 2, 3],
        &[0x9f, 1, 2, 3, 0xff],
        &[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(code(value(bytes).decode::<(u8, u8)>()), "INVALID_DATA", "{bytes:x?}");
    }
    assert_eq!(
        code(value(&[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).decode::<Vec<u64>>()),
        "INVALID_DATA"
    );
    // What json has no place for.
    assert_eq!(code(Value::json(&u64::MAX)), "INVALID_DATA");
    assert_eq!(code(Value::json(&i128::MIN)), "INVALID_DATA");
    assert_eq!(code(Value::json(&HashMap::from([((1, 2), 3)]))), "INVALID_DATA");
    // Reading takes every integer of 64 bits and a sign.
    assert_eq!(value(&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).decode(), Ok(u64::MAX));
    assert_eq!(value(&[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).decode(), Ok(-(1_i128 << 64)));
}

/// A list in a list in a list.
struct Nested(usize);

impl serde::Serialize for Nested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 { serializer.serialize_unit() } else { serializer.collect_seq([Nested(self.0 - 1)]) }
    }
}

pub async fn nesting_has_a_bound(_broker: &str) {
    let deepest = Value::json(&Nested(256)).expect("256 pass");
    assert_eq!(deepest.decode::<IgnoredAny>().map(drop), Ok(()));
    assert_eq!(code(Value::json(&Nested(257))), "INVALID_DATA");
    for depth in [257, 1_000_000] {
        assert_eq!(code(value(&vec![0x81; depth]).decode::<IgnoredAny>()), "INVALID_DATA");
        assert_eq!(code(value(&[0xa1, 0x61, b'a'].repeat(depth)).decode::<IgnoredAny>()), "INVALID_DATA");
    }
    let tagged = [vec![0xc1; 1_000_000], vec![0x05]].concat();
    assert_eq!(value(&tagged).decode(), Ok(5));
}
