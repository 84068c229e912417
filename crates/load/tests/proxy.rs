//! The fault proxy, as a library and as a command.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use antiphon_load::faults::{Ending, Faults, Proxy, Schedule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What arrives at all arrives in less.
const LONG: Duration = Duration::from_secs(30);
/// What has not arrived by then is being held back.
const MOMENT: Duration = Duration::from_millis(100);

struct Pair {
    proxy: Proxy,
    listener: TcpListener,
}

impl Pair {
    async fn with(faults: Faults) -> Self {
        let listener = TcpListener::bind(LOCAL).await.expect("a free port");
        let proxy = Proxy::start(LOCAL, listener.local_addr().expect("an address"), faults).await.expect("started");
        Self { proxy, listener }
    }

    /// Both ends of a connection through the proxy.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let near = TcpStream::connect(self.proxy.address()).await.expect("connected");
        let (far, _) = self.listener.accept().await.expect("accepted");
        (near, far)
    }
}

async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(LONG, stream.read_exact(&mut bytes)).await.expect("in time").expect("read");
    bytes
}

/// Everything up to the end.
async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("in time").expect("a good end");
    bytes
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    let error = timeout(LONG, stream.read_to_end(&mut Vec::new())).await.expect("in time").expect_err("no good end");
    error.kind() == ErrorKind::ConnectionReset
}

#[tokio::test]
async fn bytes_pass_unchanged_in_both_directions_to_a_good_end() {
    let pair = Pair::with(Faults::default()).await;
    let (mut near, mut far) = pair.connect().await;
    let question: Vec<u8> = (0..1_000_000).map(|number: u32| (number % 251) as u8).collect();
    let send = async {
        near.write_all(&question).await.expect("written");
        near.shutdown().await.expect("ended");
    };
    let ((), received) = tokio::join!(send, read_all(&mut far));
    assert!(received == question);
    far.write_all(b"answer").await.expect("written");
    drop(far);
    assert_eq!(read_all(&mut near).await, b"answer");
    assert_eq!((pair.proxy.accepted(), pair.proxy.cut()), (1, 0));
}

