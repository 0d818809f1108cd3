//! The open mode, and every attempt of the table.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusBuilder;
use ragstone_core::ErrorCode;

use super::*;
use crate::attacks::{Attempt, Fixture};
use crate::{ApiKeyConfig, GeneratedKey};

#[tokio::test]
async fn pages_of_other_machines_are_refused() {
    let authenticator = Authenticator::new(&AuthConfig::default()).unwrap();
    let with = async |name, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        authenticator.authenticate(&headers).await
    };
    for own in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost"] {
        assert!(with(header::HOST, own).await.is_ok(), "{own}");
        assert!(with(header::ORIGIN, &format!("http://{own}")).await.is_ok(), "{own}");
    }
    for foreign in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1:8080", "null", ""] {
        assert_eq!(with(header::HOST, foreign).await.unwrap_err().code, ErrorCode::PermissionDenied, "{foreign}");
        assert!(with(header::ORIGIN, &format!("http://{foreign}")).await.is_err(), "{foreign}");
    }
    assert!(with(header::ORIGIN, "null").await.is_err());
}

#[test]
fn the_anonymous_tenant_is_checked() {
    let config = AuthConfig { anonymous_tenant: " ".to_owned(), ..AuthConfig::default() };
    assert!(Authenticator::new(&config).is_err());
}

/// An authenticator whose key set is served on loopback.
async fn closed(fixture: &Fixture) -> Authenticator {
    drop(rustls::crypto::ring::default_provider().install_default());
    let jwks = fixture.jwks();
    let router = Router::new().route("/jwks", get(async move || jwks));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Authenticator::new(&fixture.config(&url)).unwrap()
}

/// Why it is refused, if it is.
async fn refusal(authenticator: &Authenticator, attempt: &Attempt) -> Option<&'static str> {
    let Mode::Closed(credentials) = &authenticator.mode else { return Some("the door is open") };
    credentials.principal(&attempt.headers, &authenticator.clock).await.err().map(Reason::as_str)
}

#[tokio::test]
async fn who_is_welcome_is_let_in() {
    let fixture = Fixture::generate();
    let authenticator = closed(&fixture).await;
    for attempt in fixture.welcome() {
        assert_eq!(refusal(&authenticator, &attempt).await, None, "{}", attempt.name);
        let principal = authenticator.authenticate(&attempt.headers).await.unwrap();
        assert_eq!(principal.access.tenant.as_str(), "acme");
        assert!(principal.scopes.contains(&Scope::Query) && !principal.scopes.contains(&Scope::Admin));
        assert_ne!(principal.access.groups, GroupAccess::All);
    }
}

#[tokio::test]
async fn every_attack_is_refused_for_its_own_reason() {
    let fixture = Fixture::generate();
    let authenticator = closed(&fixture).await;
    let attacks = fixture.attacks();
    assert!(attacks.len() >= 80, "{}", attacks.len());
    let mut wrong = Vec::new();
    for attempt in &attacks {
        let refused = refusal(&authenticator, attempt).await;
        if refused != attempt.refused || refused.is_none() {
            wrong.push(format!("{}: {refused:?} instead of {:?}", attempt.name, attempt.refused));
        }
        // What the caller is told is no credential and no oracle.
        let error = authenticator.authenticate(&attempt.headers).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthenticated, "{}", attempt.name);
        let text = attempt.headers.values().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(" ");
        for part in text.split([' ', '.']).filter(|part| part.len() > 20) {
            assert!(!error.chain().contains(part), "{}", attempt.name);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), attacks.len(), wrong.join("\n"));
    println!("{} attacks refused", attacks.len());
}

