//! The files served beside the WebSocket: read once at the start, so that no request ever touches the file system.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use axum::body::Bytes;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Files by URL path, each with its media type.
#[derive(Debug, Default)]
pub struct Site {
    files: HashMap<String, (HeaderValue, Bytes)>,
}

impl Site {
    /// Reads all files below `directory`. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    ///
    /// If the directory or a file in it cannot be read.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut site = Self::default();
        site.add(directory, "/")?;
        Ok(site)
    }

    fn add(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let url = format!("{prefix}{name}");
            if path.is_dir() {
                self.add(&path, &format!("{url}/"))?;
            } else if path.is_file() {
                self.files.insert(url, (media_type(name), std::fs::read(&path)?.into()));
            }
        }
        Ok(())
    }

    /// Answers a request for `path`, as it stands in the request.
    #[must_use]
    pub fn respond(&self, method: &Method, path: &str) -> Response {
        if method != Method::GET && method != Method::HEAD {
            return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response();
        }
        // A look-up and no path of the file system, so whatever is written with dots and escapes is simply not there.
        let path = percent_decode_str(path).decode_utf8_lossy();
        let index = |folder: &str| self.files.get(&format!("{folder}index.html"));
        let file = if path.ends_with('/') { index(&path) } else { self.files.get(&*path) };
        if file.is_none() && index(&format!("{path}/")).is_some() {
            let name = path.rsplit('/').next().unwrap_or_default();
            let folder = format!("{}/", utf8_percent_encode(name, NON_ALPHANUMERIC));
            return (StatusCode::MOVED_PERMANENTLY, [(LOCATION, folder)]).into_response();
        }
        match file {
            Some((media_type, content)) => {
                let headers = [
                    (CONTENT_TYPE, media_type.clone()),
                    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
                    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
                ];
                (headers, content.clone()).into_response()
            }
            None => (StatusCode::NOT_FOUND, "nothing here; the WebSocket is at /diffusion\n").into_response(),
        }
    }
}

fn media_type(name: &str) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let text = if guess.type_() == "text" { format!("{guess}; charset=utf-8") } else { guess.to_string() };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}
