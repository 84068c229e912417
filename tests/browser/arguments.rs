use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{
    BROKER, assert_same, client, connect, connect_with, js, path, promise, rejected, rejection, resolved,
};

/// Each call, an expression of `messaging`, `path` and `f`, gives a promise that rejects with `INVALID_ARGUMENT`; nothing
/// is sent, nothing throws, and the session is none the worse.
async fn are_refused(calls: &[&str]) {
    let client = client().await;
    let path = path("refused");
    client.handle(&path, "(() => { let calls = 0; return () => ++calls; })()").await;
    let names = [
        ("session", client.as_js()),
        ("messaging", &client.session.messaging().into()),
        ("path", &path.as_str().into()),
        ("f", &js("() => 'f'")),
    ];
    for call in calls {
        let error = rejected(&promise(call, &names)).await;
        assert_eq!(error.code(), "INVALID_ARGUMENT", "{call}: {error}");
        error.is("INVALID_ARGUMENT", "not-sent");
        assert!(!error.message().is_empty());
    }
    assert_same(&client.ask(&path, "null").await, "1");
}

#[wasm_bindgen_test]
async fn a_path_that_is_no_text_is_refused() {
    are_refused(&[
        "messaging.sendRequestToPath()",
        "messaging.sendRequestToPath(undefined, 1)",
        "messaging.sendRequestToPath(null, 1)",
        "messaging.sendRequestToPath(5, 1)",
        "messaging.sendRequestToPath({}, 1)",
        "messaging.sendRequestToPath(['a'], 1)",
        "messaging.sendRequestToPath({ toString: () => path }, 1)",
        "messaging.sendRequestToPath(Symbol('a'), 1)",
        "messaging.addRequestHandler(undefined, f)",
        "messaging.addRequestHandler(5, f)",
        "messaging.addRequestHandler({}, f)",
    ])
    .await;
}

#[wasm_bindgen_test]
async fn a_path_with_half_a_surrogate_pair_is_refused() {
    are_refused(&[
        "messaging.sendRequestToPath('a\\ud800', 1)",
        "messaging.sendRequestToPath('\\udc00', 1)",
        "messaging.sendRequestToPath('\\ufffd\\udc00\\ud800', 1)",
        "messaging.addRequestHandler('a\\ud800', f)",
    ])
    .await;
}

#[wasm_bindgen_test]
async fn options_of_a_request_that_cannot_be_used_are_refused() {
    are_refused(&[
        "messaging.sendRequestToPath(path, 1, 5)",
        "messaging.sendRequestToPath(path, 1, 'json')",
        "messaging.sendRequestToPath(path, 1, true)",
        "messaging.sendRequestToPath(path, 1, { timeout: 'soon' })",
        "messaging.sendRequestToPath(path, 1, { timeout: '50' })",
        "messaging.sendRequestToPath(path, 1, { timeout: -1 })",
        "messaging.sendRequestToPath(path, 1, { timeout: NaN })",
        "messaging.sendRequestToPath(path, 1, { timeout: {} })",
        "messaging.sendRequestToPath(path, 1, { timeout: 50n })",
        "messaging.sendRequestToPath(path, 1, { signal: {} })",
        "messaging.sendRequestToPath(path, 1, { signal: true })",
        "messaging.sendRequestToPath(path, 1, { signal: new AbortController() })",
    ])
    .await;
}

