use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{Client, assert_same, client, js, js_with, path, promise, rejected, resolved};

/// A session whose handler keeps what it was given in `globalThis.arrived` and answers with it.
async fn echo() -> (Client, String) {
    let client = client().await;
    let path = path("echo");
    client
        .handle(&path, "(value, { requestType }) => { globalThis.arrived = [requestType, value]; return value; }")
        .await;
    (client, path)
}

/// Each expression, sent without naming a type, arrives as `data_type`, as it was, and comes back.
async fn arrive_as(data_type: &str, expressions: &[&str]) {
    let (client, path) = echo().await;
    for value in expressions {
        let answer = client.ask(&path, &format!("({value})")).await;
        assert_same(&js("arrived"), &format!("['{data_type}', ({value})]"));
        assert_same(&answer, &format!("({value})"));
    }
}

/// Each expression arrives and comes back as what the second one is.
async fn arrive_changed(options: &str, data_type: &str, expressions: &[(&str, &str)]) {
    let (client, path) = echo().await;
    for (value, expected) in expressions {
        let answer = resolved(&client.send(&path, &format!("({value})"), options)).await;
        assert_same(&js("arrived"), &format!("['{data_type}', ({expected})]"));
        assert_same(&answer, &format!("({expected})"));
    }
}

#[wasm_bindgen_test]
async fn strings_arrive_exactly() {
    let long = "'x'.repeat(100_000)";
    arrive_as("string", &["''", "'a'", "'grüße 👋'", "'\\0\\u001f\\u007f\\ufeff\\ufffd\\uffff'", long]).await;
}

#[wasm_bindgen_test]
async fn numbers_arrive_exactly_as_doubles() {
    let numbers =
        ["0", "-0", "1", "-1", "0.1", "NaN", "Infinity", "-Infinity", "5e-324", "Number.MAX_VALUE", "2 ** 53"];
    arrive_as("double", &numbers).await;
}

#[wasm_bindgen_test]
async fn bigints_arrive_exactly_as_int64() {
    let some = ["0n", "-1n", "23n", "24n", "256n", "65536n", "2n ** 32n", "2n ** 53n + 1n", "-(2n ** 53n) - 1n"];
    arrive_as("int64", &some).await;
    arrive_as("int64", &["2n ** 63n - 1n", "-(2n ** 63n)"]).await;
}

#[wasm_bindgen_test]
async fn bytes_arrive_exactly_as_binary() {
    arrive_as("binary", &["new Uint8Array()", "Uint8Array.of(0)", "Uint8Array.from({ length: 256 }, (_, n) => n)"])
        .await;
    let views = [
        ("Uint8Array.of(1, 2, 3).buffer", "Uint8Array.of(1, 2, 3)"),
        ("Uint8Array.of(0, 1, 2, 3).subarray(1, 3)", "Uint8Array.of(1, 2)"),
        ("new DataView(Uint8Array.of(1, 2, 3).buffer, 1)", "Uint8Array.of(2, 3)"),
        ("new Uint8ClampedArray([7])", "Uint8Array.of(7)"),
    ];
    arrive_changed("{}", "binary", &views).await;
}

#[wasm_bindgen_test]
async fn whatever_json_can_say_arrives_exactly() {
    let values = [
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "[[], {}, [{}]]",
        "{ a: 1, b: 'two', c: [3, null, { d: true }], 'é 👋': '' }",
        "{ b: 1, a: 2, 10: 3, '': 4 }",
        "[0, -1, 23, 24, 255, 256, 65535, 65536, 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1]",
        "[-0, 0.1, 1e21, 1e300, 5e-324, NaN, Infinity, -Infinity, 2 ** 53]",
        "[2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)]",
        "[new Uint8Array(), Uint8Array.of(1, 2, 3)]",
        "Array.from({ length: 10_000 }, (_, n) => ({ n }))",
    ];
    arrive_as("json", &values).await;
}

