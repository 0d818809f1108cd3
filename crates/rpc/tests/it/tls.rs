//! Who gets in with which certificate, what is said about files that cannot be used, and certificates that change.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::routing::get;
use ragstone_rpc::{ClientTlsConfig, Dialer, Peer, Server, ServerConfig, TlsConfig};
use ragstone_testkit::tls::{Authority, Identity, Valid, write};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Service as _, ServiceExt as _};

use super::{LONG, Running, metric, metric_reaches, start_as};

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A directory with the files of a server and its clients.
struct Files {
    dir: TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap(), authority: Authority::new(Valid::Yes).unwrap() };
        files.put("ca", files.authority.pem());
        files.identity("server", &files.authority);
        files.identity("client", &files.authority);
        files
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        write(self.dir.path(), name, text).unwrap()
    }

    /// A certificate of `name`'s in two files.
    fn identity(&self, name: &str, authority: &Authority) -> Identity {
        let identity = authority.issue(name, &NAMES, Valid::Yes).unwrap();
        self.put(&format!("{name}.pem"), &identity.certificate);
        self.put(&format!("{name}.key"), &identity.key);
        identity
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn server(&self) -> TlsConfig {
        let client_ca_file = Some(self.path("ca"));
        TlsConfig { certificate_file: self.path("server.pem"), key_file: self.path("server.key"), client_ca_file }
    }

    fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig {
            ca_file: self.path("ca"),
            certificate_file: Some(self.path("client.pem")),
            key_file: Some(self.path("client.key")),
            server_name: None,
        }
    }
}

fn dialer(client: ClientTlsConfig) -> Dialer {
    Dialer::new(&ServerConfig { client_tls: Some(client), ..ServerConfig::default() }).unwrap()
}

/// A server that says who calls, on a port with the TLS of `tls`.
async fn who(name: &'static str, tls: TlsConfig) -> Running {
    let who = |Extension(peer): Extension<Peer>| async move {
        format!("{} {}", peer.certificate_subject.unwrap_or_default(), peer.address.ip())
    };
    let router = axum::Router::new().route("/who", get(who));
    let build = |runtime| Server::with_router(runtime, router).tls("gateway.tls", Some(tls));
    let mut running = start_as(name, ServerConfig::default(), build).await;
    running.url = format!("https://localhost:{}", running.address.port());
    running
}

async fn ask_who(channel: &mut Channel) -> Result<String, tonic::transport::Error> {
    let request = http::Request::get("/who").body(tonic::body::Body::empty()).unwrap();
    let answer = channel.ready().await?.call(request).await?;
    let body = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1_000).await.unwrap();
    Ok(String::from_utf8(body.into()).unwrap())
}

