//! Sessions over TLS, with an authority of the test.

#![cfg(all(not(target_arch = "wasm32"), feature = "tls"))]

mod support;

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig};
use antiphon_broker::net::{Entrance, Server};
use antiphon_client::{
    ConnectCode, ConnectError, Options, Request, Session, SessionEvent, Value, WhenDisconnected, connect,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use support::{Cable, Condition, LONG, TestBroker};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// What issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed"))
    }

    /// What its clients are to trust.
    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Options of a client that trusts it.
    fn trusting(&self) -> Options {
        Options::new().trusted_roots(self.pem())
    }

    fn issue(&self, params: &CertificateParams, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .expect("they fit")
    }

    /// A broker with a certificate for this machine.
    async fn broker(&self) -> TestBroker {
        over_tls(self.issue(&names(&["localhost", "127.0.0.1", "::1"]), &[&TLS12, &TLS13])).await
    }
}

fn names(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A broker with this certificate and key.
async fn over_tls(tls: ServerConfig) -> TestBroker {
    let entrance = Entrance { tls: Some(Arc::new(tls)), ..Entrance::default() };
    let broker = Broker::new(BrokerConfig::default(), Access::development());
    TestBroker::serving(Server { entrance: watch::channel(Arc::new(entrance)).1, ..Server::development(broker) }).await
}

/// Asks itself.
async fn greet(session: &Session) -> String {
    let messaging = session.messaging();
    let handler = async |request: Request| Ok(format!("hello {}", request.decode::<String>()?));
    messaging.add_request_handler("greet", handler).await.expect("registered");
    let answer = messaging.send_request_to_path("greet", "Ada").await.expect("answered");
    answer.decode().expect("a text")
}

#[tokio::test]
async fn a_session_over_either_version_has_either_path_and_any_name_that_the_certificate_has() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let broker = over_tls(authority.issue(&names(&["localhost", "127.0.0.1"]), &[version])).await;
        for host in ["127.0.0.1", "localhost"] {
            for path in ["/diffusion", "/antiphon"] {
                let url = broker.url.replace("127.0.0.1", host).replace("/diffusion", path);
                let session = connect(&url, authority.trusting()).await.expect("connected");
                assert_eq!(greet(&session).await, "hello Ada", "{url}");
                session.close().await;
            }
        }
    }
}

#[tokio::test]
async fn an_address_of_ipv6_is_a_name_as_well() {
    let authority = Authority::new();
    let broker = authority.broker().await;
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let url = format!("wss://{}", listener.local_addr().expect("an address"));
    let cable = Cable::from(listener, &broker);
    let session = connect(&url, authority.trusting()).await.expect("connected");
    assert_eq!(greet(&session).await, "hello Ada");
    drop(cable);
}

#[tokio::test]
async fn several_authorities_can_be_trusted() {
    // Whatever they are called.
    let [first, second] = [Authority::new(), Authority::new()];
    let in_one_file = Options::new().trusted_roots(first.pem() + &second.pem());
    let one_by_one = first.trusting().trusted_roots(second.pem());
    for authority in [first, second] {
        let broker = authority.broker().await;
        for options in [&in_one_file, &one_by_one] {
            connect(&broker.url, options.clone()).await.expect("connected");
        }
    }
}

#[tokio::test]
async fn large_messages_and_many_get_their_own_answers() {
    let authority = Authority::new();
    let broker = authority.broker().await;
    let session = connect(&broker.url, authority.trusting()).await.expect("connected");
    let messaging = session.messaging();
    messaging.add_request_handler("echo", async |request: Request| Ok(request.into_value())).await.expect("registered");
    let small = (0..1000).map(|number: u32| number.to_string());
    let large = (0..4).map(|number: u32| number.to_string().repeat(2 << 20));
    let asked = small.chain(large).map(Value::binary).map(async |value| {
        let answer = messaging.send_request_to_path("echo", &value).timeout(LONG).await;
        assert!(answer.as_ref() == Ok(&value), "{answer:?}");
    });
    join_all(asked).await;
}

#[tokio::test]
async fn a_session_goes_on_over_the_next_connection() {
    let authority = Authority::new();
    let broker = authority.broker().await;
    let cable = Cable::to(&broker).await;
    let session = connect(&cable.url, authority.trusting()).await.expect("connected");
    assert_eq!(greet(&session).await, "hello Ada");
    let mut events = session.events();
    for _ in 0..3 {
        cable.set(Condition::Cut);
        while !matches!(events.next().await, Some(SessionEvent::Disconnected { .. })) {}
        cable.set(Condition::Works);
        let messaging = session.messaging();
        let asked = messaging.send_request_to_path("greet", "Bob").when_disconnected(WhenDisconnected::Wait);
        let answer = asked.timeout(LONG).await.expect("answered");
        assert_eq!(answer.decode::<String>().as_deref(), Ok("hello Bob"));
        loop {
            match events.next().await.expect("an open session") {
                SessionEvent::Reconnected { lossless, .. } => break assert!(lossless),
                _ => continue,
            }
        }
    }
}

