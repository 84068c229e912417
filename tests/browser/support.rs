//! What the tests are written in: sessions, requests and handlers in one call each, and JavaScript as text.

use std::cell::Cell;
use std::fmt;

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// The broker that the tests use.
pub const BROKER: &str = match option_env!("BROKER_URL") {
    Some(url) if !url.is_empty() => url,
    _ => "ws://127.0.0.1:8080",
};

/// A principal that may do all that is tested here.
pub const CONTROL: &str = "{ principal: 'control', credentials: 'password', log: 'off' }";

#[wasm_bindgen]
extern "C" {
    /// `support.js`.
    type Support;
    #[wasm_bindgen(method, catch)]
    fn load(this: &Support, names: Array, sources: Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn evaluate(this: &Support, expression: &str, names: Array, values: Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, js_name = inTime)]
    fn in_time(this: &Support, promise: &Promise) -> Promise;
    #[wasm_bindgen(method)]
    fn same(this: &Support, a: &JsValue, b: &JsValue) -> bool;
    #[wasm_bindgen(method)]
    fn show(this: &Support, value: &JsValue) -> String;
    #[wasm_bindgen(method)]
    fn gate(this: &Support) -> Gate;
    #[wasm_bindgen(method, js_name = endRun)]
    fn end_run(this: &Support, line: &str) -> bool;

    /// A request handler that answers when it is told.
    pub type Gate;
    #[wasm_bindgen(method, getter)]
    pub fn handler(this: &Gate) -> JsValue;
    /// Resolves with request and context when a request has arrived.
    #[wasm_bindgen(method, getter)]
    pub fn arrived(this: &Gate) -> Promise;
    #[wasm_bindgen(method)]
    pub fn answer(this: &Gate, value: &JsValue);
}

/// The client's JavaScript, each module after those that it imports.
const MODULES: [(&str, &str); 20] = [
    ("error.js", include_str!("../../src/error.js")),
    ("platform.js", include_str!("../../src/platform.js")),
    ("tables.js", include_str!("../../src/tables.js")),
    ("value-reader.js", include_str!("../../src/value-reader.js")),
    ("value-writer.js", include_str!("../../src/value-writer.js")),
    ("value.js", include_str!("../../src/value.js")),
    ("options.js", include_str!("../../src/options.js")),
    ("calls.js", include_str!("../../src/calls.js")),
    ("filter-calls.js", include_str!("../../src/filter-calls.js")),
    ("handler.js", include_str!("../../src/handler.js")),
    ("handlers.js", include_str!("../../src/handlers.js")),
    ("client-handle.js", include_str!("../../src/client-handle.js")),
    ("inspector.js", include_str!("../../src/inspector.js")),
    ("lifecycle.js", include_str!("../../src/lifecycle.js")),
    ("services.js", include_str!("../../src/services.js")),
    ("gather.js", include_str!("../../src/gather.js")),
    ("socket.js", include_str!("../../src/socket.js")),
    ("session-parts.js", include_str!("../../src/session-parts.js")),
    ("messaging.js", include_str!("../../src/messaging.js")),
    ("session.js", include_str!("../../src/session.js")),
];

thread_local! {
    static SUPPORT: Support = js_sys::eval(include_str!("support.js")).unwrap().unchecked_into();

    /// What the modules export, by file name. The pieces of JavaScript in the tests have some of it by name.
    static LOADED: JsValue = {
        let names = MODULES.iter().map(|(name, _)| JsValue::from(*name)).collect();
        let sources = MODULES.iter().map(|(_, source)| JsValue::from(*source)).collect();
        let loaded = SUPPORT.with(|support| support.load(names, sources)).unwrap();
        for (module, name) in [
            ("error.js", "ConnectError"),
            ("error.js", "MessagingError"),
            ("error.js", "RejectedRequestError"),
            ("value.js", "datatypes"),
        ] {
            Reflect::set(&js_sys::global(), &name.into(), &export(&loaded, module, name)).unwrap();
        }
        loaded
    };
}

fn export(loaded: &JsValue, module: &str, name: &str) -> JsValue {
    Reflect::get(&Reflect::get(loaded, &module.into()).unwrap(), &name.into()).unwrap()
}

