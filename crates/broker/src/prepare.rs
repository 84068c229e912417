//! What settings come to: all that can go wrong before anything is started, or changed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use antiphon_broker::core::permissions::Permissions;
use antiphon_broker::identity::tokens::Issuer;
use antiphon_broker::identity::{Keys, Known, User};
use antiphon_broker::net::{CertificateError, Entrance, Origins, Site, tls};
use antiphon_broker::settings::{Fault, KeyFile, Settings, Tls};

/// Everything that is made of settings and files.
pub struct Prepared {
    /// Who may come in.
    pub entrance: Arc<Entrance>,
    /// Who may connect, and as what.
    pub known: Known,
    /// What sessions may do.
    pub permissions: Permissions,
}

impl Prepared {
    /// Makes it.
    pub fn from(settings: &Settings) -> Result<Self, Fault> {
        let permissions = Permissions::new(settings.roles.clone(), &settings.isolated_paths)
            .map_err(|fault| settings.fault(&fault.place.join("."), fault.problem))?;
        let tls = match &settings.tls {
            Tls { certificate: Some(certificate), key: Some(key), .. } => {
                Some(tls(certificate, key).map_err(|error| {
                    let is_of_the_certificate = match &error {
                        CertificateError::Unreadable { file, .. } => file == certificate,
                        CertificateError::NoCertificate(_) => true,
                        _ => false,
                    };
                    let key = if is_of_the_certificate { "tls.certificate" } else { "tls.key" };
                    settings.fault(key, error.to_string())
                })?)
            }
            _ => None,
        };
        let origins = Origins::new(&settings.origins);
        let (trusted_proxies, hsts) = (settings.trusted_proxies.clone(), settings.tls.hsts);
        let entrance = Entrance { tls, hsts, origins, trusted_proxies };
        Ok(Self { entrance: Arc::new(entrance), known: known(settings, &permissions)?, permissions })
    }
}

fn known(settings: &Settings, permissions: &Permissions) -> Result<Known, Fault> {
    let mut users = HashMap::new();
    for (index, user) in settings.users.iter().enumerate() {
        let password = user.password.0.parse();
        let password = password.map_err(|text: String| settings.fault(&format!("users[{index}].password"), text))?;
        let properties = user.properties.clone().into_iter().collect();
        users.insert(user.name.clone(), User { password, roles: user.roles.clone(), properties });
    }
    let mut issuers = Vec::new();
    for (index, tokens) in settings.tokens.iter().enumerate() {
        let (key, read) = match &tokens.keys {
            KeyFile::Jwks(file) => {
                ("keys", read(file).and_then(|text| Keys::from_jwks(&String::from_utf8_lossy(&text))))
            }
            KeyFile::Secret(file) => ("secret_file", read(file).and_then(|secret| Keys::from_secret(&secret))),
        };
        let keys = read.map_err(|text| settings.fault(&format!("tokens[{index}].{key}"), text))?;
        issuers.push(Issuer {
            issuer: tokens.issuer.clone(),
            audience: tokens.audience.clone(),
            keys,
            principal_claim: tokens.principal_claim.clone(),
            roles_claim: tokens.roles_claim.clone(),
            properties: tokens.properties.clone().into_iter().collect(),
            leeway: tokens.leeway,
        });
    }
    let anonymous = settings.anonymous.as_ref().map(|anonymous| anonymous.roles.clone());
    Ok(Known { anonymous, users, issuers, roles: permissions.roles().keys().cloned().collect() })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file)
        .map_err(|error| format!("cannot read {}: {error}; name a file that can be read", file.display()))
}

/// The files to serve, which are read once.
pub fn site(settings: &Settings) -> Result<Site, Fault> {
    let Some(folder) = &settings.www else { return Ok(Site::default()) };
    Site::read(folder).map_err(|error| settings.fault("www", format!("{}: {error}", folder.display())))
}