#[tokio::test]
async fn only_a_certificate_of_the_authority_gets_in() {
    let files = Files::new();
    let running = who("tls-table", files.server()).await;
    let stranger = Authority::new(Valid::Yes).unwrap();
    let (ours, theirs) = (&files.authority, &stranger);
    let issue = |authority: &Authority, valid| Some(authority.issue("caller", &NAMES, valid).unwrap());
    let table = [
        ("none", None, false),
        ("another authority's", issue(theirs, Valid::Yes), false),
        ("expired", issue(ours, Valid::Expired), false),
        ("right", issue(ours, Valid::Yes), true),
    ];
    for http1 in [true, false] {
        for (name, identity, gets_in) in &table {
            let trusted = reqwest::Certificate::from_pem(ours.pem().as_bytes()).unwrap();
            let mut client = reqwest::Client::builder().tls_certs_only([trusted]);
            if let Some(Identity { certificate, key }) = identity {
                let pem = format!("{certificate}{key}");
                client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
            }
            client = if http1 { client.http1_only() } else { client };
            let answer = client.build().unwrap().get(format!("{}/who", running.url)).send().await;
            assert_eq!(answer.is_ok(), *gets_in, "{name}: {answer:?}");
            if let Ok(answer) = answer {
                let version = if http1 { http::Version::HTTP_11 } else { http::Version::HTTP_2 };
                assert_eq!(answer.version(), version);
                assert_eq!(answer.text().await.unwrap(), "CN=caller 127.0.0.1");
            }
        }
    }
    assert!(metric(r#"rag_tls_handshake_failures_total{service="tls-table"}"#) >= 6.0);
    let plain = reqwest::get(format!("http://{}/who", running.address)).await;
    assert!(plain.is_err(), "in the clear: {plain:?}");
    running.stop().await;
}

#[tokio::test]
async fn without_a_client_authority_nobody_needs_a_certificate() {
    let files = Files::new();
    let running = who("tls-open", TlsConfig { client_ca_file: None, ..files.server() }).await;
    let trusted = reqwest::Certificate::from_pem(files.authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let answer = client.get(format!("{}/who", running.url)).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), " 127.0.0.1");
    running.stop().await;
}

/// The inner services' way: `Server::new` takes `server.tls`, `Dialer` takes `server.client_tls`.
#[tokio::test]
async fn readiness_says_what_is_wrong_with_the_callers_tls() {
    let files = Files::new();
    let config = ServerConfig { tls: Some(files.server()), ..ServerConfig::default() };
    let running = start_as("tls-ready", config, Server::new).await;
    let url = format!("https://localhost:{}", running.address.port());
    let stranger = files.put("stranger", Authority::new(Valid::Yes).unwrap().pem());
    let right = files.client();
    let table = [
        (right.clone(), None),
        (ClientTlsConfig { ca_file: stranger, ..right.clone() }, Some("server.client_tls.ca_file")),
        (
            ClientTlsConfig { server_name: Some("elsewhere".into()), ..right.clone() },
            Some("server.client_tls.server_name"),
        ),
        (ClientTlsConfig { certificate_file: None, key_file: None, ..right }, Some("CertificateRequired")),
    ];
    for (config, problem) in table {
        let health = ragstone_rpc::Health::default();
        health.started();
        health.register_peer("peer", true, dialer(config).connect(&url).unwrap());
        let report = health.report().await;
        assert_eq!(report.ready, problem.is_none(), "{report:?}");
        let detail = report.checks[0].detail.clone().unwrap_or_default();
        assert!(detail.contains(problem.unwrap_or_default()), "{detail}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_a_fault_of_the_configuration() {
    let files = Files::new();
    let stranger = files.identity("stranger", &files.authority);
    let expired = files.authority.issue("expired", &NAMES, Valid::Expired).unwrap();
    files.put("expired.pem", &expired.certificate);
    files.put("expired.key", &expired.key);
    files.put("old-ca", Authority::new(Valid::Expired).unwrap().pem());
    files.put("garbage", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    files.put("empty", "");
    files.put("two", &format!("{}{}", stranger.certificate, stranger.key));
    let table = [
        ("none", "server.key", "ca", "certificate_file"),
        ("empty", "server.key", "ca", "certificate_file"),
        ("garbage", "server.key", "ca", "certificate_file"),
        ("expired.pem", "expired.key", "ca", "certificate_file"),
        ("server.pem", "none", "ca", "key_file"),
        ("server.pem", "server.pem", "ca", "key_file"),
        ("server.pem", "stranger.key", "ca", "key_file"),
        ("server.pem", "server.key", "none", "client_ca_file"),
        ("server.pem", "server.key", "empty", "client_ca_file"),
        ("server.pem", "server.key", "old-ca", "client_ca_file"),
    ];
    for (certificate, key, authority, key_named) in table {
        let tls = TlsConfig {
            certificate_file: files.path(certificate),
            key_file: files.path(key),
            client_ca_file: Some(files.path(authority)),
        };
        let running = start_as("tls-broken", ServerConfig { tls: Some(tls), ..ServerConfig::default() }, Server::new);
        let error = tokio::time::timeout(LONG, running.await.task).await.unwrap().unwrap().unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with(&format!("server: tls.{key_named} ")), "{certificate} {key} {authority}: {text}");
        assert_eq!(ragstone_rpc::exit_code(Err(error)), ExitCode::from(ragstone_rpc::CONFIG_EXIT));
    }
    let both = TlsConfig { certificate_file: files.path("two"), key_file: files.path("two"), client_ca_file: None };
    start_as("tls-two", ServerConfig { tls: Some(both), ..ServerConfig::default() }, Server::new).await.stop().await;
}

/// Replaces `link` in one step, as Kubernetes does with a changed secret.
fn swap(link: &Path, target: &Path) {
    let next = link.with_extension("next");
    std::os::unix::fs::symlink(target, &next).unwrap();
    std::fs::rename(next, link).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_under_load_without_a_failed_call() {
    let files = Files::new();
    let next_authority = Authority::new(Valid::Yes).unwrap();
    files.put("ca", &format!("{}{}", files.authority.pem(), next_authority.pem()));
    let (old, new, broken) = (files.path("old"), files.path("new"), files.path("broken"));
    for (dir, authority) in [(&old, &files.authority), (&new, &next_authority), (&broken, &next_authority)] {
        std::fs::create_dir(dir).unwrap();
        let identity = authority.issue("server", &NAMES, Valid::Yes).unwrap();
        write(dir, "tls.crt", &identity.certificate).unwrap();
        write(dir, "tls.key", &identity.key).unwrap();
    }
    write(&broken, "tls.key", "nonsense").unwrap();
    let data = files.path("data");
    std::os::unix::fs::symlink(&old, &data).unwrap();
    let server = TlsConfig {
        certificate_file: data.join("tls.crt"),
        key_file: data.join("tls.key"),
        client_ca_file: Some(files.path("ca")),
    };
    let running =
        start_as("tls-reload", ServerConfig { tls: Some(server), ..ServerConfig::default() }, Server::new).await;
    let url = format!("https://localhost:{}", running.address.port());

    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn(load(url.clone(), files.client(), stop.clone(), calls.clone()));
    // Who trusts only the next authority gets through once its certificate is there.
    let only_next = files.put("next-ca", next_authority.pem());
    let patient = dialer(ClientTlsConfig { ca_file: only_next, ..files.client() });
    let works = async || check(patient.connect(&url).unwrap()).await.is_ok();
    assert!(!works().await);
    swap(&data, &new);
    let changed = async { while !works().await {} };
    tokio::time::timeout(LONG, changed).await.unwrap();
    let failures = r#"rag_tls_reload_failures_total{section="server.tls"}"#;
    let before = metric(failures);
    swap(&data, &broken);
    metric_reaches(failures, before + 1.0).await;
    assert!(works().await, "the certificate from before stays in use");
    let seen = calls.load(Ordering::SeqCst);
    let more = async {
        while calls.load(Ordering::SeqCst) < seen + 20 {
            tokio::time::sleep(Duration::from_millis(5)).await
        }
    };
    tokio::time::timeout(LONG, more).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    load.await.unwrap();
    assert!(metric(r#"rag_tls_certificate_expiry_seconds{section="server.tls"}"#) > 1.8e9);
    running.stop().await;
}

async fn check(channel: Channel) -> Result<(), tonic::Status> {
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(|_| ())
}

/// Calls over one connection that stays and one that is new each time; every call must succeed.
async fn load(url: String, client: ClientTlsConfig, stop: Arc<AtomicBool>, calls: Arc<AtomicUsize>) {
    let dialer = dialer(client);
    let kept = dialer.connect(&url).unwrap();
    while !stop.load(Ordering::SeqCst) {
        check(kept.clone()).await.unwrap();
        check(dialer.connect(&url).unwrap()).await.unwrap();
        calls.fetch_add(2, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_callers_certificate_changes_too() {
    let files = Files::new();
    let running = who("tls-client-reload", files.server()).await;
    let dialer = dialer(files.client());
    let mut kept = dialer.connect(&running.url).unwrap();
    assert_eq!(ask_who(&mut kept).await.unwrap(), "CN=client 127.0.0.1");
    let renewed = files.authority.issue("renewed", &NAMES, Valid::Yes).unwrap();
    files.put("client.pem", &renewed.certificate);
    files.put("client.key", &renewed.key);
    let changed =
        async { while ask_who(&mut dialer.connect(&running.url).unwrap()).await.unwrap() != "CN=renewed 127.0.0.1" {} };
    tokio::time::timeout(LONG, changed).await.unwrap();
    assert_eq!(ask_who(&mut kept).await.unwrap(), "CN=client 127.0.0.1", "its connection lives on");
    running.stop().await;
}