// The classes of the package as JavaScript has them. No method is marked `catch`: what throws fails the test.
#[wasm_bindgen]
extern "C" {
    /// Class `Session`.
    #[derive(Clone)]
    pub type Session;
    #[wasm_bindgen(method, getter)]
    pub fn id(this: &Session) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn principal(this: &Session) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn state(this: &Session) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn messaging(this: &Session) -> Messaging;
    #[wasm_bindgen(method, getter)]
    pub fn closed(this: &Session) -> Promise;
    #[wasm_bindgen(method)]
    pub fn on(this: &Session, event: &str, listener: &JsValue) -> JsValue;
    #[wasm_bindgen(method)]
    pub fn ping(this: &Session) -> Promise;
    #[wasm_bindgen(method, js_name = getProperties)]
    pub fn properties(this: &Session, keys: &JsValue) -> Promise;
    #[wasm_bindgen(method, js_name = changePrincipal)]
    pub fn change_principal(this: &Session, principal: &JsValue, credentials: &JsValue) -> Promise;
    #[wasm_bindgen(method)]
    pub fn close(this: &Session) -> Promise;

    /// Class `Messaging`.
    pub type Messaging;
    #[wasm_bindgen(method, js_name = sendRequestToPath)]
    pub fn send(this: &Messaging, path: &str, request: &JsValue, options: &JsValue) -> Promise;
    #[wasm_bindgen(method, js_name = addRequestHandler)]
    pub fn add(this: &Messaging, path: &str, handler: &JsValue, options: &JsValue) -> Promise;

    /// Class `Registration`.
    pub type Registration;
    #[wasm_bindgen(method, getter)]
    pub fn path(this: &Registration) -> String;
    #[wasm_bindgen(method)]
    pub fn close(this: &Registration) -> Promise;
}

fn evaluate(expression: &str, names: &[(&str, &JsValue)]) -> Result<JsValue, JsValue> {
    LOADED.with(|_| ());
    let values = names.iter().map(|(_, value)| *value).collect();
    let names = names.iter().map(|(name, _)| JsValue::from(*name)).collect();
    SUPPORT.with(|support| support.evaluate(expression, names, values))
}

/// The promise, but it does settle.
fn in_time(promise: &Promise) -> Promise {
    SUPPORT.with(|support| support.in_time(promise))
}

/// A value for the message of a failed test.
fn show(value: &JsValue) -> String {
    SUPPORT.with(|support| support.show(value))
}

/// A request handler that answers when it is told.
pub fn gate() -> Gate {
    SUPPORT.with(Support::gate)
}

/// The value of a JavaScript expression.
pub fn js(expression: &str) -> JsValue {
    js_with(expression, &[])
}

/// The value of a JavaScript expression that uses names.
pub fn js_with(expression: &str, names: &[(&str, &JsValue)]) -> JsValue {
    evaluate(expression, names).unwrap_or_else(|error| panic!("{expression} threw {}", show(&error)))
}

/// Why a promise that a JavaScript expression is, a call, rejects; `None` if it does not, or if the call throws.
pub async fn rejection(call: &str, names: &[(&str, &JsValue)]) -> Option<Failure> {
    let promise = evaluate(call, names).ok()?.dyn_into().ok()?;
    JsFuture::from(in_time(&promise)).await.err().map(Failure)
}

/// A promise that a JavaScript expression is.
pub fn promise(expression: &str, names: &[(&str, &JsValue)]) -> Promise {
    let value = js_with(expression, names);
    value.dyn_into().unwrap_or_else(|value| panic!("{expression} is {}, no promise", show(&value)))
}

/// What a promise resolves with.
pub async fn resolved(promise: &Promise) -> JsValue {
    match JsFuture::from(in_time(promise)).await {
        Ok(value) => value,
        Err(error) => panic!("rejected with {}", show(&error)),
    }
}

/// What a promise rejects with.
pub async fn rejected(promise: &Promise) -> Failure {
    match JsFuture::from(in_time(promise)).await {
        Ok(value) => panic!("expected a rejection, resolved with {}", show(&value)),
        Err(error) => Failure(error),
    }
}

/// Fails unless `actual` is what the JavaScript expression is, types and all.
#[track_caller]
pub fn assert_same(actual: &JsValue, expected: &str) {
    let same = SUPPORT.with(|support| support.same(actual, &js(expected)));
    assert!(same, "{} is not {expected}", show(actual));
}

/// An error that JavaScript would catch.
pub struct Failure(pub JsValue);

impl Failure {
    /// For programs.
    pub fn code(&self) -> String {
        self.text("code")
    }

    /// For people.
    pub fn message(&self) -> String {
        self.text("message")
    }

    /// Fails unless it is a `MessagingError` with this code and outcome.
    #[track_caller]
    pub fn is(&self, code: &str, outcome: &str) {
        let found = (self.class(), self.text("code"), self.text("outcome"));
        assert_eq!(found, ("MessagingError".into(), code.into(), outcome.into()), "{self}");
    }

    /// Fails unless it is a `ConnectError` with this code.
    #[track_caller]
    pub fn is_of_connect(&self, code: &str, retryable: bool) {
        let found = (self.class(), self.text("code"), self.get("retryable").as_bool());
        assert_eq!(found, ("ConnectError".into(), code.into(), Some(retryable)), "{self}");
    }

