use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{Client, assert_same, client, js, js_with, path, promise, rejected, resolved, two_clients};

/// The session, for code that runs later, in `globalThis.me`.
fn remember(client: &Client) {
    js_with("void (globalThis.me = session)", &[("session", client.as_js())]);
}

#[wasm_bindgen_test]
async fn a_handler_can_ask_before_it_answers() {
    let (asker, answerer) = two_clients().await;
    let (inner, outer) = (path("inner"), path("outer"));
    remember(&answerer);
    answerer.handle(&inner, "(n) => n * 2").await;
    answerer.handle(&outer, &format!("async (n) => 1 + await me.messaging.sendRequestToPath('{inner}', n)")).await;
    assert_same(&asker.ask(&outer, "20").await, "41");
}

#[wasm_bindgen_test]
async fn sessions_can_ask_each_other_in_turn_and_deeply() {
    let (one, other) = two_clients().await;
    let (ping, pong) = (path("ping"), path("pong"));
    js_with("void (globalThis.pair = [a, b])", &[("a", one.as_js()), ("b", other.as_js())]);
    let back = |to: &str, session: usize| {
        format!("(n) => (n === 0 ? 'bottom' : pair[{session}].messaging.sendRequestToPath('{to}', n - 1))")
    };
    one.handle(&ping, &back(&pong, 0)).await;
    other.handle(&pong, &back(&ping, 1)).await;
    assert_same(&one.ask(&pong, "50").await, "'bottom'");
}

#[wasm_bindgen_test]
async fn a_to_json_that_sends_a_request_disturbs_neither() {
    let client = client().await;
    let path = path("echo");
    client.handle(&path, "(request) => request").await;
    let answers = promise(
        "(async () => {
            const inner = [];
            const send = (value) => session.messaging.sendRequestToPath(path, value);
            const filler = 'x'.repeat(100_000);
            const outer = send({
                before: 1,
                nested: { toJSON() { inner.push(send({ filler, n: [2, 3] })); return { n: 4 }; } },
                get later() { inner.push(send('text')); return [5]; },
                after: 6,
            });
            const [a, b] = await Promise.all(inner);
            return [await outer, a.n, a.filler === filler, b];
        })()",
        &[("session", client.as_js()), ("path", &path.as_str().into())],
    );
    let expected = "[{ before: 1, nested: { n: 4 }, later: [5], after: 6 }, [2, 3], true, 'text']";
    assert_same(&resolved(&answers).await, expected);
}

#[wasm_bindgen_test]
async fn an_answer_whose_to_json_sends_a_request_arrives() {
    let (asker, answerer) = two_clients().await;
    let (inner, outer) = (path("inner"), path("outer"));
    remember(&answerer);
    answerer.handle(&inner, "(request) => request").await;
    let handler = format!(
        "() => ({{ a: 1, b: {{ toJSON() {{ globalThis.sent = me.messaging.sendRequestToPath('{inner}', [7]); return 2; }} }} }})"
    );
    answerer.handle(&outer, &handler).await;
    assert_same(&asker.ask(&outer, "1").await, "({ a: 1, b: 2 })");
    assert_same(&resolved(&js("sent").into()).await, "[7]");
}

#[wasm_bindgen_test]
async fn a_value_that_closes_the_session_while_it_is_read_is_not_sent() {
    let client = client().await;
    remember(&client);
    let error = client.ask_in_vain(&path("closes"), "({ get a() { me.close(); return 1; } })").await;
    error.is("SESSION_CLOSED", "not-sent");
}

#[wasm_bindgen_test]
async fn options_that_close_the_session_while_they_are_read_do_no_harm() {
    let client = client().await;
    remember(&client);
    let error = rejected(&client.send(&path("closes"), "1", "{ get timeout() { me.close(); return 5; } }")).await;
    error.is("SESSION_CLOSED", "not-sent");
}

