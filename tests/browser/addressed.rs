//! Requests to a session and to a session filter, and the local functions that answer and collect.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{
    Client, Failure, assert_same, client, client_with, js, js_with, path, promise, rejected, rejection, resolved,
    two_clients,
};

/// Calls a method of `session.messaging`; the arguments are an expression that may use `path` and `id`.
fn call(client: &Client, method: &str, arguments: &str, path: &str, id: &str) -> JsValue {
    let names = [("session", client.as_js()), ("path", &path.into()), ("id", &id.into())];
    js_with(&format!("session.messaging.{method}({arguments})"), &names)
}

fn ask(client: &Client, arguments: &str, path: &str, id: &str) -> Promise {
    call(client, "sendRequestToSession", arguments, path, id).unchecked_into()
}

#[wasm_bindgen_test]
async fn a_request_to_a_session_is_answered_by_its_stream_for_exactly_this_path() {
    let (asker, answerer) = two_clients().await;
    let (path, id) = (path("stream"), answerer.session.id());
    let handler = "path, (request, context) => ({ request, ...context }), { addressed: true }";
    let registration = call(&answerer, "addStreamHandler", handler, &path, "");

    let response = resolved(&ask(&asker, "path, id, 'Ada'", &path, &id)).await;
    let expected = format!(
        "({{ request: 'Ada', path: '{path}', addressed: true, sessionProperties: {{}}, requestType: 'string' }})"
    );
    assert_same(&response, &expected);
    rejected(&ask(&asker, "path + '/below', id, 1", &path, &id)).await.is("UNHANDLED_MESSAGE", "refused");
    asker.ask_in_vain(&path, "1").await.is("UNHANDLED_MESSAGE", "refused");

    resolved(&promise("registration.close()", &[("registration", &registration)])).await;
    rejected(&ask(&asker, "path, id, 1", &path, &id)).await.is("UNHANDLED_MESSAGE", "refused");
}

#[wasm_bindgen_test]
async fn a_session_that_is_not_there_and_an_id_that_is_none_are_told_apart() {
    let asker = client().await;
    let path = path("nobody");
    rejected(&ask(&asker, "path, 'ab-CD', 1", &path, "")).await.is("NO_SUCH_SESSION", "refused");
    for id in ["''", "'12'", "'g-1'", "'1-1-1'", "5", "undefined"] {
        rejected(&ask(&asker, &format!("path, {id}, 1"), &path, "")).await.is("INVALID_ARGUMENT", "not-sent");
    }
}

/// A property for the filter of one test, and two sessions that have it; the second has a stream.
async fn pair(path: &str) -> (Client, Client, String) {
    let options = format!("{{ principal: 'control', credentials: 'password', properties: {{ test: '{path}' }} }}");
    let (asker, answerer) = (client_with(&options).await, client_with(&options).await);
    call(&answerer, "addStreamHandler", "path, (request) => [request], { addressed: true }", path, "");
    (asker, answerer, format!("test is '{path}'"))
}

#[wasm_bindgen_test]
async fn a_filter_gives_the_count_first_and_then_one_response_or_error_from_each() {
    let path = path("filter");
    let (asker, answerer, filter) = pair(&path).await;
    let names = [("session", asker.as_js()), ("path", &path.as_str().into()), ("filter", &filter.into())];
    let told = "(async () => {
        const told = [];
        const all = new Promise((resolve) => {
            session.messaging.sendRequestToFilter(filter, path, 1n, {
                onResponse(response) {
                    told.push(response);
                    if (response.received === response.expected) resolve();
                },
            }).then((count) => told.push(count));
        });
        await all;
        return told;
    })()";
    let told = resolved(&promise(told, &names)).await;
    assert_same(&js_with("told[0]", &[("told", &told)]), "2");
    let seen = js_with(
        "told.slice(1).map(({ sessionId, value, error, received, expected, ...rest }) => [
            sessionId === own ? 'own' : sessionId === other ? 'other' : sessionId,
            value, error?.code, error?.outcome, received, expected, rest.filter, rest.path,
        ]).sort()",
        &[("told", &told), ("own", &asker.session.id().into()), ("other", &answerer.session.id().into())],
    );
    let orders = ["[1, 2]", "[2, 1]"].map(|order| {
        js_with(
            &format!(
                "JSON.stringify([['other', [1], null, null, {order}[0], 2, filter, path],
                    ['own', null, 'UNHANDLED_MESSAGE', 'refused', {order}[1], 2, filter, path]])"
            ),
            &[("filter", &format!("test is '{path}'").into()), ("path", &path.as_str().into())],
        )
    });
    let seen = js_with("JSON.stringify(seen)", &[("seen", &seen)]);
    assert!(orders.contains(&seen), "{seen:?}");
}

