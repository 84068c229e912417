use wasm_bindgen_test::wasm_bindgen_test;

use crate::support::{
    BROKER, CONTROL, Session, assert_same, client, client_with, connect, connect_with, gate, js, js_with, path,
    promise, rejected, resolved, two_clients,
};

#[wasm_bindgen_test]
async fn a_session_says_who_and_what_it_is() {
    let client = client().await;
    let names = [("session", client.as_js())];
    assert_same(&js_with("/^[0-9a-f]{16}-[0-9a-f]{16}$/.test(session.id)", &names), "true");
    assert_eq!(client.session.principal(), "control");
    assert_eq!(client.session.state(), "connected");
    assert_same(&js_with("session.messaging === session.messaging", &names), "true");
}

#[wasm_bindgen_test]
async fn a_session_without_a_principal_is_anonymous() {
    let client = client_with("undefined").await;
    assert_eq!(client.session.principal(), "");
}

#[wasm_bindgen_test]
async fn two_sessions_have_different_ids() {
    let (one, other) = two_clients().await;
    assert_ne!(one.session.id(), other.session.id());
}

#[wasm_bindgen_test]
async fn a_ping_takes_some_time_but_not_less_than_none() {
    let client = client().await;
    let time = resolved(&client.session.ping()).await.as_f64().unwrap();
    assert!((0.0..10_000.0).contains(&time), "{time} ms");
}

#[wasm_bindgen_test]
async fn a_session_can_read_its_own_properties() {
    let client =
        client_with("{ principal: 'control', credentials: 'password', properties: { team: 'blue', floor: '3' } }")
            .await;
    let all = resolved(&client.session.properties(&js("undefined"))).await;
    let some = js_with("[all.$Principal, all.$SessionId, all.$Transport, all.team, all.floor]", &[("all", &all)]);
    let id = client.session.id();
    assert_same(&some, &format!("['control', '{id}', 'WEBSOCKET', 'blue', '3']"));
    let named = resolved(&client.session.properties(&js("['team', '$Principal', 'none']"))).await;
    let named = js_with("[Object.keys(named).sort(), named.team]", &[("named", &named)]);
    assert_same(&named, "[['$Principal', 'team'], 'blue']");
    assert_same(&resolved(&client.session.properties(&js("[]"))).await, "({})");
}

#[wasm_bindgen_test]
async fn a_session_can_change_its_principal_and_stays_the_same_session() {
    let client = client().await;
    let id = client.session.id();
    let changed = client.session.change_principal(&js("'client'"), &js("'password'"));
    assert_same(&resolved(&changed).await, "true");
    assert_eq!((client.session.principal(), client.session.id()), ("client".into(), id));
    let properties = resolved(&client.session.properties(&js("['$Principal']"))).await;
    assert_same(&properties, "({ $Principal: 'client' })");
}

#[wasm_bindgen_test]
async fn a_session_keeps_its_principal_if_the_new_one_is_not_accepted() {
    let client = client().await;
    for (principal, credentials) in [("'client'", "'wrong'"), ("'nobody'", "'password'"), ("'client'", "undefined")] {
        let changed = client.session.change_principal(&js(principal), &js(credentials));
        assert_same(&resolved(&changed).await, "false");
    }
    assert_eq!(client.session.principal(), "control");
    assert_eq!(client.session.state(), "connected");
}

#[wasm_bindgen_test]
async fn http_addresses_and_url_objects_are_addresses_too() {
    let http = BROKER.replacen("ws", "http", 1);
    for url in [format!("'{http}'"), format!("new URL('{http}')"), format!("new URL('{BROKER}#hash')")] {
        let session = resolved(&connect_with(&js(&url), &js(&format!("({CONTROL})")))).await;
        assert_same(&js_with("session.state", &[("session", &session)]), "'connected'");
        resolved(&promise("session.close()", &[("session", &session)])).await;
    }
}

#[wasm_bindgen_test]
async fn a_wrong_password_is_denied_and_trying_again_will_not_help() {
    for options in [
        "{ principal: 'control', credentials: 'wrong', log: 'off' }",
        "{ principal: 'control', credentials: '', log: 'off' }",
        "{ principal: 'control', log: 'off' }",
        "{ principal: 'control', credentials: new TextEncoder().encode('password'), log: 'off' }",
        "{ principal: 'nobody', credentials: 'password', log: 'off' }",
    ] {
        rejected(&connect(BROKER, options)).await.is_of_connect("ACCESS_DENIED", false);
    }
}

