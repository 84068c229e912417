//! JavaScript values as requests and responses, JavaScript functions as handlers.

use antiphon_protocol::value::DataType;
use antiphon_protocol::wire::error_reason::ErrorReason;
use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::item::Item;
use super::{IntoValue, Value, ValueError};
use crate::platform::BoxFuture;
use crate::requests::{Rejection, Request};

impl Value {
    /// A value of JavaScript. As in the JavaScript client, a string is of data type string, a number of double, a bigint of
    /// int64, a `Uint8Array` of binary, everything else of json.
    ///
    /// # Errors
    ///
    /// [`ValueError`] for what none of them can hold.
    pub fn from_js(value: &JsValue) -> Result<Self, ValueError> {
        if let Some(text) = value.as_string() {
            return Ok(Self::string(&text));
        }
        if let Some(number) = value.as_f64() {
            return Ok(Self::double(number));
        }
        if value.is_bigint() {
            let too_large = |_| ValueError::invalid("a bigint of more than 64 bits, sign included".to_owned());
            return Ok(Self::int64(i64::try_from(value.clone()).map_err(too_large)?));
        }
        if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
            return Ok(Self::binary(bytes.to_vec()));
        }
        Self::json(&item_of(value)?)
    }

    /// The value as JavaScript has it. A value of data type int64 is a bigint, and so is an integer in json that a number
    /// cannot hold exactly.
    ///
    /// # Errors
    ///
    /// [`ValueError`] if the bytes are not what the data type says.
    pub fn to_js(&self) -> Result<JsValue, ValueError> {
        match self.data_type() {
            Some(DataType::Binary) => Ok(Uint8Array::from(self.bytes()).into()),
            Some(DataType::Int64) => Ok(self.decode::<Option<i64>>()?.map_or(JsValue::NULL, JsValue::from)),
            _ => Ok(js_of(&self.decode()?)),
        }
    }
}

/// A function of JavaScript as a handler. It is called with the request and an object that says what else is known of it:
/// `path`, `requestType`, `senderSessionId` and `sessionProperties`. It may return a value or a promise; what it throws is
/// the error that the one who asks gets.
///
/// ```no_run
/// # use antiphon_client::{Messaging, RequestError, js_handler};
/// # async fn example(messaging: Messaging, greet: js_sys::Function) -> Result<(), RequestError> {
/// messaging.add_request_handler("greet", js_handler(greet)).await?;
/// # Ok(())
/// # }
/// ```
pub fn js_handler(function: Function) -> impl Fn(Request) -> BoxFuture<Result<JsAnswer, Rejection>> {
    move |request| {
        let function = function.clone();
        Box::pin(async move {
            let result = function.call2(&JsValue::NULL, &request.value().to_js()?, &context(&request));
            let settled = match result {
                // As in JavaScript: a promise, or whatever has a method `then`.
                Ok(value) if value.is_object() => JsFuture::from(Promise::resolve(&value)).await,
                result => result,
            };
            Ok(JsAnswer(settled.map_err(|thrown| rejection(&thrown))?))
        })
    }
}

/// The value that a JavaScript function returned.
pub struct JsAnswer(JsValue);

impl IntoValue for JsAnswer {
    fn into_value(self, request: Option<DataType>) -> Result<Value, ValueError> {
        let item = item_of(&self.0)?.into_value(request)?;
        // What the request's own type cannot hold is of the type that JavaScript would choose.
        if item.data_type() == request { Ok(item) } else { Value::from_js(&self.0) }
    }
}

fn context(request: &Request) -> JsValue {
    let entry = |key: &str, value: JsValue| Array::of2(&key.into(), &value);
    let entries =
        Array::of2(&entry("path", request.path().into()), &entry("requestType", request.value().type_name().into()));
    if let Some(sender) = request.sender() {
        entries.push(&entry("senderSessionId", sender.session.to_string().into()));
        let properties: Array = sender.properties.iter().map(|(key, value)| entry(key, value.into())).collect();
        entries.push(&entry("sessionProperties", object(&properties)));
    }
    object(&entries)
}

/// Defines the keys: one called `__proto__` is a key like any other.
fn object(entries: &Array) -> JsValue {
    Object::from_entries(entries).map_or(JsValue::UNDEFINED, Into::into)
}

/// As the JavaScript client has it: what is called `RejectedRequestError` is for the one who asks, everything else is a
/// handler that failed.
fn rejection(thrown: &JsValue) -> Rejection {
    let text_of = |key: &str| Reflect::get(thrown, &key.into()).ok().and_then(|text| text.as_string());
    let reason = match text_of("name").as_deref() {
        Some("RejectedRequestError") => ErrorReason::REJECTED_REQUEST,
        _ => ErrorReason::CALLBACK_EXCEPTION,
    };
    let text = text_of("message").or_else(|| thrown.as_string());
    Rejection::with_reason(reason, text.unwrap_or_else(|| "the request handler threw without a message".to_owned()))
}

fn item_of(value: &JsValue) -> Result<Item, ValueError> {
    if value.is_undefined() {
        return Ok(Item::Null);
    }
    serde_wasm_bindgen::from_value(value.clone()).map_err(|error| ValueError::invalid(error.to_string()))
}

/// Up to here a number of JavaScript has every integer.
const MAX_SAFE: i128 = (1 << 53) - 1;

fn js_of(item: &Item) -> JsValue {
    match item {
        Item::Null => JsValue::NULL,
        Item::Bool(value) => (*value).into(),
        Item::Integer(value) if value.abs() <= MAX_SAFE => (*value as f64).into(),
        Item::Integer(value) => JsValue::from(*value),
        Item::Float(value) => (*value).into(),
        Item::Text(text) => text.into(),
        Item::Bytes(bytes) => Uint8Array::from(&**bytes).into(),
        Item::Array(items) => items.iter().map(js_of).collect::<Array>().into(),
        Item::Object(members) => {
            let entries: Array = members.iter().map(|(key, item)| Array::of2(&key.into(), &js_of(item))).collect();
            object(&entries)
        }
    }
}