#[wasm_bindgen_test]
async fn what_json_says_otherwise_arrives_as_json_says_it() {
    let values = [
        ("undefined", "null"),
        ("{ a: undefined, b: 1 }", "{ b: 1 }"),
        ("[undefined, , 1]", "[null, null, 1]"),
        ("[5n, -5n]", "[5, -5]"),
        ("new Date(0)", "'1970-01-01T00:00:00.000Z'"),
        ("{ toJSON: () => ({ a: [1] }) }", "{ a: [1] }"),
        ("[{ toJSON: (key) => key }]", "['0']"),
        ("new Map([['b', 1], ['a', new Map()]])", "{ b: 1, a: {} }"),
        ("[new Number(1), new String('a'), new Boolean(false)]", "[1, 'a', false]"),
        ("new (class Point { constructor() { this.x = 1; } get y() { return 2; } })()", "{ x: 1 }"),
        ("Object.create({ inherited: 1 }, { hidden: { value: 2 } })", "{}"),
        ("{ [Symbol('s')]: 1, a: 2 }", "{ a: 2 }"),
        ("[datatypes.INT64(5n), datatypes.STRING('a')]", "[5, 'a']"),
    ];
    arrive_changed("{}", "json", &values).await;
}

#[wasm_bindgen_test]
async fn keys_that_mean_something_to_javascript_are_ordinary_keys() {
    let (client, path) = echo().await;
    let names = ["__proto__", "then", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf", "0", ""];
    for name in names {
        let expression = format!("JSON.parse('{{\"a\": {{\"{name}\": {{\"isAdmin\": true}}}}}}')");
        let answer = client.ask(&path, &expression).await;
        for value in [&answer, &js("arrived[1]")] {
            let own = js_with(
                "[Object.keys(value.a), value.a.isAdmin, Object.getPrototypeOf(value.a) === Object.prototype,
                    Object.getOwnPropertyDescriptor(value.a, name).value.isAdmin]",
                &[("value", value), ("name", &name.into())],
            );
            assert_same(&own, &format!("[['{name}'], undefined, true, true]"));
        }
    }
    assert_same(&js("({}).isAdmin"), "undefined");
}

#[wasm_bindgen_test]
async fn a_then_from_the_wire_is_not_called() {
    let (client, path) = echo().await;
    let answer = client.ask(&path, "({ then: 'what', data: 1 })").await;
    assert_same(&answer, "({ then: 'what', data: 1 })");
}

#[wasm_bindgen_test]
async fn a_type_that_was_named_is_the_type_that_arrives() {
    arrive_changed("{ type: 'json' }", "json", &[("'text'", "'text'"), ("5", "5"), ("5n", "5"), ("-0", "-0")]).await;
    arrive_changed("{ type: 'INT64' }", "int64", &[("5", "5n"), ("null", "null")]).await;
    arrive_changed("{ type: datatypes.DOUBLE }", "double", &[("5n", "5"), ("null", "null")]).await;
    arrive_changed("{ type: 17 }", "string", &[("'text'", "'text'"), ("null", "null")]).await;
    arrive_changed("{ type: 'binary' }", "binary", &[("new ArrayBuffer(2)", "Uint8Array.of(0, 0)")]).await;
    arrive_changed("{ type: 'record_v2' }", "record_v2", &[("[['a', 'b'], ['']]", "[['a', 'b'], ['']]")]).await;
    let wrapped = [("datatypes.INT64(5)", "5n"), ("datatypes.INT64(null)", "null")];
    arrive_changed("{}", "int64", &wrapped).await;
}

#[wasm_bindgen_test]
async fn a_response_is_converted_to_the_type_that_was_asked_for_if_nothing_is_lost() {
    let client = client().await;
    let path = path("convert");
    // Answers with the value and the type that the request names.
    client.handle(&path, "([type, value]) => datatypes[type](value)").await;
    let convert = async |answer: &str, wanted: &str| {
        let options = format!("{{ responseType: '{wanted}' }}");
        client.send(&path, answer, &options)
    };
    for (answer, wanted, expected) in [
        ("['STRING', 'a']", "json", "'a'"),
        ("['INT64', 5n]", "json", "5"),
        ("['INT64', 2n ** 53n + 1n]", "json", "2n ** 53n + 1n"),
        ("['DOUBLE', 0.5]", "json", "0.5"),
        ("['INT64', 5n]", "double", "5"),
        ("['DOUBLE', 5]", "int64", "5n"),
        ("['STRING', null]", "json", "null"),
    ] {
        assert_same(&resolved(&convert(answer, wanted).await).await, expected);
    }
    for (answer, wanted) in [
        ("['INT64', 2n ** 53n + 1n]", "double"),
        ("['DOUBLE', 0.5]", "int64"),
        ("['STRING', '5']", "int64"),
        ("['JSON', 'a']", "string"),
        ("['STRING', 'a']", "binary"),
    ] {
        rejected(&convert(answer, wanted).await).await.is("INCOMPATIBLE_DATATYPE", "failed");
    }
}

