//! The command `antiphon-broker`.

#![deny(unsafe_code)]

mod memory;
mod prepare;

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig};
use antiphon_broker::identity::Identities;
use antiphon_broker::net::{Server, serve};
use antiphon_broker::settings::{Command, Fault, Settings, Usage};
use prepare::Prepared;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Something the operator has to put right; printed as one line.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::of_process() {
        Ok(command) => command,
        Err(Usage::Asked(help)) => {
            // Help or version were asked for; if they cannot be printed, nobody reads them.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
        Err(Usage::Wrong(text)) => return complain(BAD_USAGE, &text),
    };
    let bad = |fault: Fault| complain(BAD_USAGE, &fault.to_string());
    match command {
        Command::Serve(sources) => match sources.load() {
            Ok(settings) => start(settings),
            Err(fault) => bad(fault),
        },
        Command::Check(sources) => match sources.load().and_then(|settings| check(&settings)) {
            Ok(text) => {
                // Whoever asked has the exit status as well.
                let _ = writeln!(std::io::stdout(), "{text}");
                ExitCode::SUCCESS
            }
            Err(fault) => bad(fault),
        },
    }
}

/// All that can be known about a configuration without starting.
fn check(settings: &Settings) -> Result<String, Fault> {
    Prepared::from(settings)?;
    prepare::site(settings)?;
    let file = settings.config.as_deref().unwrap_or(Path::new(""));
    Ok(format!("{}: this configuration will do", file.display()))
}

fn start(settings: Settings) -> ExitCode {
    tracing_subscriber::fmt().with_max_level(settings.log).with_writer(std::io::stderr).with_ansi(false).init();
    let mut runtime = match settings.threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = match runtime.worker_threads(settings.threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(1, &format!("cannot start: {error}")),
    };
    if let Err(error) = memory::give_back() {
        return complain(1, &format!("cannot start: {error}"));
    }
    match runtime.block_on(run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => complain(code, &message),
    }
}

async fn run(settings: Settings) -> Result<(), (u8, String)> {
    let bad = |fault: Fault| (BAD_USAGE, fault.to_string());
    let Prepared { entrance, permissions, known } = Prepared::from(&settings).map_err(bad)?;
    let site = prepare::site(&settings).map_err(bad)?;
    let mut listeners = Vec::new();
    for address in &settings.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            bad(settings.fault("listen", format!("{address}: {}", cannot_listen(&error, *address))))
        })?;
        listeners.push(listener);
    }
    let scheme = if entrance.tls.is_some() { "wss" } else { "ws" };
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>();
    let addresses = addresses.map_err(|error| (1, error.to_string()))?;
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| (1, format!("the system gives no random bytes: {error}")))?;
    let [server, seed, token_key] =
        [0, 8, 16].map(|at| random[at..at + 8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
    let config = BrokerConfig { server, seed, token_key, ..settings.broker.clone() };
    let is_for_development = settings.config.is_none();
    let access = if is_for_development { Access::development() } else { Access::outside(permissions) };
    let identities = Arc::new(Identities::new(known, &settings.identities));
    let (_entrance, entrance) = watch::channel(entrance);
    let server = Server {
        broker: Broker::new(config, access),
        identities,
        site,
        limits: settings.limits.clone(),
        entrance,
        grace: settings.drain,
    };
    // Installed before anybody can know that we are ready.
    let signals = || Signals::new().map_err(|error| (1, format!("cannot handle signals: {error}")));
    let (mut first, mut second) = (signals()?, signals()?);
    say_what_holds(&settings);
    // Whoever started us may have closed the pipe; that is no reason not to serve.
    for address in addresses {
        let _ = writeln!(std::io::stdout(), "listening on {scheme}://{address}/diffusion");
    }
    let again = async {
        second.told_to_stop().await;
        second.told_to_stop().await;
    };
    tokio::select! {
        () = serve(listeners, server, first.told_to_stop()) => {}
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

fn say_what_holds(settings: &Settings) {
    for table in settings.not_served() {
        tracing::warn!("{table} is in the configuration, but not served by this version");
    }
    let Some(config) = &settings.config else {
        tracing::warn!("no configuration: for development only");
        tracing::info!("principals admin, control, client and operator, each with the password \"password\"");
        tracing::info!("anonymous sessions have the roles CLIENT and CLIENT_CONTROL");
        tracing::info!("proposed session properties are trusted");
        return tracing::info!(
            "listening on loopback only; web pages must come from a loopback host, or send no Origin"
        );
    };
    let (users, issuers) = (settings.users.len(), settings.tokens.len());
    tracing::info!(file = %config.display(), users, issuers, "configuration read");
    match &settings.anonymous {
        Some(anonymous) => tracing::info!(roles = ?anonymous.roles, "anonymous sessions are let in"),
        None => tracing::info!("anonymous sessions are refused"),
    }
    tracing::info!(origins = ?settings.origins, "web pages from there may connect");
    let is_open = settings.listen.iter().any(|address| !address.ip().is_loopback());
    if is_open && settings.tls.certificate.is_none() {
        tracing::warn!("without TLS: passwords and messages can be read on their way, unless a proxy encrypts them");
    }
    if users == 0 && issuers == 0 && settings.anonymous.is_none() {
        tracing::warn!("nobody can log in: there are no [[users]], no [[tokens]] and no [anonymous]");
    }
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
