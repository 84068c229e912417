//! The command `antiphon-broker`.

#![deny(unsafe_code)]

mod memory;

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::timeouts::PathTimeouts;
use antiphon_broker::core::{Broker, BrokerConfig};
use antiphon_broker::net::{Entrance, Limits, Origins, Server, Site, serve};
use antiphon_protocol::path;
use bytesize::ByteSize;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A broker for request-response messaging over WebSocket.
#[derive(Parser)]
#[command(name = "antiphon-broker", version)]
struct Options {
    /// Address and port to listen on, or the port alone; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Directory whose files are served beside the WebSocket; read once, at the start
    #[arg(long, value_name = "DIR")]
    www: Option<PathBuf>,
    /// How long a handler has to answer before the sender is told that it does not
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = request_timeout)]
    request_timeout: Duration,
    /// The same for requests to a path and everything below it; may be given for several paths
    #[arg(long, value_name = "PATH=DURATION", value_parser = path_and_timeout)]
    request_timeout_for: Vec<(String, Duration)>,
    /// Time between system pings, at least 100ms; 0s for none
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = ping_period)]
    ping_period: Duration,
    /// How long a session may outlive its connection at most; 0s for not at all
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = humantime::parse_duration)]
    reconnect_timeout: Duration,
    /// How long requests under way may take when the broker is told to stop; 0s for not at all
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    drain: Duration,
    /// Largest message taken from a client: 1KiB to 2047MiB
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = message_size)]
    max_message_size: usize,
    /// Threads that serve connections, 1 to 64; what is decided is decided by one at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = threads)]
    threads: usize,
    /// How much to log on stderr: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: tracing_subscriber::filter::LevelFilter,
}

/// A port alone is one of this machine. A name such as `localhost` stands for its first address, an IPv4 one if there is any.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let addresses = text.to_socket_addrs().map_err(|_| "write an address and a port, such as 127.0.0.1:8080")?;
    let addresses: Vec<_> = addresses.collect();
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    address.copied().ok_or_else(|| "it has no address".into())
}

fn request_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if timeout >= Duration::from_millis(1) { Ok(timeout) } else { Err("it must be at least 1ms".into()) }
}

fn path_and_timeout(text: &str) -> Result<(String, Duration), String> {
    // A path may have a `=` in it, a duration has none.
    let (path, timeout) = text.rsplit_once('=').ok_or("write a path and a duration, such as orders/slow=5m")?;
    let path = path::normalise(path).map_err(|error| error.to_string())?;
    Ok((path.to_owned(), request_timeout(timeout)?))
}

/// Each path once: two times for the same one are a mistake.
fn request_timeouts(given: &[(String, Duration)]) -> Result<PathTimeouts, String> {
    let mut timeouts = PathTimeouts::default();
    for (path, timeout) in given {
        match timeouts.set(path, *timeout) {
            Ok(None) => {}
            Ok(Some(_)) => return Err(format!("{path} is given twice")),
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
    Ok(timeouts)
}

fn ping_period(text: &str) -> Result<Duration, String> {
    let period = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if period.is_zero() || period >= Duration::from_millis(100) {
        Ok(period)
    } else {
        Err("it must be 0s, or at least 100ms".into())
    }
}

fn message_size(text: &str) -> Result<usize, String> {
    let size = text.parse::<ByteSize>()?.as_u64();
    // The connection response tells clients this number in 31 bits.
    if (1 << 10..=2047 << 20).contains(&size) {
        usize::try_from(size).map_err(|error| error.to_string())
    } else {
        Err("it must be from 1KiB to 2047MiB".into())
    }
}

fn threads(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|threads| (1..=64).contains(threads)).ok_or("write a number from 1 to 64")
}

/// Something the operator has to put right; printed as one line.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if !error.use_stderr() => {
            // Help or version were asked for; if they cannot be printed, nobody reads them.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return complain(BAD_USAGE, &one_line(&error.to_string())),
    };
    tracing_subscriber::fmt().with_max_level(options.log).with_writer(std::io::stderr).with_ansi(false).init();
    let mut runtime = match options.threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = match runtime.worker_threads(options.threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(1, &format!("cannot start: {error}")),
    };
    if let Err(error) = memory::give_back() {
        return complain(1, &format!("cannot start: {error}"));
    }
    match runtime.block_on(run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => complain(code, &message),
    }
}

