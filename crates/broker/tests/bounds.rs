//! What a connection may take of memory and time, on sockets, by clients that do what they may not.

#[path = "bounds/client.rs"]
mod client;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig};
use antiphon_broker::net::{Limits, Server, Traffic, serve};
use antiphon_protocol::wire::handshake::ResponseCode;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep, timeout};

use client::{BINARY, CONTINUATION, Client, PING, frame, head};

/// Counts the bytes that are allocated and not freed: of the broker and of the clients, which are in one process.
struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static MOST_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system allocator's; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST_BYTES.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_add(size.wrapping_sub(layout.size()), Ordering::Relaxed);
        MOST_BYTES.fetch_max(LIVE_BYTES.load(Ordering::Relaxed), Ordering::Relaxed);
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Those that count what all of the process takes are alone.
static ALONE: RwLock<()> = RwLock::const_new(());

/// How many bytes more than now there are at most while something is done.
async fn most_bytes_during(action: impl Future<Output = ()>) -> usize {
    let now = LIVE_BYTES.load(Ordering::Relaxed);
    MOST_BYTES.store(now, Ordering::Relaxed);
    action.await;
    MOST_BYTES.load(Ordering::Relaxed) - now
}

/// Longer than anything takes; what needs it has failed.
const LONG: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;

/// Starts a broker; it ends with the test.
async fn broker(traffic: Traffic) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let limits = Limits { traffic, ..Limits::default() };
    let broker = Broker::new(BrokerConfig::default(), Access::development());
    let server = Server { limits, ..Server::development(broker) };
    tokio::spawn(serve(vec![listener], server, std::future::pending()));
    port
}

const PAGE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PAGES: usize = 20;

/// A connection from an address of this machine.
async fn connect(address: &str, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(address.parse().expect("an address")).expect("an address of this machine");
    socket.connect(([127, 0, 0, 1], port).into()).await.expect("a connection")
}

/// Clients without a session.
async fn strangers(address: &str, port: u16) -> Vec<TcpStream> {
    let mut strangers = Vec::new();
    for _ in 0..64 {
        strangers.push(connect(address, port).await);
    }
    strangers
}

/// They ask for much. All of it is there before the broker, which is on the same thread, gets to any.
fn ask(strangers: &[TcpStream]) {
    for stranger in strangers {
        assert_eq!(stranger.try_write(&PAGE.repeat(PAGES)).expect("room"), PAGES * PAGE.len());
    }
}

/// That it did not take long, as most of what they ask for is still to come.
fn assert_few_were_served(strangers: &[TcpStream]) {
    let mut answer = vec![0; MIB];
    let answers = |stranger: &TcpStream| match stranger.try_read(&mut answer) {
        Ok(length) => answer[..length].windows(8).filter(|bytes| bytes == b"HTTP/1.1").count(),
        Err(_) => 0,
    };
    let served: usize = strangers.iter().map(answers).sum();
    assert!(served < 32, "{served} of {} were served before", strangers.len() * PAGES);
}

/// M-23.
#[cfg(target_os = "linux")] // Other systems have no other addresses of their own without being told.
#[tokio::test]
async fn whoever_comes_from_elsewhere_does_not_wait_for_all_that_strangers_ask_for() {
    let _beside = ALONE.read().await;
    let port = broker(Traffic::default()).await;
    let strangers = strangers("127.0.0.2:0", port).await;
    let neighbour = connect("127.0.0.1:0", port).await;
    ask(&strangers);
    neighbour.try_write(PAGE).expect("room");
    timeout(LONG, neighbour.readable()).await.expect("in time").expect("an answer");
    assert_few_were_served(&strangers);
}

/// M-23.
#[tokio::test]
async fn whoever_has_a_session_does_not_wait_for_all_that_strangers_from_its_address_ask_for() {
    let _beside = ALONE.read().await;
    let port = broker(Traffic::default()).await;
    let mut client = Client::open(port).await;
    let strangers = strangers("127.0.0.1:0", port).await;
    ask(&strangers);
    for _ in 0..3 {
        client.ping_pong().await;
    }
    assert_few_were_served(&strangers);
}

/// L-3, V7.
#[tokio::test]
async fn a_reader_that_stops_is_ended_by_the_clock_and_told_why() {
    let _beside = ALONE.read().await;
    let queue_patience = Duration::from_millis(300);
    let port = broker(Traffic { queue_bytes: MIB, queue_patience, ..Traffic::default() }).await;
    let mut sender = Client::open(port).await;
    let mut reader = Client::open(port).await;
    let start = Instant::now();
    for _ in 0..20 {
        sender.send_to_session(reader.session(), &vec![0; MIB]).await;
    }
    // Nothing more is sent to it; its requests fail when its session ends.
    for _ in 0..20 {
        timeout(LONG, sender.message()).await.expect("in time").expect("an error");
    }
    assert!(start.elapsed() >= queue_patience);
    let (code, reason) = timeout(LONG, reader.end()).await.expect("closed").expect("with a code");
    assert_eq!((code, &reason[..4]), (1008, "slow"));
    sender.ping_pong().await;
}

