//! Answers greetings and greets others: as a page, made with Yew, or as a native program.

mod greetings;

#[cfg(target_arch = "wasm32")]
mod page;

#[cfg(target_arch = "wasm32")]
fn main() {
    yew::Renderer::<page::Page>::new().render();
}

#[cfg(not(target_arch = "wasm32"))]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: antiphon-example URL")?;
    let session = greetings::open(&url).await?;
    println!("{}", greetings::greet(&session, "a program").await?);
    // It answers until it is ended.
    std::future::pending().await
}
