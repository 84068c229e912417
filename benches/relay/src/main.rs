//! The least work that a broker can do and still move WebSocket frames between two browsers: `antiphon-relay`.
//!
//! It knows the borders of frames and how they are masked, nothing else. A connection joins a channel with
//! `GET /CHANNEL?role=handler` or `?role=requester`. Frames of the requester go to every handler of the channel, frames of
//! a handler to the requester. One thread, one buffer to receive into, one write for each recipient and read: frames that
//! arrived together leave together.
//!
//! No server to imitate: it has no back-pressure, no limits and no deadlines, and answers a ping before earlier frames.

mod frames;
mod handshake;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Error, ErrorKind};
use std::net::Ipv4Addr;
use std::rc::Rc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

use frames::{Control, unmask};
use handshake::{Role, accept};

fn main() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("listening on ws://{}", listener.local_addr()?);
        let relay = Rc::new(Relay { received: RefCell::new(vec![0; RECEIVE_BUFFER]), ..Relay::default() });
        loop {
            // A connection that cannot be accepted is the next one's business.
            let Ok((socket, _)) = listener.accept().await else { continue };
            let relay = relay.clone();
            spawn_local(async move { relay.serve(socket).await });
        }
    })
}

const RECEIVE_BUFFER: usize = 256 * 1024;

/// The channels, and buffers that all connections share: no task waits while it uses them.
#[derive(Default)]
struct Relay {
    channels: RefCell<HashMap<String, Rc<RefCell<Channel>>>>,
    received: RefCell<Vec<u8>>,
    outgoing: RefCell<Vec<u8>>,
}

#[derive(Default)]
struct Channel {
    requester: Option<Rc<Connection>>,
    handlers: Vec<Rc<Connection>>,
}

impl Relay {
    async fn serve(&self, mut socket: TcpStream) -> Result<(), Error> {
        socket.set_nodelay(true)?;
        let joined = accept(&mut socket).await?;
        let connection = Rc::new(Connection { socket, queue: RefCell::default(), queued: Notify::new() });
        let channel = self.channels.borrow_mut().entry(joined.channel.clone()).or_default().clone();
        match joined.role {
            Role::Handler => channel.borrow_mut().handlers.push(connection.clone()),
            Role::Requester => channel.borrow_mut().requester = Some(connection.clone()),
        }

        let writer = connection.clone();
        let writer = spawn_local(async move { writer.write_queue().await });
        let ended = self.read(&connection, &channel, joined.role, joined.rest).await;
        writer.abort();

        let mut members = channel.borrow_mut();
        members.handlers.retain(|handler| !Rc::ptr_eq(handler, &connection));
        members.requester.take_if(|requester| Rc::ptr_eq(requester, &connection));
        if members.requester.is_none() && members.handlers.is_empty() {
            self.channels.borrow_mut().remove(&joined.channel);
        }
        ended
    }

    /// Forwards what a connection sends, until it closes. `partial` is the part of a frame that has arrived already.
    async fn read(
        &self,
        connection: &Connection,
        channel: &RefCell<Channel>,
        role: Role,
        mut partial: Vec<u8>,
    ) -> Result<(), Error> {
        loop {
            connection.socket.readable().await?;
            let mut received = self.received.borrow_mut();
            let length = match connection.socket.try_read(&mut received) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let mut outgoing = self.outgoing.borrow_mut();
            outgoing.clear();
            let control = if partial.is_empty() {
                let (used, control) = unmask(&mut received[..length], &mut outgoing);
                partial.extend_from_slice(&received[used..length]);
                control
            } else {
                partial.extend_from_slice(&received[..length]);
                let (used, control) = unmask(&mut partial, &mut outgoing);
                partial.drain(..used);
                if partial.is_empty() {
                    partial = Vec::new(); // an idle connection keeps no buffer
                }
                control
            };
            channel.borrow().forward(role, &outgoing);
            match control {
                Control::None => {}
                Control::Pong(pong) => connection.send(&pong),
                Control::Close => return Ok(()),
            }
        }
    }
}

impl Channel {
    fn forward(&self, from: Role, frames: &[u8]) {
        if frames.is_empty() {
            return;
        }
        match from {
            Role::Handler => self.requester.iter().for_each(|requester| requester.send(frames)),
            Role::Requester => self.handlers.iter().for_each(|handler| handler.send(frames)),
        }
    }
}

struct Connection {
    socket: TcpStream,
    /// What the socket did not take at once.
    queue: RefCell<Vec<u8>>,
    queued: Notify,
}

impl Connection {
    fn send(&self, bytes: &[u8]) {
        let mut queue = self.queue.borrow_mut();
        // An error shows when this connection is read.
        let sent = if queue.is_empty() { self.socket.try_write(bytes).unwrap_or(0) } else { 0 };
        if sent < bytes.len() {
            queue.extend_from_slice(&bytes[sent..]);
            self.queued.notify_one();
        }
    }

    async fn write_queue(&self) -> Result<(), Error> {
        loop {
            self.queued.notified().await;
            while !self.queue.borrow().is_empty() {
                self.socket.writable().await?;
                let mut queue = self.queue.borrow_mut();
                match self.socket.try_write(&queue) {
                    Ok(sent) => drop(queue.drain(..sent)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