#[tokio::test]
async fn a_request_under_way_fails_when_the_broker_is_gone() {
    let authority = Authority::new();
    let broker = authority.broker().await;
    let options = authority.trusting().reconnect_timeout(Duration::ZERO);
    let session = connect(&broker.url, options).await.expect("connected");
    let (asked, mut is_asked) = mpsc::unbounded_channel();
    let handler = move |_| {
        asked.send(()).expect("the test goes on");
        std::future::pending::<Result<(), _>>()
    };
    session.messaging().add_request_handler("never", handler).await.expect("registered");
    let stop = async {
        is_asked.recv().await.expect("asked");
        broker.stop().await;
    };
    let (outcome, ()) = tokio::join!(session.messaging().send_request_to_path("never", ()).into_future(), stop);
    assert_eq!(outcome.expect_err("it is over").code(), "CONNECTION_LOST");
}

/// Of a first connection that cannot be made: that it is said at once, and what.
async fn refused(url: &str, options: Options) -> String {
    let began = Instant::now();
    let error = connect(url, options.connect_timeout(LONG)).await.expect_err("no session");
    assert!(began.elapsed() < LONG, "{error}");
    let ConnectError { code, is_retryable, message, .. } = error;
    assert_eq!((code, is_retryable), (ConnectCode::ConnectionError, false), "{message}");
    message
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_refused_with_a_text_that_says_what_to_do() {
    let authority = Authority::new();
    let good = || names(&["127.0.0.1"]);
    let mut expired = good();
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let mut not_yet = good();
    (not_yet.not_before, not_yet.not_after) = (date_time_ymd(2400, 1, 1), date_time_ymd(2401, 1, 1));
    let mut of_an_authority = good();
    of_an_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut of_a_client = good();
    of_a_client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (params, text) in [
        (
            names(&["example.org", "*.example.org", "10.0.0.1"]),
            "is for example.org, *.example.org, 10.0.0.1; connect by",
        ),
        (names(&[]), "is for no name; connect by"),
        (names(&["a", "b", "c", "d", "e", "f", "g"]), "is for a, b, c, d, e and 2 others; connect by"),
        (expired, "expired 2"),
        (not_yet, "is not valid before 1"),
        (of_an_authority, "is one of an authority (`CA:TRUE`)"),
        (of_a_client, "is not accepted: "),
    ] {
        let broker = over_tls(authority.issue(&params, &[&TLS13])).await;
        let said = refused(&broker.url, authority.trusting()).await;
        assert!(said.starts_with("no connection: 127.0.0.1: its certificate ") && said.contains(text), "{said}");
    }
    let broker = authority.broker().await;
    for options in [Options::new(), Authority::named("another authority").trusting()] {
        let said = refused(&broker.url, options).await;
        let text = "no connection: 127.0.0.1: its certificate is from an authority that is not trusted here";
        assert!(said.starts_with(text) && said.contains("`Options::trusted_roots`"), "{said}");
    }
    // One that was made anew.
    let said = refused(&broker.url, Authority::new().trusting()).await;
    assert!(said.contains("the name of one that is trusted here, but another key"), "{said}");
}

#[tokio::test]
async fn roots_that_are_none_are_named_as_the_reason() {
    let authority = Authority::new();
    let broker = authority.broker().await;
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pem, text) in [("ca.pem", "no certificates in PEM form"), (damaged, "damaged")] {
        let said = refused(&broker.url, Options::new().trusted_roots(pem)).await;
        assert!(said.contains("trusted roots") && said.contains(text), "{said}");
    }
}

#[tokio::test]
async fn an_address_of_the_wrong_kind_is_named_as_the_reason() {
    let authority = Authority::new();
    let plain = TestBroker::start().await;
    let said = refused(&plain.url.replace("ws://", "wss://"), authority.trusting()).await;
    assert!(said.ends_with("does not speak TLS; is it a ws:// address?"), "{said}");

    let encrypted = authority.broker().await;
    let said = refused(&encrypted.url.replace("wss://", "ws://"), Options::new()).await;
    assert!(said.ends_with("does not speak HTTP; is it a wss:// address?"), "{said}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_the_time_of_the_options() {
    // It listens, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("wss://{}", listener.local_addr().expect("an address"));
    let options = Authority::new().trusting().connect_timeout(Duration::from_millis(50));
    let error = connect(&url, options).await.expect_err("no session");
    assert_eq!(error.code, ConnectCode::ConnectionTimeout);
}

#[tokio::test]
async fn a_server_that_goes_away_during_the_handshake_may_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("wss://{}", listener.local_addr().expect("an address"));
    let hang_up = async { drop(listener.accept().await.expect("accepted")) };
    let (outcome, ()) = tokio::join!(connect(&url, Authority::new().trusting()), hang_up);
    let error = outcome.expect_err("no session");
    assert_eq!((error.code, error.is_retryable), (ConnectCode::ConnectionError, true), "{error}");
}

#[tokio::test]
async fn attempts_to_reconnect_go_on_while_the_certificate_is_bad() {
    let authority = Authority::new();
    let [good, bad] = [authority.broker().await, Authority::new().broker().await];
    let cable = Cable::to(&good).await;
    let (attempted, mut attempts) = mpsc::unbounded_channel();
    let options = authority.trusting().reconnect_delay(move |attempt| {
        // The test may be over.
        let _ = attempted.send(attempt);
        Duration::ZERO
    });
    let session = connect(&cable.url, options).await.expect("connected");
    let mut events = session.events();
    cable.lead_to(&bad);
    cable.set(Condition::Cut);
    while !matches!(events.next().await, Some(SessionEvent::Disconnected { .. })) {}
    cable.set(Condition::Works);
    while attempts.recv().await.expect("it goes on") < 5 {}
    cable.lead_to(&good);
    while !matches!(events.next().await, Some(SessionEvent::Reconnected { .. })) {}
}
