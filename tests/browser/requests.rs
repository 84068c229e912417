use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{assert_same, client, client_with, gate, js, path, promise, rejected, resolved, two_clients};

#[wasm_bindgen_test]
async fn a_handler_in_another_session_answers() {
    let (asker, answerer) = two_clients().await;
    let path = path("greet");
    answerer.handle(&path, "(name) => `Hello, ${name}!`").await;
    assert_same(&asker.ask(&path, "'Ada'").await, "'Hello, Ada!'");
}

#[wasm_bindgen_test]
async fn a_handler_in_the_same_session_answers() {
    let client = client().await;
    let path = path("greet");
    client.handle(&path, "(name) => `Hello, ${name}!`").await;
    assert_same(&client.ask(&path, "'Ada'").await, "'Hello, Ada!'");
}

#[wasm_bindgen_test]
async fn a_handler_that_returns_a_promise_answers_with_what_it_resolves_to() {
    let (asker, answerer) = two_clients().await;
    let path = path("later");
    answerer.handle(&path, "async (n) => { await null; return n + 1; }").await;
    assert_same(&asker.ask(&path, "41").await, "42");
}

#[wasm_bindgen_test]
async fn an_object_with_a_function_handle_answers() {
    let (asker, answerer) = two_clients().await;
    let path = path("object");
    let handler = "{ word: 'yes', handle(event, { request, path }) { return [this.word, event, request, path]; } }";
    answerer.handle(&path, handler).await;
    let answer = asker.ask(&path, "[1]").await;
    assert_same(&answer, &format!("['yes', 'request', [1], '{path}']"));
}

#[wasm_bindgen_test]
async fn a_handler_answers_below_its_path_and_learns_the_path_sent() {
    let (asker, answerer) = two_clients().await;
    let path = path("prices");
    answerer.handle(&path, "(request, context) => context.path").await;
    assert_same(&asker.ask(&format!("{path}/eu/17"), "1").await, &format!("'{path}/eu/17'"));
    asker.ask_in_vain(&format!("{path}x"), "1").await.is("UNHANDLED_MESSAGE", "refused");
}

#[wasm_bindgen_test]
async fn of_two_handlers_the_one_with_the_more_specific_path_answers() {
    let (asker, answerer) = two_clients().await;
    let path = path("prices");
    answerer.handle(&path, "() => 'far'").await;
    answerer.handle(&format!("{path}/eu"), "() => 'near'").await;
    assert_same(&asker.ask(&format!("{path}/eu/17"), "1").await, "'near'");
    assert_same(&asker.ask(&format!("{path}/us/17"), "1").await, "'far'");
}

#[wasm_bindgen_test]
async fn a_handler_learns_who_asks_and_with_what_type() {
    let (asker, answerer) = two_clients().await;
    let path = path("context");
    let context = "(_, { addressed, senderSessionId, requestType, sessionProperties, signal }) =>
        ({ addressed, senderSessionId, requestType, sessionProperties, aborted: signal.aborted })";
    answerer.handle(&path, context).await;
    let answer = asker.ask(&path, "{}").await;
    let id = asker.session.id();
    assert_same(
        &answer,
        &format!(
            "({{ addressed: false, senderSessionId: '{id}', requestType: 'json', sessionProperties: {{}}, aborted: false }})"
        ),
    );
}

#[wasm_bindgen_test]
async fn a_handler_is_given_the_session_properties_of_the_sender_that_it_asked_for() {
    let answerer = client().await;
    let path = path("properties");
    let handler = js("(_, { sessionProperties }) => sessionProperties");
    answerer.handle_with(&path, &handler, "{ sessionProperties: ['$Principal', 'team', 'none'] }").await;
    let asker =
        client_with("{ principal: 'control', credentials: 'password', properties: { team: 'blue', floor: '3' } }")
            .await;
    assert_same(&asker.ask(&path, "{}").await, "({ $Principal: 'control', team: 'blue' })");
}

#[wasm_bindgen_test]
async fn answers_arrive_in_the_order_in_which_handlers_finish() {
    let (asker, answerer) = two_clients().await;
    let path = path("order");
    // The first request is answered once the second has come.
    let handler = "(() => {
        let release;
        return (name) => {
            if (name === 'second') { release(); return name; }
            return new Promise((resolve) => { release = () => resolve(name); });
        };
    })()";
    answerer.handle(&path, handler).await;
    let requests = promise(
        "(() => {
            const done = [];
            const ask = (name) => session.messaging.sendRequestToPath(path, name).then((answer) => done.push(answer));
            return Promise.all([ask('first'), ask('second')]).then(() => done);
        })()",
        &[("session", asker.as_js()), ("path", &path.as_str().into())],
    );
    assert_same(&resolved(&requests).await, "['second', 'first']");
}

