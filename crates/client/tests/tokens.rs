//! Sessions with tokens that expire.

#![cfg(not(target_arch = "wasm32"))]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon_broker::identity::tokens::Issuer;
use antiphon_broker::identity::{Keys, Known};
use antiphon_client::{CloseCode, Credentials, Options, connect};
use base64ct::{Base64UrlUnpadded, Encoding};
use ring::hmac;
use support::{LONG, TestBroker};
use tokio::time::{sleep, timeout};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A token of ada's that is good for so long.
fn token(time: Duration) -> String {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + time;
    let encode = Base64UrlUnpadded::encode_string;
    let claims = format!(r#"{{"sub":"ada","exp":{}}}"#, end.as_secs_f64());
    let message = format!("{}.{}", encode(br#"{"alg":"HS256"}"#), encode(claims.as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", encode(signature.as_ref()))
}

async fn broker() -> TestBroker {
    let issuer = Issuer {
        issuer: None,
        audience: None,
        keys: Keys::from_secret(SECRET).expect("long enough"),
        principal_claim: Some("sub".into()),
        roles_claim: None,
        properties: Vec::new(),
        leeway: Duration::ZERO,
    };
    TestBroker::knowing(Known { issuers: vec![issuer], ..Known::default() }).await
}

// Rules I-6.
#[tokio::test]
async fn a_credentials_function_is_asked_in_time_and_the_session_goes_on() {
    let broker = broker().await;
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    let options = Options::new().principal("ada").credentials_from(move || {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        // It fails once, and is asked again.
        let given = if number == 1 { Err("not now") } else { Ok(token(Duration::from_secs(4 + 100 * number / 4))) };
        async move { given.map(Credentials::Password) }
    });
    let session = connect(&broker.url, options).await.expect("connected");
    let id = session.id();
    let until = async || {
        let properties = session.properties(&["$ExpiryTime"]).await.expect("told");
        properties["$ExpiryTime"].parse::<u64>().expect("a number")
    };
    let first = until().await;
    let renewed = async {
        while until().await < first + 10_000 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, renewed).await.expect("it has another token");
    assert_eq!(session.id(), id);
    assert!(asked.load(Ordering::Relaxed) > 2);
}

// Rules I-5.
#[tokio::test]
async fn a_session_ends_with_its_token() {
    let broker = broker().await;
    let options = Options::new().principal("ada").password(token(Duration::from_secs(2)));
    let session = connect(&broker.url, options).await.expect("connected");
    let closed = timeout(LONG, session.closed()).await.expect("it ends");
    assert_eq!(closed.code, CloseCode::ClosedByServer);
}