#[wasm_bindgen_test]
async fn credentials_can_come_from_a_function() {
    for credentials in ["() => 'password'", "async () => 'password'", "() => Promise.resolve('password')"] {
        let client = client_with(&format!("{{ principal: 'control', credentials: {credentials} }}")).await;
        assert_eq!(client.session.principal(), "control");
    }
}

#[wasm_bindgen_test]
async fn a_credentials_function_that_fails_rejects_and_tells_why() {
    for credentials in ["() => { throw new Error('kaputt'); }", "async () => { throw new Error('kaputt'); }"] {
        let options = format!("{{ principal: 'control', credentials: {credentials}, log: 'off' }}");
        let error = rejected(&connect(BROKER, &options)).await;
        assert_same(&js_with("error instanceof ConnectError", &[("error", &error.0)]), "true");
        assert!(error.message().contains("kaputt"), "{error}");
    }
}

#[wasm_bindgen_test]
async fn where_nobody_listens_the_connection_fails_and_can_be_tried_again() {
    rejected(&connect("ws://127.0.0.1:2", "{ log: 'off' }")).await.is_of_connect("CONNECTION_ERROR", true);
}

#[wasm_bindgen_test]
async fn an_address_that_is_no_broker_s_is_a_connection_that_failed() {
    let url = format!("{}/nothing/here", BROKER.trim_end_matches("/diffusion"));
    rejected(&connect(&url, "{ log: 'off' }")).await.is_of_connect("CONNECTION_ERROR", true);
}

/// A WebSocket that never opens, and keeps those that were made in `globalThis.silent`.
const SILENT: &str = "(() => {
    globalThis.silent = [];
    globalThis.Silent = class {
        constructor(url) { this.url = url; this.closed = false; silent.push(this); }
        send() {}
        close() { this.closed = true; }
    };
})()";

#[wasm_bindgen_test]
async fn a_connection_that_does_not_open_in_time_is_given_up() {
    js(SILENT);
    let error = rejected(&connect(BROKER, "{ webSocket: Silent, connectTimeout: 20, log: 'off' }")).await;
    error.is_of_connect("CONNECTION_TIMEOUT", true);
    assert_same(&js("silent.map(({ closed }) => closed)"), "[true]");
}

#[wasm_bindgen_test]
async fn connecting_can_be_aborted_before_it_begins() {
    js(SILENT);
    js("globalThis.reason = { why: 'never mind' }");
    let error = rejected(&connect(BROKER, "{ webSocket: Silent, signal: AbortSignal.abort(reason) }")).await;
    assert!(js_sys::Object::is(&error.0, &js("reason")), "{error}");
    assert_same(&js("silent.filter(({ closed }) => !closed).length"), "0");
}

#[wasm_bindgen_test]
async fn connecting_can_be_aborted_and_the_socket_is_closed() {
    js(SILENT);
    js("globalThis.controller = new AbortController()");
    let connecting = connect(BROKER, "{ webSocket: Silent, signal: controller.signal }");
    js("controller.abort()");
    assert_same(&rejected(&connecting).await.get("name"), "'AbortError'");
    assert_same(&js("silent.filter(({ closed }) => !closed).length"), "0");
}

#[wasm_bindgen_test]
async fn a_signal_aborted_after_connecting_does_not_end_the_session() {
    js("globalThis.controller = new AbortController()");
    let client = client_with("{ signal: controller.signal }").await;
    js("controller.abort()");
    resolved(&client.session.ping()).await;
    assert_eq!(client.session.state(), "connected");
}

#[wasm_bindgen_test]
async fn every_version_of_the_protocol_that_can_be_asked_for_works() {
    for version in 22..=29 {
        let options = format!("{{ principal: 'control', credentials: 'password', protocolVersion: {version} }}");
        let client = client_with(&options).await;
        let path = path("version");
        client.handle(&path, "(n) => n + 1").await;
        assert_same(&client.ask(&path, "1").await, "2");
    }
}

