//! The examples of `docs/rust.md`, word for word, and what they come to.

use std::error::Error;

use antiphon_client::{
    Messaging, Options, Outcome, Rejection, Request, RequestError, Session, SessionEvent, WhenDisconnected, connect,
};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::{Network, error_of, open, open_with, unique};

async fn greet(url: &str) -> Result<String, Box<dyn Error>> {
    let session = connect(url, Options::new()).await?;
    let messaging = session.messaging();
    let handler = async |request: Request| Ok(format!("Hello, {}!", request.decode::<String>()?));
    messaging.add_request_handler("greetings", handler).await?;

    let answer = messaging.send_request_to_path("greetings", "Ada").await?;
    session.close().await;
    Ok(answer.decode()?)
}

pub async fn greeting(broker: &str) {
    assert_eq!(greet(broker).await.expect("answered"), "Hello, Ada!");
}

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

async fn take_orders(messaging: &Messaging, path: &str) -> Result<(), RequestError> {
    let handler = async |request: Request| {
        let order: Order = request.decode()?;
        if order.count == 0 {
            return Err(Rejection::new("how many?"));
        }
        Ok(order.count * 3)
    };
    messaging.add_request_handler(path, handler).max_concurrent(8).session_properties(&["$Principal"]).await?;
    Ok(())
}

async fn order(messaging: &Messaging, path: &str, count: u32) -> Result<u32, RequestError> {
    let order = Order { item: "tea".to_owned(), count };
    let price = messaging.send_request_to_path(path, order).when_disconnected(WhenDisconnected::Wait).await?;
    Ok(price.decode()?)
}

pub async fn ordering(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("orders");
    take_orders(&messaging, &path).await.expect("registered");
    assert_eq!(order(&messaging, &path, 2).await, Ok(6));
    assert_eq!(error_of(order(&messaging, &path, 0).await), ("REJECTED_REQUEST".to_owned(), Outcome::Failed));
}

async fn ask_all(messaging: &Messaging, filter: &str) -> Result<u32, RequestError> {
    let mut answers = messaging.gather(filter, "load", ()).await?;
    let mut sum = 0;
    while let Some(answer) = answers.try_next().await? {
        match answer.outcome {
            Ok(load) => sum += load.decode::<u32>()?,
            Err(error) => println!("{} does not say: {error}", answer.session),
        }
    }
    Ok(sum)
}

pub async fn asking_all(broker: &str) {
    let name = unique("asked");
    let mut sessions = Vec::new();
    for load in [Ok(3_u32), Err(Rejection::new("not telling")), Ok(4)] {
        let (session, messaging) = open_with(broker, Options::new().property("asked", &name)).await;
        let handler = move |_| std::future::ready(load.clone());
        messaging.add_stream_handler("load", handler).addressed(true).await.expect("added");
        sessions.push(session);
    }
    let (_session, messaging) = open(broker).await;
    assert_eq!(ask_all(&messaging, &format!("asked is '{name}'")).await, Ok(7));
}

async fn order_once(messaging: &Messaging, path: &str) -> Result<(), RequestError> {
    match order(messaging, path, 1).await {
        Err(error) if error.code() == "UNHANDLED_MESSAGE" => println!("nobody takes orders"),
        Err(error) if error.outcome() == Outcome::Unknown => println!("perhaps ordered: {error}"),
        Err(error) => return Err(error),
        Ok(price) => println!("ordered for {price}"),
    }
    Ok(())
}

pub async fn looking_at_errors(broker: &str) {
    let (session, messaging) = open(broker).await;
    let path = unique("orders");
    assert_eq!(order_once(&messaging, &path).await, Ok(()));
    take_orders(&messaging, &path).await.expect("registered");
    assert_eq!(order_once(&messaging, &path).await, Ok(()));
    session.close().await;
    assert_eq!(error_of(order_once(&messaging, &path).await), ("SESSION_CLOSED".to_owned(), Outcome::NotSent));
}

async fn watch(session: &Session) -> bool {
    let mut events = session.events();
    while let Some(event) = events.next().await {
        match event {
            SessionEvent::Disconnected { reason } => println!("{reason}"),
            SessionEvent::Reconnected { lossless, .. } => return lossless,
            _ => {}
        }
    }
    false
}

pub async fn watching(network: &impl Network) {
    let (session, _) = open(&network.url()).await;
    let mut events = session.events();
    let cut = async {
        network.take_down();
        while !matches!(events.next().await, Some(SessionEvent::Disconnected { .. })) {}
        network.bring_up();
    };
    assert!(futures_util::join!(watch(&session), cut).0);
}
