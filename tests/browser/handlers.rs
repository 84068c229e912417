use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{assert_same, client, js, path, promise, rejected, resolved, two_clients};

/// A handler that is `misbehaves` for the request 'bad' and answers every other with itself fails with this code; the
/// sender is told `text`, the next request is answered, and no rejection goes unhandled.
async fn fails(misbehaves: &str, code: &str, text: &str) {
    let (asker, answerer) = two_clients().await;
    let path = path("misbehaves");
    js("(() => {
        globalThis.unhandled = [];
        globalThis.onUnhandled = (event) => { unhandled.push(String(event.reason)); event.preventDefault(); };
        addEventListener('unhandledrejection', onUnhandled);
    })()");
    answerer.handle(&path, &format!("(request) => (request === 'bad' ? ({misbehaves})() : request)")).await;
    let error = asker.ask_in_vain(&path, "'bad'").await;
    error.is(code, "failed");
    assert!(error.message().contains(text), "{:?} has {text:?} in it", error.message());
    assert!(!error.message().contains("\n    at "), "no stack: {:?}", error.message());
    assert_same(&asker.ask(&path, "'good'").await, "'good'");
    // Such events are tasks of their own; a message from the broker comes after them.
    resolved(&asker.session.ping()).await;
    js("removeEventListener('unhandledrejection', onUnhandled)");
    assert_same(&js("unhandled"), "[]");
}

#[wasm_bindgen_test]
async fn a_handler_that_throws_fails_with_its_message_and_stays() {
    fails("() => { throw new TypeError('kaputt'); }", "CALLBACK_EXCEPTION", "kaputt").await;
}

#[wasm_bindgen_test]
async fn a_handler_that_rejects_fails_with_its_message_and_stays() {
    fails("async () => { throw new TypeError('kaputt'); }", "CALLBACK_EXCEPTION", "kaputt").await;
}

#[wasm_bindgen_test]
async fn a_handler_that_throws_a_rejected_request_error_declines_with_its_message() {
    fails("() => { throw new RejectedRequestError('not today'); }", "REJECTED_REQUEST", "not today").await;
}

#[wasm_bindgen_test]
async fn a_handler_that_rejects_with_a_rejected_request_error_declines_with_its_message() {
    fails("async () => { throw new RejectedRequestError('not today'); }", "REJECTED_REQUEST", "not today").await;
}

#[wasm_bindgen_test]
async fn a_handler_that_throws_a_string_fails_with_it() {
    fails("() => { throw 'kaputt'; }", "CALLBACK_EXCEPTION", "kaputt").await;
}

#[wasm_bindgen_test]
async fn a_handler_that_throws_nothing_in_particular_fails() {
    for thrown in ["undefined", "null", "0", "''", "{}", "Symbol('s')", "Object.create(null)", "new Error()"] {
        fails(&format!("() => {{ throw {thrown}; }}"), "CALLBACK_EXCEPTION", "").await;
    }
}

#[wasm_bindgen_test]
async fn a_handler_that_throws_something_hostile_fails() {
    let hostile = [
        "{ toString() { throw 1; } }",
        "{ get message() { throw 1; }, get toString() { throw 1; } }",
        "Object.defineProperty(new Error(), 'message', { get() { throw 1; } })",
        "Object.defineProperty(new Error(), 'message', { value: Symbol('s') })",
    ];
    for thrown in hostile {
        fails(&format!("() => {{ throw {thrown}; }}"), "CALLBACK_EXCEPTION", "").await;
        fails(&format!("async () => {{ throw {thrown}; }}"), "CALLBACK_EXCEPTION", "").await;
    }
}

#[wasm_bindgen_test]
async fn a_handler_that_throws_a_proxy_that_throws_fails() {
    let thrown = "new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 1; } })";
    fails(&format!("() => {{ throw {thrown}; }}"), "CALLBACK_EXCEPTION", "").await;
    fails(&format!("async () => {{ throw {thrown}; }}"), "CALLBACK_EXCEPTION", "").await;
}