/// What happened to a session, in order, in `globalThis.events`.
fn record_events(session: &Session) {
    js("globalThis.events = []");
    for event in ["statechange", "disconnect", "reconnect", "close"] {
        let _ = session.on(event, &js(&format!("(detail) => events.push(['{event}', detail])")));
    }
}

#[wasm_bindgen_test]
async fn closing_tells_the_listeners_and_settles_closed() {
    let client = client().await;
    record_events(&client.session);
    let closed = client.session.closed();
    resolved(&client.session.close()).await;
    assert_eq!(client.session.state(), "closed");
    let names = "events.map(([event, { from, to, code, byClient }]) => [event, from ?? code, to ?? byClient])";
    assert_same(&js(names), "[['statechange', 'connected', 'closed'], ['close', 'CLOSED_BY_CLIENT', true]]");
    let info = resolved(&closed).await;
    let names = [("info", &info)];
    assert_same(
        &js_with("[info.code, info.byClient, typeof info.reason]", &names),
        "['CLOSED_BY_CLIENT', true, 'string']",
    );
}

#[wasm_bindgen_test]
async fn a_session_can_be_closed_twice() {
    let client = client().await;
    record_events(&client.session);
    let (first, second) = (client.session.close(), client.session.close());
    resolved(&first).await;
    resolved(&second).await;
    resolved(&client.session.close()).await;
    assert_same(&js("events.map(([event]) => event)"), "['statechange', 'close']");
}

#[wasm_bindgen_test]
async fn after_closing_every_call_rejects_with_session_closed_and_nothing_is_sent() {
    let client = client().await;
    let path = path("closed");
    let registration = client.handle(&path, "() => 1").await;
    resolved(&client.session.close()).await;
    let messaging = client.session.messaging();
    rejected(&messaging.send(&path, &js("1"), &js("undefined"))).await.is("SESSION_CLOSED", "not-sent");
    rejected(&messaging.add(&path, &js("() => 1"), &js("undefined"))).await.is("SESSION_CLOSED", "not-sent");
    rejected(&client.session.ping()).await.is("SESSION_CLOSED", "not-sent");
    rejected(&client.session.properties(&js("undefined"))).await.is("SESSION_CLOSED", "not-sent");
    let changed = client.session.change_principal(&js("'client'"), &js("'password'"));
    rejected(&changed).await.is("SESSION_CLOSED", "not-sent");
    // The registration ended with the session: closing it has nothing left to do.
    assert_same(&resolved(&registration.close()).await, "undefined");
    assert_same(&js_with("(session.on('close', () => {})(), session.id.length)", &[("session", client.as_js())]), "33");
}

#[wasm_bindgen_test]
async fn closing_rejects_everything_outstanding_with_session_closed_outcome_unknown() {
    let (asker, answerer) = two_clients().await;
    let path = path("outstanding");
    let gate = gate();
    answerer.handle_with(&path, &gate.handler(), "{}").await;
    let request = asker.send(&path, "1", "{}");
    resolved(&gate.arrived()).await;
    let registration = asker.session.messaging().add(&path, &js("() => 1"), &js("undefined"));
    let ping = asker.session.ping();
    let properties = asker.session.properties(&js("undefined"));
    resolved(&asker.session.close()).await;
    for outstanding in [request, registration, ping, properties] {
        rejected(&outstanding).await.is("SESSION_CLOSED", "unknown");
    }
}

#[wasm_bindgen_test]
async fn a_sender_is_told_at_once_when_the_session_of_the_handler_closes() {
    let (asker, answerer) = two_clients().await;
    let path = path("leaves");
    let gate = gate();
    answerer.handle_with(&path, &gate.handler(), "{}").await;
    let request = asker.send(&path, "1", "{}");
    resolved(&gate.arrived()).await;
    resolved(&answerer.session.close()).await;
    let error = rejected(&request).await;
    error.is("SESSION_CLOSED", "unknown");
    assert_same(&error.get("reason"), "101");
    asker.ask_in_vain(&path, "1").await.is("UNHANDLED_MESSAGE", "refused");
}