#[wasm_bindgen_test]
async fn a_handler_can_close_its_own_session() {
    let (asker, answerer) = two_clients().await;
    let path = path("closes");
    remember(&answerer);
    answerer.handle(&path, "() => { me.close(); return 'nobody will know'; }").await;
    asker.ask_in_vain(&path, "1").await.is("SESSION_CLOSED", "unknown");
    assert_eq!(answerer.session.state(), "closed");
    assert_eq!(asker.session.state(), "connected");
}

#[wasm_bindgen_test]
async fn a_handler_can_close_its_own_registration_and_still_answer() {
    let (asker, answerer) = two_clients().await;
    let path = path("closes");
    let registration = answerer.handle(&path, "async () => { await mine.close(); return 'last words'; }").await;
    js_with("void (globalThis.mine = registration)", &[("registration", &registration)]);
    assert_same(&asker.ask(&path, "1").await, "'last words'");
    asker.ask_in_vain(&path, "1").await.is("UNHANDLED_MESSAGE", "refused");
}

#[wasm_bindgen_test]
async fn a_handler_can_register_another() {
    let (asker, answerer) = two_clients().await;
    let (first, second) = (path("first"), path("second"));
    remember(&answerer);
    let handler =
        format!("async () => {{ await me.messaging.addRequestHandler('{second}', () => 'second'); return 'first'; }}");
    answerer.handle(&first, &handler).await;
    assert_same(&asker.ask(&first, "1").await, "'first'");
    assert_same(&asker.ask(&second, "1").await, "'second'");
}

#[wasm_bindgen_test]
async fn a_listener_that_calls_the_session_that_is_closing_gets_its_answer() {
    let client = client().await;
    remember(&client);
    let _ = client.session.on(
        "statechange",
        &js("() => { globalThis.calls = [me.close(), me.ping(), me.messaging.sendRequestToPath('a', 1), me.closed, me.state]; }"),
    );
    resolved(&client.session.close()).await;
    let settled = promise("Promise.allSettled(calls)", &[]);
    let told = js_with(
        "settled.map(({ reason, value }) => reason?.code ?? value?.code ?? value)",
        &[("settled", &resolved(&settled).await)],
    );
    assert_same(&told, "[undefined, 'SESSION_CLOSED', 'SESSION_CLOSED', 'CLOSED_BY_CLIENT', 'closed']");
}

#[wasm_bindgen_test]
async fn an_abort_listener_of_a_handler_can_call_the_session_that_is_closing() {
    let (asker, answerer) = two_clients().await;
    let path = path("aborts");
    remember(&answerer);
    let gate = crate::support::gate();
    answerer.handle_with(&path, &gate.handler(), "{}").await;
    let request = asker.send(&path, "1", "{}");
    let arrived = resolved(&gate.arrived()).await;
    js_with(
        "void (context.signal.onabort = () => { globalThis.call = me.messaging.sendRequestToPath('a', 1); })",
        &[("context", &js_with("arrived.context", &[("arrived", &arrived)]))],
    );
    resolved(&answerer.session.close()).await;
    rejected(&js("call").into()).await.is("SESSION_CLOSED", "not-sent");
    rejected(&request).await.is("SESSION_CLOSED", "unknown");
}

#[wasm_bindgen_test]
async fn a_session_can_be_closed_by_what_waits_for_an_answer() {
    let (asker, answerer) = two_clients().await;
    let path = path("chain");
    answerer.handle(&path, "(request) => request").await;
    let chain = promise(
        "session.messaging.sendRequestToPath(path, 1).then(() => session.close()).then(() => session.state)",
        &[("session", asker.as_js()), ("path", &path.as_str().into())],
    );
    assert_same(&resolved(&chain).await, "'closed'");
}

#[wasm_bindgen_test]
async fn aborting_from_within_the_encoding_of_the_request_rejects_it() {
    let client = client().await;
    let path = path("echo");
    client.handle(&path, "(request) => request").await;
    js("globalThis.controller = new AbortController()");
    let request = "({ get a() { controller.abort('while encoding'); return 1; } })";
    let error = rejected(&client.send(&path, request, "{ signal: controller.signal }")).await;
    assert_same(&error.0, "'while encoding'");
    assert_same(&client.ask(&path, "1").await, "1");
}