#[tokio::test]
async fn a_delay_holds_for_each_direction_and_a_rate_for_the_whole() {
    let delay = Duration::from_millis(50);
    let pair = Pair::with(Faults { delay, ..Faults::default() }).await;
    let (mut near, mut far) = pair.connect().await;
    let start = Instant::now();
    near.write_all(b"a").await.expect("written");
    read(&mut far, 1).await;
    far.write_all(b"b").await.expect("written");
    read(&mut near, 1).await;
    assert!(start.elapsed() >= delay * 2);

    let pair = Pair::with(Faults { rate: std::num::NonZeroU64::new(100_000), ..Faults::default() }).await;
    let (mut near, mut far) = pair.connect().await;
    let start = Instant::now();
    near.write_all(&[0; 20_000]).await.expect("written");
    read(&mut far, 20_000).await;
    // All but the last share has been paid for.
    assert!(start.elapsed() >= Duration::from_millis(175), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_cut_after_bytes_is_made_at_that_byte() {
    let faults = Faults { cut_after_bytes: Some(10..=10), endings: vec![Ending::Close], ..Faults::default() };
    let pair = Pair::with(faults).await;
    let (mut near, mut far) = pair.connect().await;
    near.write_all(b"123").await.expect("written");
    assert_eq!(read(&mut far, 3).await, b"123");
    far.write_all(b"4567890abc").await.expect("written");
    assert_eq!(read_all(&mut near).await, b"4567890");
    assert_eq!(pair.proxy.cut(), 1);
}

#[tokio::test]
async fn a_cut_after_frames_is_made_between_two_frames() {
    let faults = Faults { cut_after_frames: Some(2..=2), endings: vec![Ending::Close], ..Faults::default() };
    let pair = Pair::with(faults).await;
    let (mut near, mut far) = pair.connect().await;
    let (head, frame) = (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", [0x82, 3, 7, 7, 7]);
    far.write_all(&[&head[..], &[frame; 4].concat()].concat()).await.expect("written");
    assert_eq!(read_all(&mut near).await, [&head[..], &[frame; 2].concat()].concat());
}

#[tokio::test]
async fn what_is_drawn_from_a_seed_is_drawn_from_it_again() {
    let lengths = async |seed| {
        let endings = vec![Ending::Close];
        let pair = Pair::with(Faults { seed, cut_after_bytes: Some(1..=10_000), endings, ..Faults::default() }).await;
        let mut lengths = Vec::new();
        for _ in 0..4 {
            let (mut near, mut far) = pair.connect().await;
            let send = async {
                // It is cut in the middle of it.
                let _ = near.write_all(&[0; 10_000]).await;
                let _ = near.read(&mut [0]).await;
            };
            let ((), received) = tokio::join!(send, read_all(&mut far));
            lengths.push(received.len());
        }
        lengths
    };
    let first = lengths(1).await;
    assert!(first.iter().any(|length| *length != first[0]), "{first:?}");
    assert_eq!(lengths(1).await, first);
    assert_ne!(lengths(2).await, first);
}

#[tokio::test]
async fn a_frozen_connection_stays_open_and_goes_on_when_it_is_thawed() {
    let pair = Pair::with(Faults::default()).await;
    let (mut near, mut far) = pair.connect().await;
    pair.proxy.freeze();
    let (mut late, mut late_far) = pair.connect().await;
    near.write_all(b"a").await.expect("written");
    late.write_all(b"b").await.expect("written");
    let mut byte = [0];
    assert!(timeout(MOMENT, far.read(&mut byte)).await.is_err());
    assert!(timeout(MOMENT, late_far.read(&mut byte)).await.is_err());
    pair.proxy.thaw();
    assert_eq!(read(&mut far, 1).await, b"a");
    assert_eq!(read(&mut late_far, 1).await, b"b");
}

#[tokio::test]
async fn each_ending_is_seen_as_what_it_is() {
    let cut = async |ending| {
        let pair = Pair::with(Faults::default()).await;
        let (mut near, mut far) = pair.connect().await;
        near.write_all(b"a").await.expect("written");
        read(&mut far, 1).await;
        assert_eq!(pair.proxy.cut_all(ending), 1);
        assert_eq!(pair.proxy.cut_all(ending), 0);
        (pair, near, far)
    };

    let (_pair, mut near, mut far) = cut(Ending::Reset).await;
    assert!(is_reset(&mut near).await && is_reset(&mut far).await);

    let (_pair, mut near, mut far) = cut(Ending::Close).await;
    assert_eq!((read_all(&mut near).await.len(), read_all(&mut far).await.len()), (0, 0));

    let (_pair, mut near, mut far) = cut(Ending::HalfClose).await;
    let mut byte = [0];
    let (told, other) = tokio::select! {
        ended = near.read(&mut byte) => { assert_eq!(ended.expect("an end"), 0); (near, far) }
        ended = async { far.read(&mut [0]).await } => { assert_eq!(ended.expect("an end"), 0); (far, near) }
    };
    let (mut told, mut other) = (told, other);
    told.write_all(b"still").await.expect("written");
    assert_eq!(read(&mut other, 5).await, b"still");
    drop(told);
    assert!(read_all(&mut other).await.is_empty());

    let (_pair, mut near, mut far) = cut(Ending::HalfOpen).await;
    assert!(is_reset(&mut near).await);
    far.write_all(b"into the void").await.expect("written");
    assert!(timeout(MOMENT, far.read(&mut byte)).await.is_err());
}

#[tokio::test]
async fn a_series_of_cuts_ends_when_all_are_made() {
    let pair = Pair::with(Faults { endings: Ending::ALL.to_vec(), ..Faults::default() }).await;
    let mut connections = Vec::new();
    for _ in 0..10 {
        connections.push(pair.connect().await);
    }
    // Nothing passes, so it is time that cuts.
    timeout(LONG, pair.proxy.cut_some(Schedule { per_second: 100.0, at_once: 2, most: Some(5) }))
        .await
        .expect("in time");
    let cut = async {
        while pair.proxy.cut() < 5 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, cut).await.expect("in time");
    assert_eq!(pair.proxy.open(), 5);
}

/// A running command; it ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon-faults"));
    command.args(args).stdout(Stdio::piped());
    command
}

#[tokio::test]
async fn the_command_says_where_it_listens_and_cuts_what_it_carries() {
    let listener = TcpListener::bind(LOCAL).await.expect("a free port");
    let to = listener.local_addr().expect("an address").to_string();
    let args = ["--to", &to, "--seed", "7", "--cut-after-bytes", "5", "--cut-by", "close", "--delay", "1ms"];
    let mut child = Running(command(&args).spawn().expect("it runs"));
    let mut output = std::io::BufReader::new(child.0.stdout.take().expect("piped"));
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).map(|_| line)
    });
    let line = line.await.expect("no panic").expect("a line");
    let address = line.trim().strip_prefix("listening on ").and_then(|rest| rest.strip_suffix(", seed 7"));
    let mut near = TcpStream::connect(address.expect("an address")).await.expect("connected");
    let (mut far, _) = listener.accept().await.expect("accepted");
    near.write_all(b"1234567890").await.expect("written");
    assert_eq!(read_all(&mut far).await, b"12345");
}

#[test]
fn the_command_answers_bad_usage_with_one_line_and_status_2() {
    for args in [
        &[][..],
        &["--to", "nowhere"],
        &["--to", "127.0.0.1:9", "--listen", "127.0.0.1"],
        // Not an address of this machine.
        &["--to", "127.0.0.1:9", "--listen", "192.0.2.1:0"],
        &["--to", "127.0.0.1:9", "--cuts-per-second", "0"],
        &["--to", "127.0.0.1:9", "--cuts-per-second", "NaN"],
        &["--to", "127.0.0.1:9", "--freezes-per-second", "1001"],
        &["--to", "127.0.0.1:9", "--cut-after-bytes", "0"],
        &["--to", "127.0.0.1:9", "--cut-after-bytes", "9-5"],
        &["--to", "127.0.0.1:9", "--cut-after-frames", "some"],
        &["--to", "127.0.0.1:9", "--cut-by", "reset,scissors"],
        &["--to", "127.0.0.1:9", "--at-once", "0"],
        &["--to", "127.0.0.1:9", "--rate", "0"],
        &["--to", "127.0.0.1:9", "--delay", "5"],
        &["--to", "127.0.0.1:9", "--nonsense"],
    ] {
        let output = command(args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let message = String::from_utf8(output.stderr).expect("text");
        assert_eq!(message.lines().count(), 1, "{args:?}: {message}");
        assert!(message.starts_with("antiphon-faults: ") && output.stdout.is_empty(), "{args:?}: {message}");
    }
}