#[wasm_bindgen_test]
async fn a_request_that_nobody_handles_is_refused_with_an_error_that_says_so() {
    let client = client().await;
    let path = path("nobody");
    let error = client.ask_in_vain(&path, "1").await;
    error.is("UNHANDLED_MESSAGE", "refused");
    assert_same(&error.get("reason"), "109");
    assert_same(&error.get("name"), "'MessagingError'");
    assert!(error.message().contains(&path), "{error}");
}

#[wasm_bindgen_test]
async fn the_stack_of_an_error_shows_the_line_that_called() {
    let client = client().await;
    let names = [("session", client.as_js()), ("path", &path("nobody").as_str().into())];
    // Without optimisation there are more frames of ours above the caller's than Chromium keeps by default.
    js("(Error.stackTraceLimit = 50)");
    let pending = promise("(function theCaller() { return session.messaging.sendRequestToPath(path, 1); })()", &names);
    js("(Error.stackTraceLimit = 10)");
    let stack = rejected(&pending).await.get("stack").as_string().unwrap();
    assert!(stack.starts_with("MessagingError: ") && stack.contains("theCaller"), "{stack}");
}

#[wasm_bindgen_test]
async fn a_handler_that_never_answers_costs_the_sender_its_own_timeout_and_no_less() {
    let (asker, answerer) = two_clients().await;
    let path = path("never");
    answerer.handle(&path, "(request) => (request === 'answer' ? 'here' : new Promise(() => {}))").await;
    let timed = promise(
        "(async () => {
            const start = performance.now();
            try {
                await session.messaging.sendRequestToPath(path, 'never', { timeout: 50 });
            } catch (error) {
                throw Object.assign(error, { elapsed: performance.now() - start });
            }
        })()",
        &[("session", asker.as_js()), ("path", &path.as_str().into())],
    );
    let error = rejected(&timed).await;
    error.is("TIMED_OUT", "unknown");
    let elapsed = error.get("elapsed").as_f64().unwrap();
    assert!(elapsed >= 50.0, "{elapsed} ms");
    wasm_bindgen_test::console_log!("a deadline of 50 ms passed after {elapsed:.1} ms");
    assert_same(&asker.ask(&path, "'answer'").await, "'here'");
}

#[wasm_bindgen_test]
async fn no_deadline_passes_early_when_many_are_set() {
    let (asker, answerer) = two_clients().await;
    let path = path("never");
    answerer.handle(&path, "() => new Promise(() => {})").await;
    let early = promise(
        "Promise.all(Array.from({ length: 100 }, async (_, index) => {
            const timeout = 100 - index + index / 7;
            const start = performance.now();
            const error = await session.messaging.sendRequestToPath(path, index, { timeout }).catch((error) => error);
            const elapsed = performance.now() - start;
            return error.code === 'TIMED_OUT' && elapsed >= timeout ? [] : [[timeout, elapsed, String(error)]];
        })).then((found) => found.flat())",
        &[("session", asker.as_js()), ("path", &path.as_str().into())],
    );
    assert_same(&resolved(&early).await, "[]");
}

#[wasm_bindgen_test]
async fn an_answer_after_the_deadline_goes_to_nobody() {
    let (asker, answerer) = two_clients().await;
    let (slow, fast) = (path("slow"), path("fast"));
    let gate = gate();
    answerer.handle_with(&slow, &gate.handler(), "{}").await;
    answerer.handle(&fast, "(request) => request").await;
    rejected(&asker.send(&slow, "1", "{ timeout: 10 }")).await.is("TIMED_OUT", "unknown");
    gate.answer(&js("'too late'"));
    // The answer is on its way before this one.
    assert_same(&asker.ask(&fast, "'next'").await, "'next'");
}

#[wasm_bindgen_test]
async fn a_request_without_a_timeout_has_that_of_the_session() {
    let answerer = client().await;
    let path = path("never");
    answerer.handle(&path, "() => new Promise(() => {})").await;
    let asker = client_with("{ principal: 'control', credentials: 'password', requestTimeout: 20 }").await;
    asker.ask_in_vain(&path, "1").await.is("TIMED_OUT", "unknown");
}

