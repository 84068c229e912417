//! A broker in the process of the test, and a network between it and its sessions.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig};
use antiphon_broker::identity::{self, Identities, Known};
use antiphon_broker::net::{Limits, Server, serve};
use antiphon_client::{Options, Session, connect};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Longer than anything takes; what needs it has failed.
pub const LONG: Duration = Duration::from_secs(30);

pub struct TestBroker {
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl TestBroker {
    pub async fn start() -> Self {
        Self::with(BrokerConfig::default()).await
    }

    pub async fn with(config: BrokerConfig) -> Self {
        let limits = Limits { max_message_size: config.max_message_size, ..Limits::default() };
        let broker = Broker::new(config, Access::development());
        Self::serving(Server { limits, ..Server::development(broker) }).await
    }

    /// One that believes what these identities say.
    pub async fn knowing(known: Known) -> Self {
        let access = Access::outside(Access::development().permissions);
        let identities = Identities::new(known, &identity::Limits::default()).into();
        let broker = Broker::new(BrokerConfig::default(), access);
        Self::serving(Server { identities, ..Server::development(broker) }).await
    }

    pub async fn serving(server: Server) -> Self {
        let scheme = if server.entrance.borrow().tls.is_some() { "wss" } else { "ws" };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("{scheme}://{}/diffusion", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async {
            serve(vec![listener], server, async { drop(stopped.await) }).await;
        });
        Self { url, stop: Some(stop), task }
    }

    pub async fn connect(&self) -> Session {
        connect(&self.url, Options::new().reconnect_timeout(Duration::ZERO)).await.expect("connected")
    }

    /// The scheme of its address, and its host and port.
    fn parts(&self) -> (&str, &str) {
        let (scheme, rest) = self.url.split_once("://").expect("a URL");
        (scheme, rest.trim_end_matches("/diffusion"))
    }

    /// Tells it to stop, with no time for what is under way.
    pub async fn stop(mut self) {
        self.stop.take();
        self.task.await.expect("stopped");
    }
}

/// Carries connections to a broker.
pub struct Cable {
    pub url: String,
    condition: watch::Sender<Condition>,
    /// Host and port of the broker.
    target: watch::Sender<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Condition {
    Works,
    /// Connections stay open, and nothing moves.
    Frozen,
    /// Connections are cut, and no new ones are made.
    Cut,
}

impl Cable {
    /// Its sessions use the door with nothing in the address, those of the broker itself the official one.
    pub async fn to(broker: &TestBroker) -> Self {
        Self::from(TcpListener::bind("127.0.0.1:0").await.expect("a free port"), broker)
    }

    pub fn from(listener: TcpListener, broker: &TestBroker) -> Self {
        let (scheme, target) = broker.parts();
        let url = format!("{scheme}://{}/antiphon", listener.local_addr().expect("an address"));
        let (condition, watched) = watch::channel(Condition::Works);
        let (target, leads_to) = watch::channel(target.to_owned());
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.expect("accepted");
                let target = leads_to.borrow().clone();
                tokio::spawn(carry(near, target, watched.clone()));
            }
        });
        Self { url, condition, target }
    }

    /// Connections to come are carried to another broker.
    pub fn lead_to(&self, broker: &TestBroker) {
        self.target.send_replace(broker.parts().1.to_owned());
    }

    pub fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }
}

async fn carry(mut near: TcpStream, target: String, mut condition: watch::Receiver<Condition>) {
    if *condition.borrow() == Condition::Cut {
        return;
    }
    let mut far = TcpStream::connect(target).await.expect("connected");
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = condition.wait_for(|condition| *condition != Condition::Works) => {}
    }
    let _ = condition.wait_for(|condition| *condition == Condition::Cut).await;
}
