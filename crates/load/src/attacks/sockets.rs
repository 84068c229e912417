//! Attacks by what is sent or read, and when.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use antiphon_protocol::wire::layouts::{SendToPath, SendToSession, SerialisedValue};
use antiphon_protocol::wire::services::{MessagingReceiverServer, MessagingSend, UserPing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::messages::{register, to_filter};
use super::peer::{Peer, Wish, head, tcp, upgrade_request};
use super::target::{Done, Target};

const MIB: usize = 1 << 20;
/// First bytes of frames.
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
const FIRST_OF_MANY: u8 = 0x02;
const CONTINUATION: u8 = 0x00;
/// How long one connection is written to before the next.
const TURN: Duration = Duration::from_millis(100);
/// Connections that may be opened at once from one address.
const AT_ONCE: usize = 500;

fn binary(bytes: &[u8]) -> SerialisedValue<'_> {
    SerialisedValue { type_name: "binary", bytes }
}

fn open(target: Target, usual: usize) -> io::Result<Vec<Peer>> {
    (0..target.count(usual)).map(|_| Peer::connect(target.broker, &Wish::default())).collect()
}

/// Sends the same again and again from connections that read nothing.
fn repeat_unread(target: Target, mut peers: Vec<Peer>, bytes: &[u8]) -> Done {
    let (mut times, mut held) = (0, Vec::new());
    while target.is_on() {
        let Some(mut peer) = peers.pop() else { break };
        // Who is closed does no more.
        let Ok(is_sent) = peer.send_until(bytes, Instant::now() + TURN) else { continue };
        times += u64::from(is_sent);
        if is_sent {
            peers.insert(0, peer);
        } else {
            // It is in the middle of a message, and full.
            held.push(peer);
        }
    }
    thread::sleep(target.left());
    held.append(&mut peers);
    Done { times, held, ..Done::default() }
}

/// Many connections, on which much to do comes at the same moment, again and again.
pub fn crowd(target: Target) -> io::Result<Done> {
    let mut peers = open(target, AT_ONCE)?;
    let Some(ping) = peers.first_mut().map(|peer| peer.request::<UserPing>(&())) else { return Ok(Done::default()) };
    let burst = ping.repeat((16 << 10) / ping.len());
    let mut times = 0;
    while target.is_on() {
        for peer in &mut peers {
            peer.send_until(&burst, target.until)?;
        }
        for peer in &mut peers {
            while peer.read_some(64 << 10).is_some_and(|read| read > 0) {}
        }
        times += 1;
    }
    Ok(Done { times, held: peers, ..Done::default() })
}

/// What is done on many connections, on one thread: many threads would leave a broker and a neighbour on the same machine no
/// processor, whatever the broker does.
fn together<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> io::Result<Vec<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { tasks.into_iter().collect::<JoinSet<_>>().join_all().await }))
}

