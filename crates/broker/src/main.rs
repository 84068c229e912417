//! The command `antiphon-broker`.

#![deny(unsafe_code)]

mod descriptors;
mod logging;
mod prepare;
mod prompt;

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig};
use antiphon_broker::identity::Identities;
use antiphon_broker::identity::passwords::PasswordHash;
use antiphon_broker::net::{Entrance, Rules, Server, serve};
use antiphon_broker::settings::{Command, Fault, Reload, Settings, Sources, Usage, init};
use logging::Logging;
use prepare::Prepared;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What is free goes back to the system a little at a time, by a thread of its own. glibc gives nothing back by itself after
/// thousands of sessions have left; and if it is told to, everybody else waits until it has looked at its whole heap, which
/// takes some 30 ms after an attack.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the allocator reads when it starts: what is free is used again within these milliseconds, or goes.
#[expect(unsafe_code, reason = "the name is the allocator's, and nothing else has it")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_OPTIONS: &[u8; 59] = b"background_thread:true,dirty_decay_ms:100,muzzy_decay_ms:0\0";

/// Connections that may have arrived and wait to be taken; the system may allow fewer.
const ARRIVING: u32 = 4096;

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
            Ok(settings) => start(sources, settings),
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
        Command::Init(file) => match init(&file) {
            Ok(password) => {
                let file = file.display();
                let _ = writeln!(
                    std::io::stdout(),
                    "{file} is written. Its user is admin, with this password, which is shown only now:\n\n    {password}\n\n\
                     Start the broker with: antiphon-broker --config {file}"
                );
                ExitCode::SUCCESS
            }
            Err(text) => complain(BAD_USAGE, &text),
        },
        Command::HashPassword => match prompt::new_password().and_then(|password| PasswordHash::of(&password)) {
            Ok(hash) => {
                let _ = writeln!(std::io::stdout(), "{}", hash.to_text());
                ExitCode::SUCCESS
            }
            Err(text) => complain(BAD_USAGE, &text),
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

fn start(sources: Sources, settings: Settings) -> ExitCode {
    let descriptors = descriptors::make_room(settings.limits.max_connections);
    let logging = Logging::start(settings.log, settings.log_format);
    if let Some((open, needed)) = descriptors {
        tracing::warn!(open, needed, "there may be fewer open files (ulimit -n) than max_connections needs");
    }
    let mut runtime = match settings.threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = match runtime.worker_threads(settings.threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(1, &format!("cannot start: {error}")),
    };
    match runtime.block_on(run(sources, settings, logging)) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => complain(code, &message),
    }
}

/// Listens at an address, where very many may arrive at the same moment: whoever finds no room tries again only after a
/// second.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ARRIVING)
}

async fn run(sources: Sources, settings: Settings, logging: Logging) -> Result<(), (u8, String)> {
    let bad = |fault: Fault| (BAD_USAGE, fault.to_string());
    let Prepared { entrance, permissions, known } = Prepared::from(&settings).map_err(bad)?;
    let site = prepare::site(&settings).map_err(bad)?;
    let mut listeners = Vec::new();
    for address in &settings.listen {
        let listener = listen(*address).map_err(|error| {
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
    let (change_entrance, entrance) = watch::channel(entrance);
    let (change_rules, rules) = watch::channel(None);
    let server = Server {
        broker: Broker::new(config, access),
        identities: identities.clone(),
        site,
        limits: settings.limits.clone(),
        entrance,
        rules,
        grace: settings.drain,
    };
    // Installed before anybody can know that we are ready.
    let no_signals = |error: std::io::Error| (1, format!("cannot handle signals: {error}"));
    let (mut first, mut second) = (Signals::new().map_err(no_signals)?, Signals::new().map_err(no_signals)?);
    let mut hang_up = signal(SignalKind::hangup()).map_err(no_signals)?;
    say_what_holds(&settings);
    // Whoever started us may have closed the pipe; that is no reason not to serve.
    for address in addresses {
        let _ = writeln!(std::io::stdout(), "listening on {scheme}://{address}/diffusion");
    }
    let again = async {
        second.told_to_stop().await;
        second.told_to_stop().await;
    };
    let mut running =
        Running { sources, settings, logging, identities, entrance: change_entrance, rules: change_rules };
    let reading_again = async {
        while hang_up.recv().await.is_some() {
            running.read_again();
        }
        std::future::pending().await
    };
    tokio::select! {
        () = reading_again => {}
        () = serve(listeners, server, first.told_to_stop()) => {}
        () = again => tracing::warn!("told to stop again: ended at once"),
    }
    Ok(())
}

/// What an operator says to a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What may change while the broker runs.
struct Running {
    sources: Sources,
    /// What holds.
    settings: Settings,
    logging: Logging,
    identities: Arc<Identities>,
    entrance: watch::Sender<Arc<Entrance>>,
    rules: watch::Sender<Option<Rules>>,
}

impl Running {
    /// Reads the configuration again. Either all of it holds from now on, or nothing has changed.
    fn read_again(&mut self) {
        // A closed terminal is no reason to stop.
        if self.sources.config.is_none() {
            return tracing::info!("SIGHUP: there is no configuration file to read again, the broker goes on");
        }
        let read = self.sources.reload(&self.settings);
        let prepared = read.and_then(|reload| Ok((Prepared::from(&reload.settings)?, reload)));
        match prepared {
            Err(fault) => tracing::error!(%fault, "the configuration cannot be used; what held before still holds"),
            Ok((Prepared { entrance, permissions, known }, Reload { settings, changed, after_restart })) => {
                self.logging.set_level(settings.log);
                self.entrance.send_replace(entrance);
                self.identities.replace(known);
                self.rules.send_replace(Some(Rules { config: settings.broker.clone(), permissions }));
                self.settings = settings;
                let changed = match changed.as_slice() {
                    [] => "no setting; the files that it names were read as well".to_owned(),
                    changed => changed.join(", "),
                };
                tracing::info!(%changed, "configuration read again");
                if !after_restart.is_empty() {
                    tracing::warn!(keys = %after_restart.join(", "), "these keys hold after a restart");
                }
            }
        }
    }
}

fn say_what_holds(settings: &Settings) {
    for table in settings.not_served() {
        tracing::warn!("{table} is in the configuration, but not served by this version");
    }
    if !settings.unknown_variables.is_empty() {
        let names = settings.unknown_variables.join(", ");
        tracing::warn!(names, "these variables of the environment are no settings");
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
