//! Against a server on loopback that rotates its keys, falters, and lies.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, StatusCode, header};

use super::*;
use crate::attacks::Fixture;
use crate::config::JwtConfig;
use crate::jwt::Verifier;

/// What the server answers.
#[derive(Clone)]
struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: String,
    delay: Duration,
}

impl Reply {
    fn ok(body: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: body.into(), delay: Duration::ZERO }
    }

    fn status(status: StatusCode) -> Self {
        Self { status, ..Self::ok("") }
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A server, with how often it was asked.
struct Server {
    reply: std::sync::Mutex<Reply>,
    /// What `/elsewhere` answers, where redirects lead.
    elsewhere: std::sync::Mutex<Reply>,
    asked: AtomicUsize,
    port: u16,
}

impl Server {
    async fn start(reply: Reply) -> Arc<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            reply: reply.clone().into(),
            elsewhere: reply.into(),
            asked: AtomicUsize::new(0),
            port: listener.local_addr().unwrap().port(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&server));
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn answer(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(Shared(server): Shared<Arc<Server>>, uri: http::Uri) -> Response {
    server.asked.fetch_add(1, Ordering::SeqCst);
    let which = if uri.path() == "/elsewhere" { &server.elsewhere } else { &server.reply };
    let Reply { status, headers, body, delay } = which.lock().unwrap().clone();
    tokio::time::sleep(delay).await;
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// An issuer with one key, a token of it, and a verifier that asks it.
struct Setup {
    fixture: Fixture,
    server: Arc<Server>,
    verifier: Arc<Verifier>,
    clock: Clock,
    token: String,
}

impl Setup {
    async fn new() -> Self {
        let fixture = Fixture::generate();
        let (set, token) = fixture.rotated("one");
        let server = Server::start(Reply::ok(set)).await;
        let clock = Clock::default();
        let config = JwtConfig { jwks_url: server.url("/keys"), ..fixture.config("").jwt };
        let verifier = Arc::new(Verifier::new(&config, clock.clone()).unwrap());
        Self { fixture, server, verifier, clock, token }
    }

    async fn check(&self, token: &str) -> Result<(), Reason> {
        self.verifier.payload(token).await.map(drop)
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn token_of(&self, kid: &str) -> String {
        self.fixture.rotated(kid).1
    }
}

#[tokio::test]
async fn keys_are_fetched_when_they_are_needed_and_kept() {
    let setup = Setup::new().await;
    let hs256 = setup.fixture.token("acme", "query");
    assert_eq!(setup.check(&hs256).await, Ok(()));
    assert_eq!(setup.server.asked(), 0, "a secret needs no key set");
    for _ in 0..3 {
        assert_eq!(setup.check(&setup.token).await, Ok(()));
    }
    assert_eq!(setup.server.asked(), 1);
    setup.pass(299);
    assert_eq!(setup.check(&setup.token).await, Ok(()));
    assert_eq!(setup.server.asked(), 1);
    setup.pass(2);
    assert_eq!(setup.check(&setup.token).await, Ok(()));
    assert_eq!(setup.server.asked(), 2);
}

#[tokio::test]
async fn a_rotation_is_followed_at_once_and_the_old_key_ends() {
    let setup = Setup::new().await;
    assert_eq!(setup.check(&setup.token).await, Ok(()));
    setup.pass(20);
    let (set, token) = setup.fixture.rotated("two");
    setup.server.answer(Reply::ok(set));
    assert_eq!(setup.check(&setup.token).await, Ok(()), "the old key is still in the cache");
    assert_eq!(setup.check(&token).await, Ok(()));
    assert_eq!(setup.server.asked(), 2);
    assert_eq!(setup.check(&setup.token).await, Err(Reason::UnknownKey));
    assert_eq!(setup.server.asked(), 2, "within ten seconds nobody asks again");
}

#[tokio::test]
async fn unknown_keys_do_not_make_us_ask_and_ask() {
    let setup = Setup::new().await;
    assert_eq!(setup.check(&setup.token).await, Ok(()));
    for round in 1..=3 {
        setup.pass(11);
        for number in 0..20 {
            let token = setup.token_of(&format!("unknown-{round}-{number}"));
            assert_eq!(setup.check(&token).await, Err(Reason::UnknownKey));
        }
        assert_eq!(setup.server.asked(), 1 + round);
    }
    // The same one again is not asked for within 30 seconds, even when asking would be allowed.
    let unknown = setup.token_of("unknown-3-0");
    setup.pass(18);
    assert_eq!(setup.check(&unknown).await, Err(Reason::UnknownKey));
    assert_eq!(setup.server.asked(), 4);
    setup.pass(13);
    assert_eq!(setup.check(&unknown).await, Err(Reason::UnknownKey));
    assert_eq!(setup.server.asked(), 5);
}

#[tokio::test]
async fn an_outage_does_not_stop_known_keys() {
    let setup = Setup::new().await;
    assert_eq!(setup.check(&setup.token).await, Ok(()));
    setup.server.answer(Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    setup.pass(301);
    for _ in 0..10 {
        assert_eq!(setup.check(&setup.token).await, Ok(()));
    }
    assert_eq!(setup.server.asked(), 2, "an issuer that is down is asked once in ten seconds");
    assert_eq!(
        setup.check(&setup.token_of("two")).await,
        Err(Reason::KeysUnavailable),
        "nobody knows whether it is one"
    );
    setup.pass(3590);
    assert_eq!(setup.check(&setup.token).await, Ok(()));
    setup.pass(10);
    assert_eq!(setup.check(&setup.token).await, Err(Reason::KeysUnavailable), "not for ever");
    setup.server.answer(Reply::ok(setup.fixture.rotated("one").0));
    setup.pass(11);
    assert_eq!(setup.check(&setup.token).await, Ok(()));
}

#[tokio::test]
async fn what_is_no_key_set_is_not_taken_for_one() {
    let setup = Setup::new().await;
    let good = setup.fixture.rotated("one").0;
    let padded = format!("{}{}", good, " ".repeat(300 * 1024));
    for (name, bad) in [
        ("not found", Reply::status(StatusCode::NOT_FOUND)),
        ("another status with keys", Reply { status: StatusCode::ACCEPTED, ..Reply::ok(good.as_str()) }),
        ("a page", Reply::ok("<html>log in</html>")),
        ("no keys", Reply::ok(r#"{"keys":[]}"#)),
        ("keys of no use", Reply::ok(r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"one","alg":"RS256"}]}"#)),
        ("huge", Reply::ok(padded)),
        ("a redirect without a goal", Reply::status(StatusCode::FOUND)),
        ("a redirect in circles", Reply::status(StatusCode::FOUND).with(header::LOCATION, "/keys")),
    ] {
        setup.server.answer(bad);
        setup.pass(11);
        assert_eq!(setup.check(&setup.token).await, Err(Reason::KeysUnavailable), "{name}");
    }
    setup.server.answer(Reply::ok(good));
    setup.pass(11);
    assert_eq!(setup.check(&setup.token).await, Ok(()));
}

#[tokio::test]
async fn a_slow_issuer_is_not_waited_for() {
    let setup = Setup::new().await;
    let slow = Reply { delay: Duration::from_secs(30), ..Reply::ok(setup.fixture.rotated("one").0) };
    setup.server.answer(slow);
    let begin = Instant::now();
    assert_eq!(setup.check(&setup.token).await, Err(Reason::KeysUnavailable));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let begin = Instant::now();
    assert_eq!(setup.check(&setup.token).await, Err(Reason::KeysUnavailable));
    assert!(begin.elapsed() < Duration::from_secs(1), "the next caller is told at once");
}

#[tokio::test]
async fn redirects_stay_on_the_server() {
    let setup = Setup::new().await;
    let other = Server::start(Reply::ok(setup.fixture.rotated("one").0)).await;
    for goal in [other.url("/elsewhere"), format!("http://localhost:{}/elsewhere", setup.server.port)] {
        setup.server.answer(Reply::status(StatusCode::FOUND).with(header::LOCATION, goal));
        setup.pass(11);
        assert_eq!(setup.check(&setup.token).await, Err(Reason::KeysUnavailable));
    }
    assert_eq!((other.asked(), setup.server.asked()), (0, 2), "nobody else was asked");
    setup.server.answer(Reply::status(StatusCode::FOUND).with(header::LOCATION, "/elsewhere"));
    setup.pass(11);
    assert_eq!(setup.check(&setup.token).await, Ok(()));
}

#[tokio::test]
async fn the_issuer_says_how_long_keys_hold_within_bounds() {
    for (said, fresh) in
        [("max-age=1", 60), ("public, max-age=\"90\"", 90), ("max-age=99999999", 3600), ("no-store", 60)]
    {
        let setup = Setup::new().await;
        let reply = Reply::ok(setup.fixture.rotated("one").0).with(header::CACHE_CONTROL, said);
        setup.server.answer(reply);
        assert_eq!(setup.check(&setup.token).await, Ok(()));
        setup.pass(fresh - 1);
        assert_eq!(setup.check(&setup.token).await, Ok(()));
        assert_eq!(setup.server.asked(), 1, "{said}");
        setup.pass(2);
        assert_eq!(setup.check(&setup.token).await, Ok(()));
        assert_eq!(setup.server.asked(), 2, "{said}");
    }
}

#[tokio::test]
async fn many_callers_fetch_once() {
    let setup = Setup::new().await;
    for (token, expected, asked) in
        [(setup.token.clone(), Ok(()), 1), (setup.token_of("unknown"), Err(Reason::UnknownKey), 2)]
    {
        setup.server.answer(Reply { delay: Duration::from_millis(100), ..Reply::ok(setup.fixture.rotated("one").0) });
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (verifier, token) = (Arc::clone(&setup.verifier), token.clone());
                tokio::spawn(async move { verifier.payload(&token).await.map(drop) })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), expected);
        }
        assert_eq!(setup.server.asked(), asked);
        setup.pass(11);
    }
}

#[tokio::test]
async fn callers_that_leave_cause_no_more_fetches() {
    let setup = Setup::new().await;
    setup.server.answer(Reply { delay: Duration::from_millis(300), ..Reply::ok(setup.fixture.rotated("one").0) });
    for _ in 0..10 {
        let gone = tokio::time::timeout(Duration::from_millis(10), setup.check(&setup.token)).await;
        assert!(gone.is_err(), "it left before the answer came");
    }
    assert_eq!(setup.check(&setup.token).await, Ok(()));
    assert_eq!(setup.server.asked(), 1);
}