#[wasm_bindgen_test]
async fn what_the_caller_changes_after_the_call_is_not_sent() {
    let (client, path) = echo().await;
    let answers = promise(
        "(async () => {
            const object = { a: [1], bytes: Uint8Array.of(1) };
            const bytes = Uint8Array.of(1, 2, 3);
            const wrapped = datatypes.BINARY(bytes);
            const list = ['first'];
            const sent = [object, bytes, wrapped, list].map((it) => session.messaging.sendRequestToPath(path, it));
            object.a.push(2);
            object.bytes[0] = 9;
            object.b = 1;
            bytes.fill(9);
            list.length = 0;
            return Promise.all(sent);
        })()",
        &[("session", client.as_js()), ("path", &path.as_str().into())],
    );
    let answers = resolved(&answers).await;
    let bytes = "Uint8Array.of(1, 2, 3)";
    assert_same(&answers, &format!("[{{ a: [1], bytes: Uint8Array.of(1) }}, {bytes}, {bytes}, ['first']]"));
}

#[wasm_bindgen_test]
async fn what_the_handler_changes_after_it_answered_is_not_sent() {
    let client = client().await;
    let path = path("changes");
    client.handle(&path, "() => { const list = [1]; queueMicrotask(() => list.push(2)); return list; }").await;
    assert_same(&client.ask(&path, "1").await, "[1]");
}

#[wasm_bindgen_test]
async fn a_value_that_json_cannot_say_is_not_sent_and_the_error_names_the_member() {
    let (client, path) = echo().await;
    for (value, place) in [
        ("() => {}", ""),
        ("Symbol('s')", ""),
        ("{ a: [1, { b: () => {} }] }", "a[1].b"),
        ("[[Symbol('s')]]", "[0][0]"),
        ("(() => { const a = { list: [] }; a.list.push(a); return a; })()", "list[0]"),
        ("{ text: 'a\\ud800' }", "text"),
        ("'\\udc00'", ""),
        ("{ '\\ud800': 1 }", ""),
        ("[2n ** 64n]", "[0]"),
        ("[-(2n ** 63n) - 1n]", "[0]"),
        ("2n ** 63n", ""),
        ("{ get a() { throw new Error('kaputt'); } }", "a"),
        ("[{ toJSON() { throw new Error('kaputt'); } }]", "[0]"),
        ("new Map([[1, 2]])", ""),
    ] {
        let error = client.ask_in_vain(&path, &format!("({value})")).await;
        error.is("INVALID_DATA", "not-sent");
        assert!(error.message().contains(place), "{value}: {:?} has {place:?} in it", error.message());
    }
    assert_same(&client.ask(&path, "'still well'").await, "'still well'");
}

#[wasm_bindgen_test]
async fn a_value_that_its_named_type_cannot_hold_is_not_sent() {
    let (client, path) = echo().await;
    for (value, options) in [
        ("1.5", "{ type: 'int64' }"),
        ("2 ** 63", "{ type: 'int64' }"),
        ("NaN", "{ type: 'int64' }"),
        ("'5'", "{ type: 'int64' }"),
        ("2n ** 53n + 1n", "{ type: 'double' }"),
        ("'5'", "{ type: 'double' }"),
        ("5", "{ type: 'string' }"),
        ("null", "{ type: 'binary' }"),
        ("'text'", "{ type: 'binary' }"),
        ("[[1]]", "{ type: 'record_v2' }"),
        ("null", "{ type: 'record_v2' }"),
    ] {
        rejected(&client.send(&path, value, options)).await.is("INVALID_DATA", "not-sent");
    }
}

#[wasm_bindgen_test]
async fn values_nest_as_deep_as_256_and_no_deeper() {
    let (client, path) = echo().await;
    let nested = |depth: usize| format!("({})", "[".repeat(depth) + &"]".repeat(depth));
    assert_same(&client.ask(&path, &nested(256)).await, &nested(256));
    client.ask_in_vain(&path, &nested(257)).await.is("INVALID_DATA", "not-sent");
    let deep = "(() => { let it = []; for (let n = 0; n < 1_000_000; n++) it = [it]; return it; })()";
    client.ask_in_vain(&path, deep).await.is("INVALID_DATA", "not-sent");
    assert_same(&client.ask(&path, "[]").await, "[]");
}