/// L-3.
#[tokio::test]
async fn when_too_much_waits_for_all_who_has_most_is_ended_first() {
    let _beside = ALONE.read().await;
    let port = broker(Traffic { max_queued_bytes: 24 * MIB, ..Traffic::default() }).await;
    let mut sender = Client::open(port).await;
    let (mut few, mut many) = (Client::open(port).await, Client::open(port).await);
    for _ in 0..8 {
        sender.send_to_session(few.session(), &vec![0; MIB]).await;
    }
    for _ in 0..40 {
        sender.send_to_session(many.session(), &vec![0; MIB]).await;
    }
    let (code, _) = timeout(LONG, many.end()).await.expect("closed").expect("with a code");
    assert_eq!(code, 1008);
    for _ in 0..8 {
        timeout(LONG, few.message()).await.expect("in time").expect("a request");
    }
    few.ping_pong().await;
}

/// L-3.
#[tokio::test]
async fn what_waits_for_somebody_who_is_leaving_goes_before_anybody_is_ended() {
    let _beside = ALONE.read().await;
    let port = broker(Traffic { max_queued_bytes: 24 * MIB, ..Traffic::default() }).await;
    let mut sender = Client::open(port).await;
    let (mut staying, mut leaving) = (Client::open(port).await, Client::open(port).await);
    for _ in 0..23 {
        sender.send_to_session(leaving.session(), &vec![0; MIB]).await;
    }
    sender.ping_pong().await;
    leaving.write(&frame(BINARY, &[29], true)).await;
    for _ in 0..12 {
        sender.send_to_session(staying.session(), &vec![0; MIB]).await;
    }
    for _ in 0..12 {
        timeout(LONG, staying.message()).await.expect("in time").expect("a request");
    }
    staying.ping_pong().await;
}

/// L-2.
#[tokio::test]
async fn pings_of_a_client_that_does_not_read_take_no_memory() {
    let _alone = ALONE.write().await;
    // What it may take is seen for as long as it takes, and not until the client is ended for not reading.
    let port = broker(Traffic { queue_patience: LONG, ..Traffic::default() }).await;
    let mut client = Client::open(port).await;
    let pings = frame(PING, &[7; 125], true).repeat(100);
    let most = most_bytes_during(async {
        // Until the system takes no more pongs, and long after.
        for _ in 0..2000 {
            client.write(&pings).await;
        }
    })
    .await;
    assert!(most < MIB, "{most} bytes");
    client.ping_pong().await;
}

/// L-7.
#[tokio::test]
async fn a_message_that_does_not_come_to_its_end_closes_the_connection_and_keeps_the_session() {
    let _beside = ALONE.read().await;
    let (message_patience, message_rate) = (Duration::from_millis(400), MIB);
    let port = broker(Traffic { message_patience, message_rate, ..Traffic::default() }).await;
    let beginnings = [
        frame(BINARY, &[0; 1000], false),
        [head(BINARY, 1000, true), vec![0; 100]].concat(),
        [head(BINARY, MIB, true), vec![0; 100_000]].concat(),
        head(PING, 100, true),
        vec![0x82],
    ];
    for beginning in beginnings {
        let mut client = Client::open(port).await;
        client.write(&beginning).await;
        let start = Instant::now();
        let (code, reason) = timeout(LONG, client.end()).await.expect("closed").expect("with a code");
        assert_eq!((code, &reason[..7]), (1008, "overdue"));
        assert!(start.elapsed() >= message_patience);
        assert_eq!(Client::reopen(port, &client.token()).await.code(), ResponseCode::RECONNECTED);
    }
    // One byte at a time does not help.
    let mut client = Client::open(port).await;
    let start = Instant::now();
    client.write(&head(BINARY, 100_000, true)).await;
    let drips = async {
        while client.try_write(&[0]).await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, drips).await.expect("closed");
    assert!(start.elapsed() >= message_patience);
}

