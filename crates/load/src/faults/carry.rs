//! Carries the bytes of one connection, as fast and as far as they may go.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::ProxiedConnection;
use super::frames::Frames;
use super::settings::{Ending, Faults};

/// How long a side that does not notice the end of a connection is left with it.
const REMAINS: Duration = Duration::from_secs(60);

/// Bytes read at a time.
const CHUNK: usize = 8 << 10;

/// Chunks on their way in one direction.
const MAX_CHUNKS: usize = 256;

/// How often a second a connection with a limited rate gets its share.
const SHARES_PER_SECOND: u64 = 50;

/// Carries what comes between the two sides until both have ended it, one has broken it or it is cut; and leaves a side that
/// is not to notice with what remains of it. `ended` is called in between. `side` is the one that a half-close tells.
pub(super) async fn carry(
    mut near: TcpStream,
    mut far: TcpStream,
    side: bool,
    connection: &ProxiedConnection,
    faults: &Faults,
    ended: impl FnOnce(),
) {
    // Proxies that wait for more would be a fault of their own.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ending = {
        let (near_read, mut near_write) = near.split();
        let (far_read, mut far_write) = far.split();
        let mut there = Box::pin(pump(near_read, &mut far_write, connection, faults).fuse());
        let mut back = Box::pin(pump(far_read, &mut near_write, connection, faults).fuse());
        let ending = tokio::select! {
            // A cut that is due goes first.
            biased;
            ending = connection.is_to_be_cut() => Some(ending),
            // Whoever broke it has broken both.
            ended = async { tokio::try_join!(&mut there, &mut back) } => ended.is_err().then_some(Ending::Reset),
        };
        ended();
        if ending == Some(Ending::HalfClose) {
            connection.spare();
            // Whatever becomes of it, it is over then.
            if side {
                drop(there);
                let _ = (far_write.shutdown().await, timeout(REMAINS, back).await);
            } else {
                drop(back);
                let _ = (near_write.shutdown().await, timeout(REMAINS, there).await);
            }
        }
        ending
    };
    match ending {
        None | Some(Ending::Close | Ending::HalfClose) => {}
        Some(Ending::Reset) => {
            // If it is gone, that is what was wanted.
            let _ = (near.set_zero_linger(), far.set_zero_linger());
        }
        Some(Ending::HalfOpen) => {
            let _ = near.set_zero_linger();
            drop(near);
            let _ = timeout(REMAINS, tokio::io::copy(&mut far, &mut tokio::io::sink())).await;
        }
    }
}

/// Carries the bytes of one direction, to their end.
async fn pump(
    mut from: ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    connection: &ProxiedConnection,
    faults: &Faults,
) -> io::Result<()> {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(MAX_CHUNKS);
    let share = faults.rate.map(|rate| usize::try_from(rate.get() / SHARES_PER_SECOND).unwrap_or(CHUNK).max(1));
    let read = async move {
        let mut buffer = vec![0; share.unwrap_or(CHUNK).min(CHUNK)];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            let chunk = buffer[..length].to_vec();
            // The other half ends only together with this one.
            let _ = sender.send((Instant::now() + faults.delay, chunk)).await;
        }
    };
    let write = async {
        let mut frames = Frames::default();
        let mut is_free = Instant::now();
        while let Some((due, chunk)) = chunks.recv().await {
            let due = due.max(is_free);
            // Timers count in milliseconds: what is due would wait for the next one.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            connection.thawed().await;
            let allowed = connection.allow(&chunk, &mut frames);
            to.write_all(&chunk[..allowed]).await?;
            connection.cut_if_due();
            if allowed < chunk.len() {
                connection.spared().await;
                to.write_all(&chunk[allowed..]).await?;
            }
            if let Some(rate) = faults.rate {
                let takes = Duration::from_secs_f64(chunk.len() as f64 / rate.get() as f64);
                is_free = is_free.max(Instant::now()) + takes;
            }
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_| ())
}
