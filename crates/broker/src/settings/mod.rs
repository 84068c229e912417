//! What an operator decides: a configuration file, options of the command line, variables of the environment.
//!
//! - `rows`: THE table of settings; `kinds` and `addresses`: the kinds of their values.
//! - `sections`: users, tokens, anonymous sessions and roles, which only the file has.
//! - `given`: what was given for the rows of the table, by file, variables and options.
//! - `document`: the file, of which each value knows its line; `place`: where a value comes from, and what is wrong there.
//! - `files`: the files that settings name.
//! - `command`: the command line; `variables`: those that are no settings; `reload`: what changes when the file is read
//!   again; `example`: docs/broker.toml; `init`: a first file.
//!
//! A configuration file replaces the development profile as a whole: without one, there are the stock principals, on
//! loopback addresses; with one, nothing is granted that it does not grant.

mod addresses;
mod command;
mod document;
mod example;
mod files;
mod given;
mod init;
mod kinds;
mod place;
mod reload;
mod rows;
mod sections;
mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::filter::LevelFilter;

use crate::core::BrokerConfig;
use crate::core::permissions::Role;
use crate::core::proposals::Proposals;
use crate::identity;
use crate::net::Limits;
pub use command::{Command, Usage};
use document::Document;
pub use example::example;
use given::{Given, key_elsewhere};
pub use init::init;
use kinds::Word;
pub use place::{Fault, Place};
pub use reload::Reload;
use sections::Sections;
pub use sections::{Anonymous, Hidden, KeyFile, Tokens, User};

/// All settings of a broker, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration file; without one, the development profile holds.
    pub config: Option<PathBuf>,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Files served beside the WebSocket.
    pub www: Option<PathBuf>,
    /// How much to log.
    pub log: LevelFilter,
    /// How to log.
    pub log_format: LogFormat,
    /// Threads that serve connections.
    pub threads: usize,
    /// How long requests under way may take when the broker stops.
    pub drain: Duration,
    /// Largest message taken from a client, in bytes.
    pub max_message_size: usize,
    /// Web pages that may connect: origins in lower case, `same-host`, `loopback`.
    pub origins: Vec<String>,
    /// Proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Session properties that a client may propose; `*` for all.
    pub proposed_properties: Vec<String>,
    /// Paths that inherit no permissions, in normal form.
    pub isolated_paths: Vec<String>,
    /// Certificate and key: both, or none.
    pub tls: Tls,
    /// What sessions without a principal are; nothing if there may be none.
    pub anonymous: Option<Anonymous>,
    /// Who may log in by a password.
    pub users: Vec<User>,
    /// Which tokens are taken as passwords.
    pub tokens: Vec<Tokens>,
    /// Roles by name. The stock roles are not among them, unless they are redefined.
    pub roles: BTreeMap<String, Role>,
    /// Health checks, metrics, console.
    pub admin: Admin,
    /// Several brokers as one.
    pub cluster: Cluster,
    /// Durations and limits of the core.
    pub broker: BrokerConfig,
    /// Limits of connections.
    pub limits: Limits,
    /// Limits of finding out who somebody is.
    pub identities: identity::Limits,
    /// Variables of the environment that have the prefix of ours, and no meaning.
    pub unknown_variables: Vec<String>,
    places: BTreeMap<String, Place>,
}

/// `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Private key, PEM.
    pub key: Option<PathBuf>,
    /// How long browsers are to use nothing but TLS for this host, once they have been there.
    pub hsts: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate: None, key: None, hsts: Duration::from_secs(365 * 24 * 60 * 60) }
    }
}

/// `[admin]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where to listen.
    pub listen: Option<SocketAddr>,
}

/// `[cluster]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The same at all its brokers.
    pub name: Option<String>,
    /// Addresses of NATS servers.
    pub nats: Vec<String>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object in each line.
    Json,
}

impl Word for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// Where settings come from. Kept, so that the file can be read again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// By number of the row.
    flags: Vec<(usize, Vec<String>)>,
    variables: Vec<(String, OsString)>,
}

