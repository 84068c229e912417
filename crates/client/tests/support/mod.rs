//! A broker in the process of the test, and a link to it that can be cut or frozen.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig};
use antiphon_broker::net::{Limits, Server, Site, serve};
use antiphon_client::{Options, Session};
use antiphon_protocol::value::{DataType, Value};
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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/diffusion", listener.local_addr().expect("an address"));
        let limits = Limits { max_message_size: config.max_message_size, ..Limits::default() };
        let broker = Broker::new(config, Access::development());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async {
            let server = Server { broker, site: Site::default(), limits };
            serve(listener, server, async { drop(stopped.await) }).await;
        });
        Self { url, stop: Some(stop), task }
    }

    pub async fn connect(&self) -> Session {
        Session::connect(&self.url, Options::default()).await.expect("connected")
    }

    /// Ends all sessions as a broker does that is told to stop.
    pub async fn stop(mut self) {
        self.stop.take();
        self.task.await.expect("stopped");
    }
}

/// Carries one connection to a broker.
pub struct Link {
    pub url: String,
    state: watch::Sender<LinkState>,
}

#[derive(Clone, Copy, PartialEq)]
enum LinkState {
    Works,
    Frozen,
    Cut,
}

impl Link {
    pub async fn to(broker: &TestBroker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/diffusion", listener.local_addr().expect("an address"));
        let target = broker.url["ws://".len()..].trim_end_matches("/diffusion").to_owned();
        let (state, mut watched) = watch::channel(LinkState::Works);
        tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.expect("accepted");
            let mut far = TcpStream::connect(target).await.expect("connected");
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = watched.wait_for(|state| *state != LinkState::Works) => {}
            }
            // Frozen, both connections stay open, and nothing moves.
            let _ = watched.wait_for(|state| *state == LinkState::Cut).await;
        });
        Self { url, state }
    }

    pub fn freeze(&self) {
        self.state.send_replace(LinkState::Frozen);
    }

    pub fn cut(&self) {
        self.state.send_replace(LinkState::Cut);
    }
}

pub fn text(text: &str) -> Value {
    Value::new(DataType::Binary, text.as_bytes().to_vec())
}