    /// A member of it; undefined if it has none, or is no object.
    pub fn get(&self, member: &str) -> JsValue {
        Reflect::get(&self.0, &member.into()).unwrap_or(JsValue::UNDEFINED)
    }

    fn class(&self) -> String {
        let classes =
            "[MessagingError, ConnectError].find((it) => error instanceof it && error instanceof Error)?.name";
        js_with(classes, &[("error", &self.0)]).as_string().unwrap_or_default()
    }

    fn text(&self, member: &str) -> String {
        self.get(member).as_string().unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(&self.0))
    }
}

/// A session that is closed when it goes out of scope.
pub struct Client {
    pub session: Session,
}

/// A new session of the principal `control`.
pub async fn client() -> Client {
    client_with(CONTROL).await
}

/// A new session; `options` are those of `connect`.
pub async fn client_with(options: &str) -> Client {
    match JsFuture::from(in_time(&connect(BROKER, options))).await {
        Ok(session) => Client { session: session.unchecked_into() },
        Err(error) => fail_to_connect(Failure(error)).await,
    }
}

/// Two sessions: one to ask, one to answer.
pub async fn two_clients() -> (Client, Client) {
    (client().await, client().await)
}

/// `connect` as it is; `options` is an expression.
pub fn connect(url: &str, options: &str) -> Promise {
    connect_with(&url.into(), &js(&format!("({options})")))
}

/// `connect` with whatever JavaScript passes.
pub fn connect_with(url: &JsValue, options: &JsValue) -> Promise {
    thread_local! {
        static CREATE: JsValue = Closure::<dyn Fn(JsValue, String, Array) -> JsValue>::new(
            |link: JsValue, address, options: Array| {
                antiphon::Client::new(link.unchecked_into(), address, &options).into()
            },
        )
        .into_js_value();
    }
    LOADED.with(|loaded| {
        let prepare: Function = export(loaded, "session.js", "prepare").unchecked_into();
        let open: Function = export(loaded, "session.js", "open").unchecked_into();
        let prepared = match prepare.call2(&JsValue::UNDEFINED, url, options) {
            Ok(prepared) => prepared,
            Err(error) => return Promise::reject(&error),
        };
        let opened = CREATE.with(|create| open.call3(&JsValue::UNDEFINED, create, &prepared, &0.into()));
        opened.unwrap().unchecked_into()
    })
}

/// Without a broker no test can do anything: says so once, instead of failing every test.
async fn fail_to_connect(error: Failure) -> ! {
    if error.code() == "CONNECTION_ERROR" {
        let line = format!(
            "error: these tests need a broker and none listens at {BROKER}: `cargo run --release -p antiphon-broker` \
             starts one there, and BROKER_URL names another when the tests are built"
        );
        if SUPPORT.with(|support| support.end_run(&line)) {
            std::future::pending::<()>().await;
        }
        panic!("{line}");
    }
    panic!("no session: {error}");
}

/// A message path that no other test and no other run uses.
pub fn path(name: &str) -> String {
    thread_local! {
        static RUN: u32 = (js_sys::Math::random() * f64::from(u32::MAX)) as u32;
        static PATHS: Cell<u32> = const { Cell::new(0) };
    }
    let number = PATHS.replace(PATHS.get() + 1);
    RUN.with(|run| format!("test/{run:x}/{number}/{name}"))
}

impl Client {
    /// Sends a request, an expression, and waits for the response.
    pub async fn ask(&self, path: &str, request: &str) -> JsValue {
        resolved(&self.send(path, request, "{}")).await
    }

    /// Sends a request, an expression, and waits for the error.
    pub async fn ask_in_vain(&self, path: &str, request: &str) -> Failure {
        rejected(&self.send(path, request, "{}")).await
    }

    /// Sends a request; request and options are expressions.
    pub fn send(&self, path: &str, request: &str, options: &str) -> Promise {
        self.session.messaging().send(path, &js(request), &js(&format!("({options})")))
    }

    /// Registers a handler, an expression.
    pub async fn handle(&self, path: &str, handler: &str) -> Registration {
        self.handle_with(path, &js(handler), "{}").await
    }

    /// Registers a handler; the options are an expression.
    pub async fn handle_with(&self, path: &str, handler: &JsValue, options: &str) -> Registration {
        let added = self.session.messaging().add(path, handler, &js(&format!("({options})")));
        resolved(&added).await.unchecked_into()
    }

    /// The session, for expressions.
    pub fn as_js(&self) -> &JsValue {
        &self.session
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.session.close();
    }
}
