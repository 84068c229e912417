//! JavaScript values as requests and responses, JavaScript functions as handlers.

use antiphon::{DataType, Outcome, Value, connect, js_handler};
use js_sys::{Function, JSON, Object, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::BROKER;
use crate::shared::{error_of, open, open_with, unique};

fn evaluate(expression: &str) -> JsValue {
    js_sys::eval(&format!("({expression})")).expect("it evaluates")
}

fn function(expression: &str) -> Function {
    evaluate(expression).unchecked_into()
}

fn json(value: &JsValue) -> String {
    JSON::stringify(value).expect("json").into()
}

#[wasm_bindgen_test]
fn a_value_of_javascript_has_the_data_type_that_the_javascript_client_gives_it() {
    for (expression, expected) in [
        ("'text'", Value::string("text")),
        ("0.5", Value::double(0.5)),
        ("7", Value::double(7.0)),
        ("7n", Value::int64(7)),
        ("new Uint8Array([1, 2])", Value::binary([1, 2])),
        ("true", Value::json(&true).expect("json")),
        ("null", Value::json(&()).expect("json")),
        ("undefined", Value::json(&()).expect("json")),
        ("[1, 'a']", Value::json(&(1, "a")).expect("json")),
    ] {
        assert_eq!(Value::from_js(&evaluate(expression)), Ok(expected), "{expression}");
    }
}

#[wasm_bindgen_test]
fn values_of_javascript_come_back_as_they_were() {
    for expression in [
        "'text'",
        "-0.5",
        "{ number: 7, list: [1.5, null, true, 'ü'], object: { deep: [{}, []] } }",
        "[[], [[]], {}]",
        "{ ['__proto__']: 1, then: 2, constructor: 3 }",
    ] {
        let value = evaluate(expression);
        let again = Value::from_js(&value).and_then(|value| value.to_js()).expect("a value");
        assert_eq!(json(&again), json(&value), "{expression}");
    }
    let bigint = evaluate("2n ** 62n");
    assert_eq!(Value::from_js(&bigint).and_then(|value| value.to_js()), Ok(bigint));
    let inside = evaluate("[2n ** 62n, 5n]");
    let again = Value::from_js(&inside).and_then(|value| value.to_js()).expect("a value");
    assert!(
        function("(list) => list[0] === 2n ** 62n && list[1] === 5")
            .call1(&JsValue::NULL, &again)
            .expect("called")
            .is_truthy()
    );
    let bytes = Value::from_js(&evaluate("new Uint8Array([0, 255])")).and_then(|value| value.to_js()).expect("bytes");
    assert!(bytes.is_instance_of::<js_sys::Uint8Array>());
}

#[wasm_bindgen_test]
fn what_no_data_type_can_hold_is_an_error() {
    for expression in ["2n ** 63n", "Symbol('a')", "[2n ** 64n]"] {
        assert_eq!(
            Value::from_js(&evaluate(expression)).map_err(|error| error.code()),
            Err("INVALID_DATA"),
            "{expression}"
        );
    }
}

#[wasm_bindgen_test]
fn rust_reads_what_javascript_made() {
    let value = Value::from_js(&evaluate("{ name: 'Ada', tags: ['a', 'b'], age: 36 }")).expect("json");
    assert_eq!(value.data_type(), Some(DataType::Json));
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Person {
        name: String,
        tags: Vec<String>,
        age: u8,
    }
    let expected = Person { name: "Ada".into(), tags: vec!["a".into(), "b".into()], age: 36 };
    assert_eq!(value.decode(), Ok(expected));
}

async fn answer_of(handler: &str, request: Value) -> Result<Value, antiphon::RequestError> {
    let (_session, messaging) = open(BROKER).await;
    let path = unique("function");
    messaging.add_request_handler(&path, js_handler(function(handler))).await.expect("registered");
    messaging.send_request_to_path(&path, request).await
}

#[wasm_bindgen_test]
async fn a_function_of_javascript_answers_with_a_value_or_a_promise() {
    let request = || Value::json(&[1, 2]).expect("json");
    let expected = Value::json(&[2, 4]).expect("json");
    let at_once = answer_of("(list) => list.map((n) => 2 * n)", request()).await;
    assert_eq!(at_once, Ok(expected.clone()));
    let later = answer_of("async (list) => list.map((n) => 2 * n)", request()).await;
    assert_eq!(later, Ok(expected));
}

#[wasm_bindgen_test]
async fn an_answer_of_javascript_has_the_type_of_the_request_if_that_can_hold_it() {
    assert_eq!(answer_of("(text) => text + '!'", Value::string("a")).await, Ok(Value::string("a!")));
    assert_eq!(answer_of("(number) => number * 2", Value::double(1.5)).await, Ok(Value::double(3.0)));
    assert_eq!(answer_of("(number) => number + 1n", Value::int64(1)).await, Ok(Value::int64(2)));
    assert_eq!(answer_of("() => 5", Value::string("a")).await, Ok(Value::double(5.0)));
    assert_eq!(answer_of("() => undefined", Value::json(&1).expect("json")).await, Ok(Value::json(&()).expect("json")));
}

#[wasm_bindgen_test]
async fn what_a_function_of_javascript_throws_is_the_error_that_the_asker_gets() {
    let thrown = answer_of("() => { throw new Error('broken') }", Value::string("")).await;
    assert_eq!(thrown.as_ref().expect_err("failed").to_string(), "broken");
    assert_eq!(error_of(thrown), ("CALLBACK_EXCEPTION".to_owned(), Outcome::Failed));
    let rejection = "async () => { throw Object.assign(new Error('no'), { name: 'RejectedRequestError' }) }";
    let rejected = answer_of(rejection, Value::string("")).await;
    assert_eq!(rejected.as_ref().expect_err("rejected").to_string(), "no");
    assert_eq!(error_of(rejected).0, "REJECTED_REQUEST");
    let unsendable = answer_of("() => Symbol('a')", Value::string("")).await;
    assert_eq!(error_of(unsendable).0, "INVALID_DATA");
}

#[wasm_bindgen_test]
async fn a_function_of_javascript_learns_who_asks() {
    let options = antiphon::Options::new().property("team", "blue");
    let (session, messaging) = open_with(BROKER, options).await;
    let path = unique("function");
    let handler = js_handler(function("(_, context) => context"));
    messaging.add_request_handler(&path, handler).session_properties(&["team"]).await.expect("registered");
    let request = Value::json(&()).expect("json");
    let context =
        messaging.send_request_to_path(&path, request).await.and_then(|value| Ok(value.to_js()?)).expect("answered");
    let member = |name: &str| Reflect::get(&context, &name.into()).expect("an object");
    assert_eq!(member("path"), path.as_str());
    assert_eq!(member("requestType"), "json");
    assert_eq!(member("senderSessionId"), session.id().to_string().as_str());
    assert_eq!(json(&member("sessionProperties")), r#"{"team":"blue"}"#);
    assert_eq!(Object::keys(&context.into()).length(), 4);
}

#[wasm_bindgen_test]
async fn the_root_crate_has_the_rust_face() {
    let session = connect(BROKER, antiphon::Options::new()).await.expect("connected");
    assert!(session.properties(&["$Environment"]).await.expect("answered")["$Environment"].starts_with("RUST_WASM_"));
    assert_eq!(session.close().await.code, antiphon::CloseCode::ClosedByClient);
}
