//! The broker's listener, sending back what arrives: what tests of conformance to WebSocket talk to
//! (tests/e2e/conformance.test.mjs). Prints its address.

use std::future::pending;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig};
use antiphon_broker::net::{Server, serve};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let broker = Broker::new(BrokerConfig::default(), Access::development());
    serve(vec![listener], Server::development(broker), pending()).await;
    Ok(())
}