#[wasm_bindgen_test]
async fn the_signal_of_a_handler_is_aborted_when_its_session_closes() {
    let (asker, answerer) = two_clients().await;
    let path = path("signal");
    let gate = gate();
    answerer.handle_with(&path, &gate.handler(), "{}").await;
    let request = asker.send(&path, "1", "{}");
    let arrived = resolved(&gate.arrived()).await;
    let names = [("context", &js_with("arrived.context", &[("arrived", &arrived)]))];
    let aborted =
        promise("new Promise((resolve) => { context.signal.onabort = () => resolve(context.signal.reason); })", &names);
    assert_same(&js_with("context.signal.aborted", &names), "false");
    resolved(&answerer.session.close()).await;
    assert_same(&js_with("reason.code", &[("reason", &resolved(&aborted).await)]), "'SESSION_CLOSED'");
    rejected(&request).await.is("SESSION_CLOSED", "unknown");
}

#[wasm_bindgen_test]
async fn the_signal_of_a_handler_that_looks_at_it_late_is_aborted_already() {
    let (asker, answerer) = two_clients().await;
    let path = path("signal");
    let gate = gate();
    answerer.handle_with(&path, &gate.handler(), "{}").await;
    let request = asker.send(&path, "1", "{}");
    let arrived = resolved(&gate.arrived()).await;
    resolved(&answerer.session.close()).await;
    assert_same(&js_with("arrived.context.signal.aborted", &[("arrived", &arrived)]), "true");
    rejected(&request).await;
    // An answer that nobody can be given harms nobody.
    gate.answer(&js("1"));
    asker.ask_in_vain(&path, "1").await.is("UNHANDLED_MESSAGE", "refused");
}

#[wasm_bindgen_test]
async fn the_signal_of_a_handler_that_has_answered_is_not_aborted() {
    let (asker, answerer) = two_clients().await;
    let path = path("signal");
    answerer.handle(&path, "(_, context) => { globalThis.answered = context.signal; return 1; }").await;
    asker.ask(&path, "1").await;
    resolved(&answerer.session.close()).await;
    assert_same(&js("answered.aborted"), "false");
}

#[wasm_bindgen_test]
async fn a_listener_that_was_taken_out_hears_nothing() {
    let client = client().await;
    js("globalThis.heard = []");
    let stop = client.session.on("close", &js("() => heard.push('first')"));
    let _ = client.session.on("close", &js("() => heard.push('second')"));
    js_with("(stop(), stop())", &[("stop", &stop)]);
    resolved(&client.session.close()).await;
    assert_same(&js("heard"), "['second']");
}

#[wasm_bindgen_test]
async fn a_listener_that_throws_harms_neither_the_others_nor_the_session() {
    let client = client().await;
    js("(() => {
        globalThis.heard = [];
        globalThis.reported = [];
        globalThis.onReported = (event) => { reported.push(event.message); event.preventDefault(); };
        addEventListener('error', onReported);
    })()");
    let _ = client.session.on("statechange", &js("() => { throw new Error('kaputt'); }"));
    let _ = client.session.on("statechange", &js("({ to }) => heard.push(to)"));
    let _ = client.session.on("close", &js("() => heard.push('close')"));
    resolved(&client.session.close()).await;
    js("removeEventListener('error', onReported)");
    assert_same(&js("heard"), "['closed', 'close']");
    assert_same(&js("reported.map((message) => message.includes('kaputt'))"), "[true]");
}

/// The options for a session whose sockets are kept in `globalThis.sockets`.
const TRACED: &str = "{
    principal: 'control', credentials: 'password', log: 'off',
    webSocket: (globalThis.sockets = [], class extends WebSocket {
        constructor(url) { super(url); sockets.push(this); }
    }),
}";

#[wasm_bindgen_test]
async fn a_lost_connection_rejects_what_is_outstanding_and_ends_the_session() {
    let answerer = client().await;
    let asker = client_with(&TRACED.replacen('{', "{ reconnect: false,", 1)).await;
    record_events(&asker.session);
    let path = path("lost");
    let gate = gate();
    answerer.handle_with(&path, &gate.handler(), "{}").await;
    let request = asker.send(&path, "1", "{}");
    resolved(&gate.arrived()).await;
    js("sockets[0].close()");
    rejected(&request).await.is("CONNECTION_LOST", "unknown");
    let info = resolved(&asker.session.closed()).await;
    assert_same(&js_with("[info.code, info.byClient]", &[("info", &info)]), "['CONNECTION_ERROR', false]");
    assert_same(&js("events.map(([event]) => event)"), "['statechange', 'disconnect', 'close']");
    rejected(&asker.session.ping()).await.is("SESSION_CLOSED", "not-sent");
}