async fn run(options: Options) -> Result<(), (u8, String)> {
    if !options.listen.ip().is_loopback() {
        let text = "without a configuration file the passwords are well known, so only a loopback address will do";
        return Err((BAD_USAGE, format!("--listen {}: {text}", options.listen)));
    }
    let request_timeouts = request_timeouts(&options.request_timeout_for)
        .map_err(|error| (BAD_USAGE, format!("--request-timeout-for: {error}")))?;
    let site = match &options.www {
        Some(directory) => {
            Site::read(directory).map_err(|error| (BAD_USAGE, format!("--www {}: {error}", directory.display())))?
        }
        None => Site::default(),
    };
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        (BAD_USAGE, format!("--listen {}: {}", options.listen, cannot_listen(&error, options.listen)))
    })?;
    let address = listener.local_addr().map_err(|error| (1, error.to_string()))?;
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| (1, format!("the system gives no random bytes: {error}")))?;
    let [server, seed, token_key] =
        [0, 8, 16].map(|at| random[at..at + 8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
    let config = BrokerConfig {
        server,
        server_name: "antiphon".into(),
        request_timeout: options.request_timeout,
        request_timeouts,
        ping_period: options.ping_period,
        reconnect_timeout: options.reconnect_timeout,
        max_message_size: options.max_message_size,
        seed,
        token_key,
        ..BrokerConfig::default()
    };
    let limits = Limits { max_message_size: options.max_message_size, ..Limits::default() };
    let entrance = Entrance { origins: Origins::new(&["loopback"]), ..Entrance::default() };
    let (_, entrance) = watch::channel(Arc::new(entrance));
    let broker = Broker::new(config, Access::development());
    let server = Server { broker, identities: Arc::default(), site, limits, entrance, grace: options.drain };
    // Installed before anybody can know that we are ready.
    let signals = || Signals::new().map_err(|error| (1, format!("cannot handle signals: {error}")));
    let (mut first, mut second) = (signals()?, signals()?);
    say_what_holds();
    // Whoever started us may have closed the pipe; that is no reason not to serve.
    let _ = writeln!(std::io::stdout(), "listening on ws://{address}/diffusion");
    let again = async {
        second.told_to_stop().await;
        second.told_to_stop().await;
    };
    tokio::select! {
        () = serve(vec![listener], server, first.told_to_stop()) => {}
        () = again => tracing::warn!("told to stop again: ended at once"),
    }
    Ok(())
}

/// What an operator says to a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// A closed terminal is no reason to stop.
    async fn told_to_stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => tracing::info!("SIGHUP: there is nothing to read again, the broker goes on"),
            }
        }
    }
}

fn say_what_holds() {
    tracing::warn!("no configuration: for development only");
    tracing::info!("principals admin, control, client and operator, each with the password \"password\"");
    tracing::info!("anonymous sessions have the roles CLIENT and CLIENT_CONTROL");
    tracing::info!("proposed session properties are trusted");
    tracing::info!("listening on loopback only; web pages must come from a loopback host, or send no Origin");
}

fn complain(code: u8, message: &str) -> ExitCode {
    // Nothing is left to do about a closed stderr.
    let _ = writeln!(std::io::stderr(), "antiphon-broker: {message}");
    ExitCode::from(code)
}

/// Why there is no listening there, and what an operator may do about it.
fn cannot_listen(error: &std::io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!(
                "another program listens there (`ss -ltnp 'sport = :{port}'` says which); --listen 0 takes a free port"
            )
        }
        _ => error.to_string(),
    }
}

/// The first sentence of a usage error, and what was probably meant; the rest is a lengthy repetition of `--help`.
fn one_line(message: &str) -> String {
    let first = message.lines().next().unwrap_or("bad usage").trim_start_matches("error: ");
    let tip = message.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    format!("{first} ({})", tip.unwrap_or("try --help"))
}