#[wasm_bindgen_test]
async fn a_handler_that_returns_what_json_cannot_say_fails_and_says_what_it_was() {
    fails("() => { const it = { a: {} }; it.a.b = it; return it; }", "CALLBACK_EXCEPTION", "").await;
    fails("() => ({ list: [1, () => {}] })", "CALLBACK_EXCEPTION", "list[1]").await;
    fails("() => Symbol('s')", "CALLBACK_EXCEPTION", "").await;
    fails("() => 2n ** 64n", "CALLBACK_EXCEPTION", "").await;
    fails("() => '\\ud800'", "CALLBACK_EXCEPTION", "").await;
    fails("() => ({ get a() { throw new Error('kaputt'); } })", "CALLBACK_EXCEPTION", "value.a").await;
    fails("() => ({ toJSON() { throw new Error('kaputt'); } })", "CALLBACK_EXCEPTION", "value").await;
}

#[wasm_bindgen_test]
async fn a_handler_that_returns_a_thenable_which_fails_fails() {
    fails("() => ({ then(_, reject) { reject(new Error('kaputt')); } })", "CALLBACK_EXCEPTION", "kaputt").await;
    fails("() => ({ then() { throw new Error('kaputt'); } })", "CALLBACK_EXCEPTION", "kaputt").await;
    fails("() => ({ get then() { throw new Error('kaputt'); } })", "CALLBACK_EXCEPTION", "kaputt").await;
}

/// A handler that is `answers` answers with what the expression `expected` is, and then answers the next request.
async fn answers(request: &str, answers: &str, expected: &str) {
    let (asker, answerer) = two_clients().await;
    let path = path("answers");
    answerer.handle(&path, answers).await;
    for _ in 0..2 {
        assert_same(&asker.ask(&path, request).await, expected);
    }
}

#[wasm_bindgen_test]
async fn a_handler_that_returns_nothing_answers_null() {
    for request in ["{}", "'text'", "1.5", "1n", "Uint8Array.of(1)"] {
        answers(&format!("({request})"), "() => {}", "null").await;
        answers(&format!("({request})"), "async () => null", "null").await;
    }
}

#[wasm_bindgen_test]
async fn a_handler_that_returns_a_bigint_answers_with_it_as_the_request_s_type_allows() {
    answers("'text'", "() => 5n", "5n").await;
    answers("1n", "() => 2n ** 63n - 1n", "2n ** 63n - 1n").await;
    answers("({})", "() => 5n", "5").await;
    answers("({})", "() => 2n ** 53n + 1n", "2n ** 53n + 1n").await;
}

#[wasm_bindgen_test]
async fn a_thenable_that_settles_twice_answers_with_the_first() {
    answers("'text'", "() => ({ then(resolve) { resolve('first'); resolve('second'); } })", "'first'").await;
    answers("'text'", "() => ({ then(resolve, reject) { resolve('first'); reject('second'); } })", "'first'").await;
    answers("'text'", "() => ({ then(resolve) { resolve('first'); throw new Error('second'); } })", "'first'").await;
}

#[wasm_bindgen_test]
async fn a_handler_that_never_answers_does_not_keep_others_from_answering() {
    let (asker, answerer) = two_clients().await;
    let (never, other) = (path("never"), path("other"));
    answerer.handle(&never, "() => new Promise(() => {})").await;
    answerer.handle(&other, "(request) => request").await;
    let waiting = asker.send(&never, "1", "{ timeout: 100 }");
    assert_same(&asker.ask(&other, "2").await, "2");
    rejected(&waiting).await.is("TIMED_OUT", "unknown");
}