#[wasm_bindgen_test]
async fn unknown_data_types_are_refused() {
    let mut calls = Vec::new();
    for data_type in ["'nope'", "''", "0", "13", "16", "99", "14.5", "NaN", "{}", "[]", "() => {}", "Symbol('s')", "5n"]
    {
        calls.push(format!("messaging.sendRequestToPath(path, 1, {{ type: {data_type} }})"));
        calls.push(format!("messaging.sendRequestToPath(path, 1, {{ responseType: {data_type} }})"));
        calls.push(format!("messaging.addRequestHandler(path + '/x', f, {{ requestType: {data_type} }})"));
        calls.push(format!("messaging.addRequestHandler(path + '/x', f, {{ responseType: {data_type} }})"));
    }
    are_refused(&calls.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[wasm_bindgen_test]
async fn a_handler_that_cannot_be_called_is_refused() {
    are_refused(&[
        "messaging.addRequestHandler(path + '/x')",
        "messaging.addRequestHandler(path + '/x', null)",
        "messaging.addRequestHandler(path + '/x', 5)",
        "messaging.addRequestHandler(path + '/x', 'f')",
        "messaging.addRequestHandler(path + '/x', {})",
        "messaging.addRequestHandler(path + '/x', { handle: 5 })",
        "messaging.addRequestHandler(path + '/x', [f])",
    ])
    .await;
}

#[wasm_bindgen_test]
async fn options_of_a_handler_that_cannot_be_used_are_refused() {
    are_refused(&[
        "messaging.addRequestHandler(path + '/x', f, 5)",
        "messaging.addRequestHandler(path + '/x', f, { sessionProperties: '$Principal' })",
        "messaging.addRequestHandler(path + '/x', f, { sessionProperties: 5 })",
        "messaging.addRequestHandler(path + '/x', f, { sessionProperties: [5] })",
        "messaging.addRequestHandler(path + '/x', f, { sessionProperties: [null] })",
        "messaging.addRequestHandler(path + '/x', f, { sessionProperties: {} })",
    ])
    .await;
}

#[wasm_bindgen_test]
async fn property_keys_and_principals_that_cannot_be_used_are_refused() {
    are_refused(&[
        "session.getProperties('$Principal')",
        "session.getProperties(5)",
        "session.getProperties([5])",
        "session.getProperties({})",
        "session.changePrincipal()",
        "session.changePrincipal(5, 'password')",
        "session.changePrincipal('client', 5)",
        "session.changePrincipal('client', {})",
        "session.changePrincipal('a\\ud800', 'password')",
    ])
    .await;
}

#[wasm_bindgen_test]
async fn arguments_that_throw_when_looked_at_reject_and_do_not_throw() {
    let client = client().await;
    let path = path("hostile");
    client.handle(&path, "(request) => request").await;
    let kaputt = "{ throw new Error('kaputt'); }";
    let hostile =
        format!("new Proxy({{}}, {{ get() {kaputt}, has() {kaputt}, ownKeys() {kaputt}, getPrototypeOf() {kaputt} }})");
    let mut calls = vec![
        format!("messaging.sendRequestToPath({hostile}, 1)"),
        format!("messaging.sendRequestToPath(path, {hostile})"),
        format!("messaging.sendRequestToPath(path, 1, {hostile})"),
        format!("messaging.addRequestHandler({hostile}, () => 1)"),
        format!("messaging.addRequestHandler(path + '/x', {hostile})"),
        format!("messaging.addRequestHandler(path + '/x', {{ get handle() {kaputt} }})"),
        format!("messaging.addRequestHandler(path + '/x', () => 1, {hostile})"),
    ];
    for option in ["timeout", "type", "responseType", "signal"] {
        calls.push(format!("messaging.sendRequestToPath(path, 1, {{ get {option}() {kaputt} }})"));
        calls.push(format!("messaging.sendRequestToPath(path, 1, {{ {option}: {hostile} }})"));
    }
    for option in ["sessionProperties", "requestType", "responseType"] {
        calls.push(format!("messaging.addRequestHandler(path + '/x', () => 1, {{ get {option}() {kaputt} }})"));
        calls.push(format!("messaging.addRequestHandler(path + '/x', () => 1, {{ {option}: {hostile} }})"));
    }
    let messaging = client.session.messaging().into();
    let names = [("messaging", &messaging), ("path", &path.as_str().into())];
    let mut wrong = Vec::new();
    for call in calls {
        let code = rejection(&call, &names).await.map(|error| error.code());
        if !matches!(code.as_deref(), Some("INVALID_ARGUMENT" | "INVALID_DATA")) {
            wrong.push(call.replace(&hostile, "HOSTILE"));
        }
    }
    assert!(wrong.is_empty(), "these throw, or reject with something else: {wrong:#?}");
    assert_same(&client.ask(&path, "1").await, "1");
}

#[wasm_bindgen_test]
async fn null_and_unknown_members_are_no_options() {
    let client = client().await;
    let path = path("options");
    client.handle_with(&path, &js("(request) => request"), "null").await;
    for options in ["null", "{}", "{ nonsense: 1 }", "{ timeout: undefined, signal: undefined, type: undefined }"] {
        assert_same(&resolved(&client.send(&path, "1", options)).await, "1");
    }
}

#[wasm_bindgen_test]
async fn a_url_that_is_none_rejects_with_invalid_url() {
    for url in [
        "undefined",
        "null",
        "5",
        "{}",
        "''",
        "'nonsense'",
        "'//127.0.0.1:8080'",
        "'ws://'",
        "'ftp://127.0.0.1'",
        "'ws://127.0.0.1:99999'",
        "'ws://ada:secret@127.0.0.1'",
    ] {
        let error = rejected(&connect_with(&js(&format!("({url})")), &js("undefined"))).await;
        assert_eq!(error.code(), "INVALID_URL", "{url}: {error}");
        error.is_of_connect("INVALID_URL", false);
    }
}

#[wasm_bindgen_test]
async fn options_of_connect_that_cannot_be_used_reject_with_invalid_argument() {
    for options in [
        "5",
        "'control'",
        "{ principal: 5 }",
        "{ connectTimeout: 'soon' }",
        "{ connectTimeout: -1 }",
        "{ requestTimeout: NaN }",
        "{ maxMessageSize: 5 }",
        "{ maxMessageSize: 'large' }",
        "{ properties: { floor: 3 } }",
        "{ properties: 'team=blue' }",
        "{ protocolVersion: 21 }",
        "{ protocolVersion: 30 }",
        "{ protocolVersion: 25.5 }",
        "{ signal: {} }",
        "{ webSocket: {} }",
        "{ log: 'loud' }",
    ] {
        let error = rejected(&connect(BROKER, options)).await;
        assert_eq!(error.code(), "INVALID_ARGUMENT", "{options}: {error}");
        error.is_of_connect("INVALID_ARGUMENT", false);
    }
}

#[wasm_bindgen_test]
async fn options_of_connect_that_throw_when_looked_at_reject_with_invalid_argument() {
    // As the entry of the package calls it, but what it throws is not made a rejection.
    let open = Closure::<dyn Fn(JsValue, JsValue) -> Promise>::new(|url, options| connect_with(&url, &options));
    let names = [("open", open.as_ref()), ("url", &BROKER.into())];
    for option in ["principal", "credentials", "properties", "connectTimeout", "signal", "webSocket"] {
        let call = format!("open(url, {{ get {option}() {{ throw new Error('kaputt'); }} }})");
        let error = rejection(&call, &names).await;
        assert_eq!(error.map(|error| error.code()).as_deref(), Some("INVALID_ARGUMENT"), "{option}");
    }
}
