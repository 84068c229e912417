//! The page: a button that greets, and the answer.

use yew::platform::spawn_local;
use yew::{Html, component, html, use_effect_with, use_state};

use crate::greetings::{greet, open};

#[component]
pub fn Page() -> Html {
    let session = use_state(|| None);
    let text = use_state(|| "connecting".to_owned());
    let (opened, said) = (session.clone(), text.clone());
    use_effect_with((), move |()| {
        spawn_local(async move {
            match open(&server()).await {
                Ok(session) => opened.set(Some(session)),
                Err(error) => said.set(error.to_string()),
            }
        });
    });
    let (asking, said) = (session.clone(), text.clone());
    let onclick = move |_| {
        let (asking, said) = (asking.clone(), said.clone());
        spawn_local(async move {
            let Some(session) = &*asking else { return };
            said.set(greet(session, "a page").await.unwrap_or_else(|error| error.to_string()));
        });
    };
    html! {
        <>
            <button {onclick} disabled={session.is_none()}>{ "Greet" }</button>
            <output>{ &*text }</output>
        </>
    }
}

/// The server that the page is from.
fn server() -> String {
    let host = web_sys::window().and_then(|window| window.location().host().ok());
    format!("ws://{}/antiphon", host.unwrap_or_default())
}
