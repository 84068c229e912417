//! What the page and the native program do, in the same words.

use std::error::Error;

use antiphon_client::{Options, Request, Session, connect};

/// Opens a session that answers greetings.
pub async fn open(url: &str) -> Result<Session, Box<dyn Error>> {
    let session = connect(url, Options::new()).await?;
    let answer = async |request: Request| Ok(format!("hello {}, this is Rust", request.decode::<String>()?));
    session.messaging().add_request_handler("greetings/rust", answer).await?;
    Ok(session)
}

/// Greets a session in JavaScript, and returns its answer.
pub async fn greet(session: &Session, name: &str) -> Result<String, Box<dyn Error>> {
    let answer = session.messaging().send_request_to_path("greetings/javascript", name).await?;
    Ok(answer.decode()?)
}