impl Settings {
    /// What holds without a configuration file: for development, on this machine.
    #[must_use]
    pub fn development() -> Self {
        Self {
            config: None,
            listen: vec![(Ipv4Addr::LOCALHOST, 8080).into()],
            www: None,
            log: LevelFilter::INFO,
            log_format: LogFormat::Text,
            threads: 1,
            drain: Duration::from_secs(5),
            max_message_size: 32 << 20,
            origins: vec!["loopback".into()],
            trusted_proxies: Vec::new(),
            proposed_properties: vec!["*".into()],
            isolated_paths: Vec::new(),
            tls: Tls::default(),
            anonymous: None,
            users: Vec::new(),
            tokens: Vec::new(),
            roles: BTreeMap::new(),
            admin: Admin::default(),
            cluster: Cluster::default(),
            broker: BrokerConfig { probe_timeout: Duration::from_secs(3), ..BrokerConfig::default() },
            limits: Limits::default(),
            identities: identity::Limits::default(),
            unknown_variables: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// What a configuration file begins with: nothing is granted.
    #[must_use]
    pub fn production(config: PathBuf) -> Self {
        Self {
            config: Some(config),
            max_message_size: 4 << 20,
            origins: Vec::new(),
            proposed_properties: Vec::new(),
            ..Self::development()
        }
    }

    /// What the content of a configuration file says. No file is looked at: neither `config` itself nor those that it names.
    ///
    /// # Errors
    ///
    /// The first [`Fault`] that is found.
    pub fn parse(config: &Path, content: Vec<u8>) -> Result<Self, Fault> {
        Sources::default().settings(Some(&Document::new(config, content)?))
    }

    /// Something is wrong with a setting that only its user can know, such as an address that is in use. `key` is as
    /// in [`Fault::key`].
    #[must_use]
    pub fn fault(&self, key: &str, text: impl Into<String>) -> Fault {
        let place = self.places.get(key).cloned().unwrap_or(Place::Default);
        Fault { place, key: key.into(), text: text.into() }
    }

    /// Where a setting was given.
    #[must_use]
    pub fn place(&self, key: &str) -> &Place {
        self.places.get(key).unwrap_or(&Place::Default)
    }
}

impl Sources {
    /// Reads the file, and the variables and options over it.
    ///
    /// # Errors
    ///
    /// The first [`Fault`] that is found.
    pub fn load(&self) -> Result<Settings, Fault> {
        let document = self.config.as_deref().map(Document::read).transpose()?;
        let settings = self.settings(document.as_ref())?;
        settings.check_files()?;
        Ok(settings)
    }

    fn settings(&self, document: Option<&Document>) -> Result<Settings, Fault> {
        let mut given = Given::default();
        let mut settings = match document {
            None => Settings::development(),
            Some(document) => {
                let parsed = document.parse()?;
                let root = document.root(&parsed);
                given.read_file(&root)?;
                let sections = Sections::read(&root)?;
                root.finish(key_elsewhere)?;
                let Sections { anonymous, users, tokens, roles, places } = sections;
                let places = places.into_iter().collect();
                Settings { anonymous, users, tokens, roles, places, ..Settings::production(document.file().into()) }
            }
        };
        given.read_variables(&self.variables)?;
        settings.unknown_variables = variables::without_meaning(&self.variables)?;
        given.read_flags(&self.flags);
        given.apply(&mut settings)?;
        settings.check()?;
        settings.settle();
        Ok(settings)
    }
}

impl Settings {
    /// What is decided once and asked for at several places.
    fn settle(&mut self) {
        self.broker.max_message_size = self.max_message_size;
        self.limits.max_message_size = self.max_message_size;
        self.broker.proposed_properties = match self.proposed_properties.iter().any(|name| name == "*") {
            true => Proposals::All,
            false => Proposals::Only(self.proposed_properties.iter().cloned().collect()),
        };
    }

    /// What no row can see alone.
    fn check(&self) -> Result<(), Fault> {
        let open = self.listen.iter().find(|address| !address.ip().is_loopback());
        if let (None, Some(address)) = (&self.config, open) {
            let text = "without a configuration file the passwords are well known, so only a loopback address will do";
            return Err(self.fault("listen", format!("{address}: {text}; `antiphon-broker init FILE` makes a file")));
        }
        match (&self.tls.certificate, &self.tls.key) {
            (Some(_), None) => Err(self.fault("tls.certificate", "its key is missing; name it as tls.key")),
            (None, Some(_)) => Err(self.fault("tls.key", "its certificate is missing; name it as tls.certificate")),
            _ => Ok(()),
        }?;
        if self.proposed_properties.len() > 1 && self.proposed_properties.iter().any(|name| name == "*") {
            return Err(self.fault("proposed_properties", "\"*\" stands for all; leave the others out"));
        }
        Ok(())
    }

    /// What is in the file and not served by this version.
    #[must_use]
    pub fn not_served(&self) -> Vec<&'static str> {
        let tables = [("[admin]", self.admin != Admin::default()), ("[cluster]", self.cluster != Cluster::default())];
        tables.into_iter().filter(|(_, is_given)| *is_given).map(|(table, _)| table).collect()
    }
}