/// One bit anywhere in a token, its dots included: nothing that differs from what was signed is accepted.
#[tokio::test]
async fn no_bit_of_a_token_may_change() {
    let fixture = Fixture::generate();
    let authenticator = closed(&fixture).await;
    for attempt in fixture.welcome() {
        let Some(value) = attempt.headers.get("authorization").filter(|_| attempt.headers.len() == 1) else { continue };
        let begin = "Bearer ".len();
        for bit in begin * 8..value.len() * 8 {
            let mut changed = value.as_bytes().to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            // What is no header never arrives.
            let Ok(header) = http::HeaderValue::from_bytes(&changed) else { continue };
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, header)]);
            assert!(authenticator.authenticate(&headers).await.is_err(), "{}: bit {bit}", attempt.name);
        }
    }
}

/// A store with one key, which may be down.
struct Store {
    key: StoredKey,
    down: AtomicBool,
}

#[async_trait]
impl KeyStore for Store {
    async fn find(&self, id: &str) -> Result<Option<StoredKey>> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the store is down"));
        }
        Ok((id == self.key.key.id).then(|| self.key.clone()))
    }
}

fn stored(generated: &GeneratedKey) -> Arc<Store> {
    let config = ApiKeyConfig {
        id: generated.id.clone(),
        hash: generated.hash.clone(),
        tenant: "stored".into(),
        subject: "s".into(),
        scopes: vec!["admin".into()],
        groups: Vec::new(),
        all_groups: true,
    };
    Arc::new(Store { key: configured(&config).unwrap(), down: AtomicBool::new(false) })
}

fn bearer(credential: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {credential}").parse().unwrap())])
}

#[tokio::test]
async fn stored_keys_are_found_beside_configured_ones_and_their_store_may_be_down() {
    let (generated, other) = (GeneratedKey::generate().unwrap(), GeneratedKey::generate().unwrap());
    let store = stored(&generated);
    let clock = Clock::default();
    let config = Fixture::generate().config("");
    let without = Authenticator::with_clock(&config, clock.clone()).unwrap();
    assert!(without.authenticate(&bearer(generated.key.expose())).await.is_err());
    let with = without.with_key_store(store.clone());
    let found = with.authenticate(&bearer(generated.key.expose())).await.unwrap();
    assert_eq!((found.access.tenant.as_str(), &found.access.groups), ("stored", &GroupAccess::All));
    assert_eq!(with.authenticate(&bearer(other.key.expose())).await.unwrap_err().code, ErrorCode::Unauthenticated);
    let wrong = format!("rsk_{}_{}", generated.id, other.key.expose().rsplit('_').next().unwrap());
    assert_eq!(with.authenticate(&bearer(&wrong)).await.unwrap_err().code, ErrorCode::Unauthenticated);

    store.down.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(6));
    assert!(with.authenticate(&bearer(generated.key.expose())).await.is_ok(), "known before the outage");
    assert!(with.authenticate(&bearer(&wrong)).await.is_err(), "an outage makes no wrong secret right");
    let unknown = with.authenticate(&bearer(other.key.expose())).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::Unavailable);
}

/// A key of the configuration is that key, whatever a store says about its id.
#[tokio::test]
async fn the_configuration_comes_before_the_store() {
    let generated = GeneratedKey::generate().unwrap();
    let mut config = Fixture::generate().config("");
    config.api_keys[0].id.clone_from(&generated.id);
    let authenticator = Authenticator::new(&config).unwrap().with_key_store(stored(&generated));
    let error = authenticator.authenticate(&bearer(generated.key.expose())).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn failures_are_counted_by_reason() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let fixture = Fixture::generate();
    let authenticator = Authenticator::new(&fixture.config("")).unwrap();
    for credential in ["x.y.z", "a", &fixture.token("acme", "query")] {
        drop(authenticator.authenticate(&bearer(credential)).await);
    }
    drop(authenticator.authenticate(&HeaderMap::new()).await);
    let text = metrics.render();
    assert!(text.contains(r#"rag_auth_failures_total{reason="malformed"} 2"#), "{text}");
    assert!(text.contains(r#"rag_auth_failures_total{reason="missing"} 1"#), "{text}");
    assert_eq!(text.matches("rag_auth_failures_total{").count(), 2, "{text}");
}