/// A connection as such tasks use it.
fn shared(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// Sends messages of 1 MiB to each of some sessions, over `time` if there is one.
fn send_to_each(target: Target, readers: &[Peer], size: u32, time: Duration) -> io::Result<()> {
    let bytes = vec![0; MIB];
    let mut tasks = Vec::new();
    for reader in readers {
        let mut sender = Peer::connect(target.broker, &Wish::default())?;
        let request = SendToSession { session: reader.session, path: "a", request: binary(&bytes) };
        let message = sender.request::<MessagingReceiverServer>(&request);
        tasks.push(async move {
            let (mut source, mut sink) = shared(sender.stream.try_clone()?)?.into_split();
            let send = async {
                for _ in 0..size {
                    sink.write_all(&message).await?;
                    tokio::time::sleep(time / size).await;
                }
                sink.shutdown().await
            };
            let discard = async { tokio::io::copy(&mut source, &mut tokio::io::sink()).await };
            // Who is not read from in time, or closed, sends no more.
            let _ = tokio::time::timeout(target.left(), async { tokio::join!(send, discard) }).await;
            io::Result::Ok(())
        });
    }
    together(tasks)?.into_iter().collect()
}

/// Readers that stop, each of whom is sent 30 MiB by somebody else.
pub fn stopped(target: Target) -> io::Result<Done> {
    let readers = open(target, 20)?;
    send_to_each(target, &readers, 30, Duration::ZERO)?;
    thread::sleep(target.left());
    Ok(Done { times: readers.len() as u64, held: readers, ..Done::default() })
}

/// Readers that read 1 KiB a second, each of whom is sent 20 MiB.
pub fn slow(target: Target) -> io::Result<Done> {
    let mut readers = open(target, 100)?;
    send_to_each(target, &readers, 20, target.left() / 2)?;
    while target.is_on() {
        for reader in &mut readers {
            reader.read_some(1024);
        }
        thread::sleep(target.left().min(Duration::from_secs(1)));
    }
    Ok(Done { times: readers.len() as u64, held: readers, ..Done::default() })
}

/// WebSocket pings from a client that does not read.
pub fn unread_pongs(target: Target) -> io::Result<Done> {
    let ping = [head(PING, 125), vec![0; 125]].concat();
    Ok(repeat_unread(target, open(target, 1)?, &ping.repeat(1000)))
}

/// Pings of the protocol from clients that do not read.
pub fn unread_answers(target: Target) -> io::Result<Done> {
    let mut peers = open(target, 4)?;
    let ping = peers[0].request::<UserPing>(&());
    Ok(repeat_unread(target, peers, &ping.repeat(1000)))
}

/// Requests at full speed from a client that reads no answer, to a handler that does the same.
pub fn flood(target: Target) -> io::Result<Done> {
    let mut handler = Peer::connect(target.broker, &Wish::default())?;
    let registration = register(&mut handler, "flood", &[]);
    handler.send(&registration)?;
    let mut asker = Peer::connect(target.broker, &Wish::default())?;
    let request = SendToPath { path: "flood", request: binary(&[0; 16]) };
    let mut times = 0;
    while target.is_on() {
        let bytes: Vec<u8> = (0..1000).flat_map(|_| asker.request::<MessagingSend>(&request)).collect();
        if asker.send_until(&bytes, target.until).is_err() {
            break;
        }
        times += 1000;
    }
    thread::sleep(target.left());
    Ok(Done { times, held: vec![handler, asker], ..Done::default() })
}

/// Large requests to everybody, one after the other, of whom many do not read.
pub fn unread_everybody(target: Target) -> io::Result<Done> {
    let mut peers = open(target, 100)?;
    let mut sender = Peer::connect(target.broker, &Wish::default())?;
    sender.discard()?;
    let mut times = 0;
    while target.is_on() {
        let request = to_filter(&mut sender, "all", &vec![0; 512 << 10]);
        if sender.send_until(&request, target.until).is_err() {
            break;
        }
        times += 1;
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(target.left());
    peers.push(sender);
    Ok(Done { times, held: peers, ..Done::default() })
}

/// Messages as large as they may be, one after the other on many connections.
pub fn large(target: Target) -> io::Result<Done> {
    let mut peers = open(target, 64)?;
    let value = vec![0; target.largest_value()];
    let message = peers[0].request::<MessagingSend>(&SendToPath { path: "nobody", request: binary(&value) });
    drop(value);
    let times = thread::scope(|scope| {
        let send = |peer: &mut Peer| {
            let mut times = 0;
            while target.is_on() && matches!(peer.send_until(&message, target.until), Ok(true)) {
                times += 1;
            }
            times
        };
        let threads: Vec<_> = peers.iter_mut().map(|peer| scope.spawn(move || send(peer))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    Ok(Done { times, held: peers, ..Done::default() })
}

/// Nearly all of a message that is as large as it may be on each of many connections, and then silence. It comes in 32 parts.
pub fn unfinished(target: Target) -> io::Result<Done> {
    let peers = open(target, (512 * MIB).div_ceil(target.largest))?;
    let part = vec![0; target.largest / 32];
    let frame = |first| -> Arc<[u8]> { [head(first, part.len()), part.clone()].concat().into() };
    let (first, next) = (frame(FIRST_OF_MANY), frame(CONTINUATION));
    let streams = peers.iter().map(|peer| peer.stream.try_clone()).collect::<io::Result<Vec<_>>>()?;
    together(streams.into_iter().map(|stream| {
        let frames = [first.clone()].into_iter().chain(std::iter::repeat_n(next.clone(), 30));
        async move {
            let send = async {
                let mut stream = shared(stream)?;
                for frame in frames {
                    stream.write_all(&frame).await?;
                }
                io::Result::Ok(())
            };
            // Some are closed.
            let _ = tokio::time::timeout(target.left(), send).await;
        }
    }))?;
    thread::sleep(target.left());
    Ok(Done { times: peers.len() as u64, held: peers, ..Done::default() })
}

/// A frame that says it has 2^63 - 1 bytes, on many connections.
pub fn declared(target: Target) -> io::Result<Done> {
    let mut peers = open(target, 100)?;
    let head = [&[BINARY, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat();
    for peer in &mut peers {
        // It may be closed before all is sent.
        let _ = peer.send(&head);
    }
    thread::sleep(target.left());
    Ok(Done { times: peers.len() as u64, held: peers, ..Done::default() })
}

/// Connections without a session, each of which sends 16 MiB.
pub fn strangers(target: Target) -> io::Result<Done> {
    let part: Arc<[u8]> = vec![0; MIB].into();
    let wish = |at| Wish { principal: Some("stranger"), address: address(at), ..Wish::default() };
    let ends = together((0..target.count(1000)).map(|at| stranger(target.broker, wish(at), part.clone())))?;
    let times: Vec<_> = ends.into_iter().filter_map(Result::ok).collect();
    Ok(Done { times: times.len() as u64, longest_open: times.into_iter().max(), ..Done::default() })
}

/// One of them; gives how long it was open.
async fn stranger(broker: SocketAddr, wish: Wish, part: Arc<[u8]>) -> io::Result<Duration> {
    let opened = Instant::now();
    let mut stream = shared(tcp(broker, &wish)?)?;
    stream.write_all(upgrade_request(broker, &wish).as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    // It is closed meanwhile.
    let mut is_open = stream.write_all(&head(BINARY, 16 * MIB)).await.is_ok();
    for _ in 0..16 {
        is_open = is_open && stream.write_all(&part).await.is_ok();
    }
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    Ok(opened.elapsed())
}

/// Requests for a page on many connections, as many on each as it takes without waiting for the answers.
pub fn pages(target: Target) -> io::Result<Done> {
    let page: Arc<[u8]> = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", target.broker).repeat(1000).into_bytes().into();
    let asked = together((0..target.count(64)).map(|_| ask_for_pages(target, page.clone())))?;
    Ok(Done::times(asked.into_iter().filter_map(Result::ok).sum()))
}

/// On one of them. How often a thousand were asked for.
async fn ask_for_pages(target: Target, page: Arc<[u8]>) -> io::Result<u64> {
    let (mut source, mut sink) = shared(tcp(target.broker, &Wish::default())?)?.into_split();
    let mut times = 0;
    let ask = async {
        while sink.write_all(&page).await.is_ok() {
            times += 1;
        }
    };
    let discard = async { tokio::io::copy(&mut source, &mut tokio::io::sink()).await };
    // Most are still asking then; the others were closed.
    let _ = tokio::time::timeout(target.left(), async { tokio::join!(ask, discard) }).await;
    Ok(times)
}

/// Connections that send the head of their request one byte a second, and come again when they are closed.
pub fn drippers(target: Target) -> io::Result<Done> {
    let mut times = 0;
    let mut open = |at: usize| -> io::Result<TcpStream> {
        let mut stream = tcp(target.broker, &Wish { address: address(at), ..Wish::default() })?;
        stream.write_all(b"GET /diffusion?ty=WB HTTP/1.1\r\nx: ")?;
        stream.set_nonblocking(true)?;
        times += 1;
        Ok(stream)
    };
    let mut streams = (0..target.count(2000)).map(&mut open).collect::<io::Result<Vec<_>>>()?;
    while target.is_on() {
        let second = Instant::now() + Duration::from_secs(1);
        for (at, stream) in streams.iter_mut().enumerate() {
            let is_closed = stream.read(&mut [0; 64]).is_ok() || stream.write(b"a").is_err();
            if is_closed && let Ok(new) = open(at) {
                *stream = new;
            }
        }
        thread::sleep(second.min(target.until).saturating_duration_since(Instant::now()));
    }
    drop(streams);
    Ok(Done::times(times))
}

/// Where a connection comes from, of more than may come from one address.
fn address(at: usize) -> u8 {
    u8::try_from(at / AT_ONCE).unwrap_or(u8::MAX - 2)
}
