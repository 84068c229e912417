//! What happens to the page that its connections do not tell. In a worker and in Node.js, where there is no page, nothing.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/session.js")]
extern "C" {
    type PageListeners;

    /// Calls `listener` with the number of a [`PageEvent`].
    #[wasm_bindgen(constructor, js_class = PageListeners)]
    fn new(listener: &JsValue) -> PageListeners;

    #[wasm_bindgen(method)]
    fn stop(this: &PageListeners);
}

/// Something that happened to the page, numbered as in `session.js`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PageEvent {
    /// It is left for good.
    Left,
    /// It comes back from the back/forward cache, where no connection lives.
    Restored,
    /// It was frozen or hidden, or is back on the network.
    Woken,
}

/// Listens to the page; stops when it is dropped.
pub struct Page {
    listeners: PageListeners,
    _closure: Closure<dyn Fn(u8)>,
}

impl Page {
    pub fn watch(listen: impl Fn(PageEvent) + 'static) -> Self {
        let closure = Closure::<dyn Fn(u8)>::new(move |number| {
            listen(match number {
                0 => PageEvent::Left,
                1 => PageEvent::Restored,
                _ => PageEvent::Woken,
            });
        });
        Self { listeners: PageListeners::new(closure.as_ref()), _closure: closure }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.listeners.stop();
    }
}
