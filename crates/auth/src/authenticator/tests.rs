//! The open mode, and every attempt of the table.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use axum::Router;
use axum::routing::get;
use ragstone_core::ErrorCode;

use super::*;
use crate::attacks::{Attempt, Fixture};

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