/// L-7.
#[tokio::test]
async fn a_message_that_comes_steadily_may_take_its_time() {
    let _beside = ALONE.read().await;
    let (message_patience, message_rate) = (Duration::from_secs(1), 100 << 10);
    let port = broker(Traffic { message_patience, message_rate, ..Traffic::default() }).await;
    let mut client = Client::open(port).await;
    // It takes 2.1 s.
    for part in 0..70 {
        let opcode = if part == 0 { BINARY } else { CONTINUATION };
        client.write(&frame(opcode, &[0xEE; 32 << 10], false)).await;
        sleep(Duration::from_millis(30)).await;
    }
    client.write(&frame(CONTINUATION, &[], true)).await;
    // It was no message of the protocol.
    assert_eq!(timeout(LONG, client.end()).await.expect("closed").map(|(code, _)| code), Some(1000));
    // A stream of messages that never pauses between two of them, for 1.5 s.
    let mut client = Client::open(port).await;
    let ping = frame(BINARY, &Client::user_ping(1), true);
    client.write(&ping[..1]).await;
    for _ in 0..50 {
        client.write(&[&ping[1..], &ping[..1]].concat()).await;
        timeout(LONG, client.message()).await.expect("in time").expect("an answer");
        sleep(Duration::from_millis(30)).await;
    }
}

/// L-7.
#[tokio::test]
async fn when_too_much_has_arrived_in_part_the_worst_is_closed() {
    let _beside = ALONE.read().await;
    let port = broker(Traffic { max_unfinished_bytes: 8 * MIB, ..Traffic::default() }).await;
    let mut idle = Client::open(port).await;
    idle.write(&frame(BINARY, &vec![0; 5 * MIB], false)).await;
    let mut busy = Client::open(port).await;
    let message = busy.request_to_nobody(&vec![0; 6 * MIB]);
    busy.write(&message).await;
    timeout(LONG, busy.message()).await.expect("in time").expect("an answer");
    let (code, reason) = timeout(LONG, idle.end()).await.expect("closed").expect("with a code");
    assert_eq!((code, &reason[..7]), (1013, "crowded"));
    assert_eq!(Client::reopen(port, &idle.token()).await.code(), ResponseCode::RECONNECTED);
    busy.ping_pong().await;
}

/// L-7.
#[tokio::test]
async fn what_arrives_is_kept_once() {
    let _alone = ALONE.write().await;
    let port = broker(Traffic::default()).await;
    let part = vec![0; MIB];
    // In one frame, in large ones, in small ones.
    for size in [16 * MIB, 4 * MIB, 4 << 10] {
        let mut client = Client::open(port).await;
        let most = most_bytes_during(async {
            let (mut sent, mut opcode) = (0, BINARY);
            while sent < 16 * MIB {
                client.write(&head(opcode, size, false)).await;
                for at in (0..size).step_by(MIB) {
                    client.write(&part[..MIB.min(size - at)]).await;
                }
                (sent, opcode) = (sent + size, CONTINUATION);
            }
            client.write(&frame(PING, &[], true)).await;
            timeout(LONG, client.pong()).await.expect("in time");
        })
        .await;
        assert!(most < 25 * MIB, "frames of {size}: {most} bytes for 16 MiB");
    }
}

/// L-7, V3.
#[tokio::test]
async fn what_strangers_send_is_not_kept() {
    let _alone = ALONE.write().await;
    let port = broker(Traffic::default()).await;
    let most = most_bytes_during(async {
        let strangers = (0..50).map(|_| async {
            let mut stranger = Client::open_with(port, "username=stranger").await;
            stranger.try_write(&head(BINARY, 16 * MIB, true)).await;
            while stranger.try_write(&[0; 64 << 10]).await {}
        });
        timeout(LONG, futures_util::future::join_all(strangers)).await.expect("closed");
    })
    .await;
    assert!(most < 20 * MIB, "{most} bytes");
}

/// L-4, V3.
#[tokio::test]
async fn a_frame_that_says_it_is_larger_than_anything_takes_no_memory() {
    let _alone = ALONE.write().await;
    let port = broker(Traffic::default()).await;
    let mut client = Client::open(port).await;
    let most = most_bytes_during(async {
        client.write(&head(BINARY, i64::MAX as usize, true)).await;
        assert_eq!(timeout(LONG, client.end()).await.expect("closed").map(|(code, _)| code), Some(1009));
    })
    .await;
    assert!(most < 64 << 10, "{most} bytes");
}

/// L-8.
#[tokio::test]
async fn a_broker_above_its_ceiling_opens_no_session() {
    let _beside = ALONE.read().await;
    let port = broker(Traffic { memory: MIB, ..Traffic::default() }).await;
    // Once it knows how much it takes.
    let refused = async {
        loop {
            let client = Client::open_with(port, "").await;
            if client.code() != ResponseCode::OK {
                return client.code();
            }
        }
    };
    assert_eq!(timeout(LONG, refused).await.expect("refused"), ResponseCode::LICENCE_EXCEEDED);
}