#[wasm_bindgen_test]
async fn a_signal_aborted_before_the_call_rejects_with_its_reason_and_nothing_is_sent() {
    let (asker, answerer) = two_clients().await;
    let path = path("abort");
    answerer.handle(&path, "(() => { let calls = 0; return () => ++calls; })()").await;
    let reason = js("(globalThis.abortReason = { why: 'changed my mind' })");
    let error = rejected(&asker.send(&path, "1", "{ signal: AbortSignal.abort(abortReason) }")).await;
    assert!(js_sys::Object::is(&error.0, &reason), "{error}");
    let error = rejected(&asker.send(&path, "1", "{ signal: AbortSignal.abort() }")).await;
    assert_same(&error.get("name"), "'AbortError'");
    assert_same(&asker.ask(&path, "1").await, "1");
}

#[wasm_bindgen_test]
async fn a_signal_aborted_while_waiting_rejects_in_the_same_turn_with_its_reason() {
    let (asker, answerer) = two_clients().await;
    let path = path("abort");
    let gate = gate();
    answerer.handle_with(&path, &gate.handler(), "{}").await;
    let names = [("session", asker.as_js()), ("path", &path.as_str().into()), ("arrived", &gate.arrived())];
    let same_turn = promise(
        "(async () => {
            const reason = new Error('enough');
            const controller = new AbortController();
            const pending = session.messaging.sendRequestToPath(path, 'first', { signal: controller.signal });
            let caught;
            pending.catch((error) => { caught = error; });
            await arrived;
            controller.abort(reason);
            await Promise.resolve();
            return caught === reason;
        })()",
        &names,
    );
    assert_same(&resolved(&same_turn).await, "true");
}

#[wasm_bindgen_test]
async fn the_answer_to_an_aborted_request_goes_to_nobody() {
    let (asker, answerer) = two_clients().await;
    let (slow, fast) = (path("slow"), path("fast"));
    let gate = gate();
    answerer.handle_with(&slow, &gate.handler(), "{}").await;
    answerer.handle(&fast, "(request) => request").await;
    js("globalThis.patience = new AbortController()");
    let aborted = asker.send(&slow, "1", "{ signal: patience.signal }");
    resolved(&gate.arrived()).await;
    js("patience.abort('enough')");
    assert_same(&rejected(&aborted).await.0, "'enough'");
    gate.answer(&js("'too late'"));
    // The answer is on its way before this one.
    assert_same(&asker.ask(&fast, "'next'").await, "'next'");
}

#[wasm_bindgen_test]
async fn a_signal_aborted_after_the_answer_changes_nothing() {
    let (asker, answerer) = two_clients().await;
    let path = path("abort");
    answerer.handle(&path, "(request) => request").await;
    js("globalThis.abortLater = new AbortController()");
    assert_same(&resolved(&asker.send(&path, "1", "{ signal: abortLater.signal }")).await, "1");
    js("abortLater.abort()");
    assert_same(&asker.ask(&path, "2").await, "2");
}

#[wasm_bindgen_test]
async fn one_signal_aborts_all_the_requests_that_it_was_given_to() {
    let (asker, answerer) = two_clients().await;
    let path = path("abort");
    answerer.handle(&path, "() => new Promise(() => {})").await;
    let outcomes = promise(
        "(async () => {
            const controller = new AbortController();
            const { signal } = controller;
            const all = Array.from({ length: 50 }, (_, n) => session.messaging.sendRequestToPath(path, n, { signal }));
            controller.abort('all of you');
            const settled = await Promise.allSettled(all);
            return settled.every(({ status, reason }) => status === 'rejected' && reason === 'all of you');
        })()",
        &[("session", asker.as_js()), ("path", &path.as_str().into())],
    );
    assert_same(&resolved(&outcomes).await, "true");
}

#[wasm_bindgen_test]
async fn a_thousand_requests_at_once_each_get_their_own_answer() {
    let (asker, answerer) = two_clients().await;
    let path = path("many");
    answerer.handle(&path, "async (n) => { if (n % 3 === 0) await null; return -n; }").await;
    let wrong = promise(
        "Promise.all(Array.from({ length: 1000 }, (_, n) => session.messaging.sendRequestToPath(path, n + 1)))
            .then((answers) => answers.filter((answer, n) => answer !== -(n + 1)))",
        &[("session", asker.as_js()), ("path", &path.as_str().into())],
    );
    assert_same(&resolved(&wrong).await, "[]");
}