#[wasm_bindgen_test]
async fn a_lost_connection_is_replaced_and_what_is_outstanding_is_answered() {
    let answerer = client().await;
    let asker = client_with(TRACED).await;
    record_events(&asker.session);
    let path = path("kept");
    let gate = gate();
    answerer.handle_with(&path, &gate.handler(), "{}").await;
    let id = asker.session.id();
    let request = asker.send(&path, "1", "{}");
    resolved(&gate.arrived()).await;
    js("sockets[0].close()");
    gate.answer(&"while nobody listens".into());
    assert_same(&resolved(&request).await, "'while nobody listens'");
    assert_eq!((asker.session.state(), asker.session.id()), ("connected".into(), id));
    assert_same(
        &js("events.map(([event, detail]) => [event, detail.to ?? detail.lossless])"),
        "[['statechange', 'recovering'], ['disconnect', undefined], ['statechange', 'connected'], ['reconnect', true]]",
    );
}

#[wasm_bindgen_test]
async fn a_request_waits_for_a_connection_only_if_it_is_told_to() {
    let asker = client_with(TRACED).await;
    let path = path("waits");
    asker.handle(&path, "(request) => [request]").await;
    js("sockets[0].close()");
    let names = [("session", asker.as_js())];
    resolved(&promise("new Promise((resolve) => session.on('disconnect', resolve))", &names)).await;
    asker.ask_in_vain(&path, "1").await.is("NOT_CONNECTED", "not-sent");
    let late = asker.send(&path, "2", "{ whenDisconnected: 'wait', timeout: 0 }");
    rejected(&late).await.is("TIMED_OUT", "not-sent");
    let waiting = asker.send(&path, "3", "{ whenDisconnected: 'wait' }");
    assert_same(&resolved(&waiting).await, "[3]");
}

#[wasm_bindgen_test]
async fn a_broker_that_breaks_the_protocol_ends_the_session_and_nothing_else() {
    for message in
        ["'text'", "new ArrayBuffer()", "Uint8Array.of(63, 1, 2, 3).buffer", "Uint8Array.of(0, 255, 255).buffer"]
    {
        let client = client_with(&TRACED.replacen('{', "{ reconnect: false,", 1)).await;
        let path = path("broken");
        client.handle(&path, "() => 1").await;
        let outstanding = client.session.ping();
        js(&format!("sockets[0].onmessage(new MessageEvent('message', {{ data: {message} }}))"));
        rejected(&outstanding).await.is("CONNECTION_LOST", "unknown");
        let info = resolved(&client.session.closed()).await;
        assert_same(&js_with("info.code", &[("info", &info)]), "'TRANSPORT_ERROR'");
    }
    let client = client().await;
    resolved(&client.session.ping()).await;
}

#[wasm_bindgen_test]
async fn a_message_that_answers_nothing_is_ignored() {
    let client = client_with(TRACED).await;
    // A response, an error and a ping's response to a conversation that never was; topic messages of no topic.
    for bytes in ["6, 99, 4", "7, 99, 1, 65, 9", "6, 100", "4, 0, 0, 0, 1, 2", "5, 0, 0, 0, 1, 2"] {
        js(&format!("sockets[0].onmessage(new MessageEvent('message', {{ data: Uint8Array.of({bytes}).buffer }}))"));
    }
    resolved(&client.session.ping()).await;
    assert_eq!(client.session.state(), "connected");
}

#[wasm_bindgen_test]
async fn the_broker_closing_the_session_says_so() {
    let client = client_with(TRACED).await;
    let outstanding = client.session.ping();
    js("sockets[0].onmessage(new MessageEvent('message', { data: Uint8Array.of(28).buffer }))");
    rejected(&outstanding).await.is("SESSION_CLOSED", "unknown");
    let info = resolved(&client.session.closed()).await;
    assert_same(&js_with("[info.code, info.byClient]", &[("info", &info)]), "['CLOSED_BY_SERVER', false]");
}
