//! The files that settings name: that they are there, and can be read.

use std::path::Path;

use super::{Fault, KeyFile, Settings};

impl Settings {
    /// Looks at each of them.
    pub(super) fn check_files(&self) -> Result<(), Fault> {
        let tls = [("tls.certificate", &self.tls.certificate), ("tls.key", &self.tls.key)];
        for (key, file) in tls.into_iter().filter_map(|(key, file)| Some((key, file.as_ref()?))) {
            check_file(file).map_err(|text| self.fault(key, text))?;
        }
        for (index, tokens) in self.tokens.iter().enumerate() {
            let (key, file) = match &tokens.keys {
                KeyFile::Jwks(file) => ("keys", file),
                KeyFile::Secret(file) => ("secret_file", file),
            };
            check_file(file).map_err(|text| self.fault(&format!("tokens[{index}].{key}"), text))?;
        }
        self.www.as_deref().map_or(Ok(()), check_folder).map_err(|text| self.fault("www", text))
    }
}

fn check_file(file: &Path) -> Result<(), String> {
    match std::fs::File::open(file).and_then(|opened| opened.metadata()) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(format!("{} is no file; name one", file.display())),
        Err(error) => Err(format!("cannot read {}: {error}; name a file that can be read", file.display())),
    }
}

fn check_folder(folder: &Path) -> Result<(), String> {
    let cannot = |error| format!("cannot read {}: {error}; name a folder that can be read", folder.display());
    std::fs::read_dir(folder).map(drop).map_err(cannot)
}