#[wasm_bindgen_test]
async fn a_request_that_cannot_be_converted_for_the_handler_is_refused_and_it_is_not_called() {
    let (asker, answerer) = two_clients().await;
    let path = path("typed");
    answerer.handle_with(&path, &js("(request) => typeof request"), "{ requestType: 'int64' }").await;
    let error = asker.ask_in_vain(&path, "'text'").await;
    error.is("INCOMPATIBLE_DATATYPE", "refused");
    assert_same(&error.get("reason"), "108");
    assert_same(&asker.ask(&path, "7n").await, "'bigint'");
}

#[wasm_bindgen_test]
async fn a_handler_that_named_its_answer_s_type_answers_with_that_type() {
    let (asker, answerer) = two_clients().await;
    let path = path("typed");
    answerer.handle_with(&path, &js("(n) => n"), "{ responseType: 'int64' }").await;
    assert_same(&asker.ask(&path, "7").await, "7n");
    asker.ask_in_vain(&path, "7.5").await.is("CALLBACK_EXCEPTION", "failed");
}

#[wasm_bindgen_test]
async fn a_second_handler_at_a_path_is_a_conflict_and_the_first_stays() {
    let (asker, answerer) = two_clients().await;
    let path = path("conflict");
    answerer.handle(&path, "() => 'first'").await;
    let second = answerer.session.messaging().add(&path, &js("() => 'second'"), &js("undefined"));
    let error = rejected(&second).await;
    error.is("HANDLER_CONFLICT", "refused");
    assert_same(&error.get("reason"), "201");
    assert_same(&asker.ask(&path, "1").await, "'first'");
}

#[wasm_bindgen_test]
async fn two_sessions_can_handle_the_same_path() {
    let (one, other) = two_clients().await;
    let path = path("shared");
    one.handle(&path, "() => 'answer'").await;
    let registration = other.handle(&path, "() => 'answer'").await;
    assert_same(&one.ask(&path, "1").await, "'answer'");
    resolved(&registration.close()).await;
    assert_same(&other.ask(&path, "1").await, "'answer'");
}

#[wasm_bindgen_test]
async fn a_closed_registration_answers_no_more_and_can_be_closed_again() {
    let (asker, answerer) = two_clients().await;
    let path = path("closed");
    let registration = answerer.handle(&path, "() => 'here'").await;
    assert_eq!(registration.path(), path);
    assert_same(&asker.ask(&path, "1").await, "'here'");
    resolved(&registration.close()).await;
    asker.ask_in_vain(&path, "1").await.is("UNHANDLED_MESSAGE", "refused");
    assert_same(&resolved(&registration.close()).await, "undefined");
    // The path is free, for this session too.
    answerer.handle(&path, "() => 'again'").await;
    assert_same(&asker.ask(&path, "1").await, "'again'");
}

#[wasm_bindgen_test]
async fn a_request_delivered_before_its_registration_was_closed_is_still_answered() {
    let (asker, answerer) = two_clients().await;
    let path = path("closing");
    let gate = crate::support::gate();
    let registration = answerer.handle_with(&path, &gate.handler(), "{}").await;
    let pending = asker.send(&path, "1", "{}");
    resolved(&gate.arrived()).await;
    resolved(&registration.close()).await;
    gate.answer(&js("'last'"));
    assert_same(&resolved(&pending).await, "'last'");
}

#[wasm_bindgen_test]
async fn requests_that_follow_a_registration_at_once_are_answered() {
    let client = client().await;
    let answer = promise(
        "(async () => {
            const added = session.messaging.addRequestHandler(path, () => 'here');
            const asked = session.messaging.sendRequestToPath(path, 1);
            await added;
            return asked;
        })()",
        &[("session", client.as_js()), ("path", &path("at-once").as_str().into())],
    );
    assert_same(&resolved(&answer).await, "'here'");
}

#[wasm_bindgen_test]
async fn a_frozen_or_odd_function_is_a_handler() {
    for handler in
        ["Object.freeze(() => 1)", "(() => 1).bind(null)", "new Proxy(() => 1, {})", "function () { return 1; }"]
    {
        answers("({})", handler, "1").await;
    }
}