#[wasm_bindgen_test]
async fn responses_go_to_the_handler_of_their_filter_unless_the_call_has_its_own() {
    let path = path("handlers");
    let (asker, _answerer, filter) = pair(&path).await;
    let names = [("session", asker.as_js()), ("path", &path.as_str().into()), ("filter", &filter.into())];
    let script = "(async () => {
        const { messaging } = session;
        const told = [];
        const first = messaging.addFilterResponseHandler(filter, () => told.push('replaced'));
        let answered;
        const handler = {
            handle(event, { value, received, expected }) {
                told.push(event, value);
                if (received === expected) answered();
            },
        };
        const second = messaging.addFilterResponseHandler(filter, handler);
        first.close(); // it is not its own any more
        const own = [];
        for (const options of [{}, { onResponse: { handle: (event, args) => { own.push(event); handler.handle('own', args); } } }]) {
            const all = new Promise((resolve) => { answered = resolve; });
            await messaging.sendRequestToFilter(filter, path, 'x', options);
            await all;
        }
        second.close();
        await messaging.sendRequestToFilter(filter, path, 'x');
        await session.ping();
        return [told.filter((it) => it === 'own').length, told.filter((it) => it === 'response').length, told.includes('replaced'), own.sort()];
    })()";
    assert_same(&resolved(&promise(script, &names)).await, "[2, 1, false, ['error', 'response']]");
}

#[wasm_bindgen_test]
async fn a_filter_that_does_not_parse_rejects_with_the_places() {
    let asker = client().await;
    let sent = call(&asker, "sendRequestToFilter", "'$Principal is alice', path, 1", &path("bad"), "");
    let error = rejected(&sent.unchecked_into()).await;
    error.is("INVALID_FILTER", "refused");
    assert_same(
        &js_with("errors.map(({ line, column }) => [line, column])", &[("errors", &error.get("errors"))]),
        "[[1, 14]]",
    );
    assert!(error.message().contains("1:14"), "{error}");
}

#[wasm_bindgen_test]
async fn aborting_and_closing_end_what_a_filter_was_sent() {
    let path = path("end");
    let (asker, answerer, filter) = pair(&path).await;
    call(&answerer, "addStreamHandler", "path, () => new Promise(() => {}), { addressed: true }", &path, "");
    let names = [("session", asker.as_js()), ("path", &path.as_str().into()), ("filter", &filter.into())];
    let script = "(async () => {
        const { messaging } = session;
        const stop = new AbortController();
        const told = [];
        const options = { signal: stop.signal, onResponse: ({ error }) => told.push(error?.code) };
        const count = await messaging.sendRequestToFilter(filter, path, 1, options);
        // The first one overtakes the answer of this session.
        await session.ping();
        await session.ping();
        stop.abort();
        const never = messaging.sendRequestToFilter(filter, path, 1, options).catch((error) => error === stop.signal.reason);
        const late = messaging.sendRequestToFilter(filter, path, 1, { timeout: 0 }).catch((error) => error.code);
        const open = messaging.sendRequestToFilter(filter, path, 1).catch((error) => [error.code, error.outcome]);
        session.close();
        return [count, told, await never, await late, await open];
    })()";
    let ended = resolved(&promise(script, &names)).await;
    assert_same(&ended, "[2, ['UNHANDLED_MESSAGE'], true, 'SESSION_CLOSED', ['SESSION_CLOSED', 'unknown']]");
}

#[wasm_bindgen_test]
async fn what_cannot_be_called_or_comes_too_late_is_refused() {
    let asker = client().await;
    let path = path("refused");
    let names = [("session", asker.as_js()), ("path", &path.as_str().into())];
    for arguments in ["path, 5", "path, {}", "path, () => 1, { addressed: 'yes' }", "path, () => 1, 5", "5, () => 1"] {
        let thrown = js_with(
            &format!(
                "(() => {{ try {{ session.messaging.addStreamHandler({arguments}) }} catch (error) {{ return error }} }})()"
            ),
            &names,
        );
        Failure(thrown).is("INVALID_ARGUMENT", "not-sent");
    }
    let call = "session.messaging.sendRequestToFilter('all', path, 1, { onResponse: 5 })";
    rejection(call, &names).await.expect("rejects").is("INVALID_ARGUMENT", "not-sent");
    resolved(&asker.session.close()).await;
    let thrown = "(() => { try { session.messaging.addFilterResponseHandler('all', () => 1) } catch (error) { return error } })()";
    Failure(js_with(thrown, &names)).is("SESSION_CLOSED", "not-sent");
    rejected(&ask(&asker, "path, '1-1', 1", &path, "")).await.is("SESSION_CLOSED", "not-sent");
}

#[wasm_bindgen_test]
async fn no_more_requests_are_answered_at_once_than_a_handler_allows_and_the_others_wait_in_order() {
    let (asker, answerer) = two_clients().await;
    let path = path("turns");
    js("(globalThis.turns = { running: 0, most: 0, order: [], release: [] })");
    let handler = "async (request) => {
        turns.most = Math.max(turns.most, ++turns.running);
        turns.order.push(request);
        await new Promise((resolve) => { turns.release.push(resolve); });
        turns.running -= 1;
        return request;
    }";
    answerer.handle_with(&path, &js(handler), "{ maxConcurrent: 2 }").await;
    let sent: Vec<_> = (0..6).map(|number| asker.send(&path, &number.to_string(), "{}")).collect();
    for (number, promise) in sent.iter().enumerate() {
        // Whoever asked after them has arrived: messages keep their order.
        resolved(&asker.session.ping()).await;
        resolved(&answerer.session.ping()).await;
        js("turns.release.shift()()");
        assert_same(&resolved(promise).await, &number.to_string());
    }
    assert_same(&js("[turns.most, turns.order]"), "[2, [0, 1, 2, 3, 4, 5]]");
}
