//! The files served beside the WebSocket: read and compressed once at the start, so that no request ever touches the file
//! system.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::Path;

use axum::body::Bytes;
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Of 11; above, a broker with a large site would take minutes to start.
const BROTLI_QUALITY: i32 = 9;

/// Characters that a hash in a file name has at least; bundlers use 8 to 20.
const MIN_HASH: usize = 8;

/// Files by URL path.
#[derive(Debug, Default)]
pub struct Site {
    files: HashMap<String, File>,
}

#[derive(Debug)]
struct File {
    media_type: HeaderValue,
    caching: HeaderValue,
    plain: Content,
    /// The same in fewer bytes, the smallest first, each with the name of its encoding.
    compressed: Vec<(&'static str, Content)>,
}

/// What is in a file, in one of its encodings.
#[derive(Debug)]
struct Content {
    tag: HeaderValue,
    bytes: Bytes,
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
                self.files.insert(url, File::new(name, std::fs::read(&path)?)?);
            }
        }
        Ok(())
    }

    /// Answers a request for `path`, as it stands in the request.
    #[must_use]
    pub fn respond(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response {
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
            Some(file) => file.respond(headers),
            None => {
                (StatusCode::NOT_FOUND, "nothing here; the WebSocket is at /antiphon and /diffusion\n").into_response()
            }
        }
    }
}

impl File {
    fn new(name: &str, bytes: Vec<u8>) -> io::Result<Self> {
        let mut compressed = Vec::new();
        let gzip = gzip(&bytes)?;
        // What gzip does not make smaller, such as an image, brotli would only take longer for.
        if gzip.len() < bytes.len() {
            let brotli = brotli(&bytes)?;
            if brotli.len() < gzip.len() {
                compressed.push(("br", Content::new(brotli)));
            }
            compressed.push(("gzip", Content::new(gzip)));
        }
        let caching = if has_hash(name) { "public, max-age=31536000, immutable" } else { "no-cache" };
        let (media_type, caching) = (media_type(name), HeaderValue::from_static(caching));
        Ok(Self { media_type, caching, plain: Content::new(bytes), compressed })
    }

    fn respond(&self, headers: &HeaderMap) -> Response {
        let accepted = self.compressed.iter().find(|(encoding, _)| accepts(headers, encoding));
        let content = accepted.map_or(&self.plain, |(_, content)| content);
        let mut response = if is_known(headers, &content.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let described = [(CONTENT_TYPE, self.media_type.clone())];
            let mut response = (described, content.bytes.clone()).into_response();
            if let Some((encoding, _)) = accepted {
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            response
        };
        let answered = response.headers_mut();
        answered.insert(CACHE_CONTROL, self.caching.clone());
        answered.insert(ETAG, content.tag.clone());
        if !self.compressed.is_empty() {
            answered.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        response
    }
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish()));
        Self { tag: tag.unwrap_or(HeaderValue::from_static("\"\"")), bytes: bytes.into() }
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn brotli(mut bytes: &[u8]) -> io::Result<Vec<u8>> {
    let parameters = BrotliEncoderParams { quality: BROTLI_QUALITY, ..BrotliEncoderParams::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut bytes, &mut compressed, &parameters)?;
    Ok(compressed)
}

/// Whether a client takes an encoding: it names it, or all of them, and not with a weight of 0.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let weight = |wanted: &str| {
        list(headers, &ACCEPT_ENCODING).find_map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case(wanted).then(|| weight.unwrap_or(0.0))
        })
    };
    weight(encoding).or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

/// Whether a client has this content already.
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    // A proxy that compresses makes tags weak, which counts for nothing here.
    list(headers, &IF_NONE_MATCH).any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == tag)
}

/// The items of a header that is a list, however many lines it takes.
fn list<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',').map(str::trim))
}

/// Whether a bundler put a hash of its content into a file's name, as in `index-B3xk9Q2f.js`: then another content has
/// another name. In doubt it did not, for that costs a request and no more. Pages have the name that people know.
fn has_hash(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    // `main.f00d1234abcd.js.map` has the hash of what it is the map of.
    let stem = stem.strip_suffix(".js").or_else(|| stem.strip_suffix(".css")).unwrap_or(stem);
    let Some((_, hash)) = stem.rsplit_once(['-', '.']) else { return false };
    let is_word = hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let has_digit = hash.bytes().any(|byte| byte.is_ascii_digit());
    // Not `chapter12`, not `20261126`.
    let changes = hash.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit());
    !extension.starts_with("htm") && hash.len() >= MIN_HASH && is_word && has_digit && changes.count() >= 2
}

fn media_type(name: &str) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let text = if guess.type_() == "text" { format!("{guess}; charset=utf-8") } else { guess.to_string() };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: axum::http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a header"))])
    }

    #[test]
    fn a_hash_in_a_name_is_told_from_words_numbers_and_dates() {
        for hashed in ["index-B3xk9Q2f.js", "index-x1_Ab2cd.css", "main.f00d1234abcd9876.js", "a-1a2b3c4d.js.map"] {
            assert!(has_hash(hashed), "{hashed}");
        }
        for plain in [
            "index.js",
            "user-documentation.js",
            "guide-chapter12.js",
            "report-20261126.pdf",
            "jquery-3.7.1.min.js",
            "index-B3xk9Q2f.html",
            "B3xk9Q2f1a.js",
            "index-B3xk9Q.js",
            "index-B3xk9Q2f",
        ] {
            assert!(!has_hash(plain), "{plain}");
        }
    }

    #[test]
    fn an_encoding_is_accepted_by_name_or_by_a_star_unless_its_weight_is_0() {
        let accepted = |value: &str| accepts(&asked(ACCEPT_ENCODING, value), "gzip");
        for good in ["gzip", "br, GZIP", "deflate;q=1.0,gzip;q=0.5", "gzip; q=0.001", "*", "br;q=0, *;q=0.1"] {
            assert!(accepted(good), "{good}");
        }
        for bad in ["", "identity", "br", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "gzip;q=much"] {
            assert!(!accepted(bad), "{bad}");
        }
        assert!(!accepts(&HeaderMap::new(), "gzip"));
    }

    #[test]
    fn only_what_is_smaller_is_kept() {
        let encodings = |bytes: &[u8]| {
            let file = File::new("a.txt", bytes.to_vec()).expect("compresses");
            assert!(file.compressed.iter().all(|(_, content)| content.bytes.len() < bytes.len()));
            file.compressed.iter().map(|(encoding, _)| *encoding).collect::<Vec<_>>()
        };
        assert_eq!(encodings(b""), [""; 0]);
        assert_eq!(encodings(b"short"), [""; 0]);
        assert_eq!(encodings("Say it again. ".repeat(1000).as_bytes()), ["br", "gzip"]);
    }

    #[test]
    fn a_tag_is_known_among_others_weak_or_as_a_star() {
        let tag = HeaderValue::from_static("\"1a\"");
        for good in ["\"1a\"", "\"0\", \"1a\"", "W/\"1a\"", "*"] {
            assert!(is_known(&asked(IF_NONE_MATCH, good), &tag), "{good}");
        }
        for bad in ["", "\"0\"", "1a", "\"1A\""] {
            assert!(!is_known(&asked(IF_NONE_MATCH, bad), &tag), "{bad}");
        }
    }
}
