//! Fetches from servers on loopback, and attempts to be led elsewhere.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::get;
use futures::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Names with the addresses that they have when they are looked up for the first, second, … time.
#[derive(Default)]
struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: AtomicUsize,
}

impl Names {
    fn with(self, name: &str, answers: &[&[&str]]) -> Self {
        let answers = answers.iter().map(|list| list.iter().map(|address| address.parse().unwrap()).collect());
        self.answers.lock().unwrap().insert(name.to_owned(), answers.collect());
        self
    }
}

#[async_trait]
impl Lookup for Arc<Names> {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if host == "slow.example" {
            std::future::pending::<()>().await;
        }
        let mut names = self.answers.lock().unwrap();
        let answers = names.get_mut(host).ok_or(std::io::ErrorKind::NotFound)?;
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

fn fetcher(config: FetchConfig, names: &Arc<Names>) -> Fetcher {
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = FetchConfig { enabled: true, ..config };
    Fetcher { lookup: Box::new(Arc::clone(names)), ..Fetcher::new(&config, 64 * 1024).unwrap() }
}

/// One that may fetch from 127.0.0.1, and from no other address of this machine.
fn local(port: u16) -> FetchConfig {
    let allowed_networks = vec!["127.0.0.1".to_owned()];
    FetchConfig { allowed_networks, allowed_ports: vec![80, 443, port], timeout_ms: 2_000, ..FetchConfig::default() }
}

async fn fetch(fetcher: &Fetcher, url: &str) -> Result<(&'static str, String), Failure> {
    let url = parse(url).map_err(|error| Failure::new("url", error))?;
    let fetched = fetcher.attempt(url, &UploadMemory::new(1024 * 1024)).await?;
    Ok((fetched.media_type, String::from_utf8_lossy(&fetched.body).into_owned()))
}

async fn outcome(fetcher: &Fetcher, url: &str) -> &'static str {
    fetch(fetcher, url).await.map_or_else(|failure| failure.outcome, |_| "done")
}

/// Serves `router` on `address`; returns the port.
async fn serve(address: &str, router: Router) -> u16 {
    let listener = TcpListener::bind(address).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

/// A page that counts its readers.
fn counting(hits: &Arc<AtomicUsize>, text: &'static str) -> Router {
    let hits = Arc::clone(hits);
    let page = move || {
        hits.fetch_add(1, Ordering::SeqCst);
        async move { text }
    };
    Router::new().fallback(page)
}

/// Answers each connection with these bytes, whatever it asks for, and leaves it open.
async fn raw(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = connection.read(&mut head).await;
            let _ = connection.write_all(&answer).await;
            open.push(connection);
        }
    });
    port
}

#[tokio::test]
async fn a_document_is_fetched_over_a_redirect_and_nothing_about_us_is_told() {
    async fn page(headers: HeaderMap) -> impl axum::response::IntoResponse {
        let mut seen: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        seen.sort();
        ([("content-type", "text/Markdown; charset=utf-8")], seen.join("\n"))
    }
    let router = Router::new()
        .route("/docs/page", get(page))
        .route("/start", get(|| async { (StatusCode::FOUND, [("location", "docs/page?x=1")]) }));
    let port = serve("127.0.0.1:0", router).await;
    let names = Arc::new(Names::default().with("docs.example", &[&["127.0.0.1"]]));
    let fetcher = fetcher(local(port), &names);
    let (media_type, seen) = fetch(&fetcher, &format!("http://docs.example:{port}/start")).await.ok().unwrap();
    assert_eq!(media_type, "text/markdown");
    assert!(seen.contains(&format!("host: \"docs.example:{port}\"")), "{seen}");
    assert!(seen.contains("accept-encoding: \"identity\"") && seen.contains("user-agent: \"ragstone/"), "{seen}");
    assert_eq!(seen.lines().count(), 4, "{seen}");
    assert_eq!(names.asked.load(Ordering::SeqCst), 2, "once for each hop");
}

#[tokio::test]
async fn no_spelling_leads_to_what_is_not_public() {
    let names = Names::default()
        .with("localhost", &[&["127.0.0.1", "::1"]])
        .with("localhost.", &[&["127.0.0.1"]])
        .with("metadata.google.internal", &[&["169.254.169.254"]])
        .with("intranet", &[&["10.0.0.7"]])
        .with("sslip.example", &[&["::ffff:10.0.0.7"]])
        .with("mixed.example", &[&["8.8.8.8", "192.168.0.1"]])
        .with("behind.mixed.example", &[&["2606:4700::1111", "fd00::1"]])
        .with("nobody.example", &[&[]]);
    let fetcher = fetcher(FetchConfig::default(), &Arc::new(names));
    for (url, expected) in [
        ("http://127.0.0.1/", "refused_address"),
        ("https://127.0.0.1/", "refused_address"),
        ("http://127.0.0.1./", "refused_address"),
        ("http://127.1/", "refused_address"),
        ("http://127.0.1/", "refused_address"),
        ("http://2130706433/", "refused_address"),
        ("http://0x7f000001/", "refused_address"),
        ("http://0X7F.1/", "refused_address"),
        ("http://0x7f.0x0.0x0.0x1/", "refused_address"),
        ("http://0177.0.0.1/", "refused_address"),
        ("http://017700000001/", "refused_address"),
        ("http://0000000177.0.0.1/", "refused_address"),
        ("http://127.%30.0.1/", "refused_address"),
        ("http://%31%32%37.0.0.1/", "refused_address"),
        ("http://0/", "refused_address"),
        ("http://0.0.0.0/", "refused_address"),
        ("http://１２７.０.０.１/", "refused_address"),
        ("http://①②⑦.⓪.⓪.①/", "refused_address"),
        ("http://𝟏𝟐𝟕.0.0.1/", "refused_address"),
        ("http://127。0。0。1/", "refused_address"),
        ("http://127．0．0．1/", "refused_address"),
        ("http://127\u{ad}.0.0.1/", "refused_address"),
        ("http:127.0.0.1/", "refused_address"),
        ("http:/127.0.0.1/", "refused_address"),
        ("http:////127.0.0.1/", "refused_address"),
        ("http:\\\\127.0.0.1\\x", "refused_address"),
        ("http://127.0.0.1\\@example.org/", "refused_address"),
        ("http://127.0.\t0.1/\n", "refused_address"),
        ("  http://127.0.0.1/  ", "refused_address"),
        ("hTTp://127.0.0.1/", "refused_address"),
        ("http://127.0.0.1?@example.org/", "refused_address"),
        ("http://2852039166/latest/meta-data/", "refused_address"),
        ("http://0xA9FEA9FE/", "refused_address"),
        ("http://169.254.43518/", "refused_address"),
        ("http://[::1]/", "refused_address"),
        ("http://[0:0:0:0:0:0:0:1]/", "refused_address"),
        ("http://[::]/", "refused_address"),
        ("http://[::ffff:127.0.0.1]/", "refused_address"),
        ("http://[::FFFF:7F00:1]/", "refused_address"),
        ("http://[::127.0.0.1]/", "refused_address"),
        ("http://[64:ff9b::169.254.169.254]/", "refused_address"),
        ("http://[2002:7f00:1::]/", "refused_address"),
        ("http://[fd00:ec2::254]/", "refused_address"),
        ("http://[fe80::1]/", "refused_address"),
        ("http://localhost/", "refused_address"),
        ("http://LOCALHOST./", "refused_address"),
        ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "refused_address"),
        ("http://metadata.google.internal/computeMetadata/v1/", "refused_address"),
        ("http://intranet/", "refused_address"),
        ("http://sslip.example/", "refused_address"),
        ("http://mixed.example/", "refused_address"),
        ("http://behind.mixed.example/", "refused_address"),
        ("http://nobody.example/", "unknown_host"),
        ("http://unheard.of/", "unknown_host"),
        ("http://a\u{200b}b.example/", "unknown_host"),
        ("http://8.8.8.8:22/", "refused_place"),
        ("http://127.0.0.1:6379/", "refused_place"),
        ("http://8.8.8.8@127.0.0.1/", "url"),
        ("http://127.0.0.1:80@8.8.8.8/", "url"),
        ("http://@127.0.0.1/", "refused_address"),
        ("http://[::ffff:127.0.0.1%25lo]/", "url"),
        ("http://127.0.0.0x100/", "url"),
        ("http://0x100000000/", "url"),
        ("http://127.0.0.1%00.example.org/", "url"),
        ("http://exa mple.org/", "url"),
    ] {
        assert_eq!(outcome(&fetcher, url).await, expected, "{url:?}");
    }
    // Callers do not learn whether a name exists in the gateway's network.
    let message = async |url| fetch(&fetcher, url).await.err().unwrap().error.message;
    let (refused, unknown) = (message("http://intranet/").await, message("http://unheard.of/").await);
    assert_eq!(refused.replace("intranet", "X"), unknown.replace("unheard.of", "X"));
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_asked_once_and_leads_nowhere_new() {
    let (public, secret) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let port = serve("127.0.0.1:0", counting(&public, "public")).await;
    assert_eq!(serve(&format!("127.0.0.2:{port}"), counting(&secret, "secret")).await, port);
    let names = Names::default()
        .with("rebind.example", &[&["127.0.0.1"], &["127.0.0.2"]])
        .with("mixed.example", &[&["127.0.0.1", "127.0.0.2"]]);
    let names = Arc::new(names);
    let fetcher = fetcher(local(port), &names);
    let url = format!("http://rebind.example:{port}/");
    assert_eq!(fetch(&fetcher, &url).await.ok().unwrap(), ("text/plain", "public".to_owned()));
    assert_eq!(names.asked.load(Ordering::SeqCst), 1);
    assert_eq!(outcome(&fetcher, &url).await, "refused_address");
    assert_eq!(outcome(&fetcher, &format!("http://mixed.example:{port}/")).await, "refused_address");
    assert_eq!((public.load(Ordering::SeqCst), secret.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_checked_like_the_first_address() {
    async fn away(State(port): State<u16>, request: axum::extract::Request) -> axum::response::Response {
        let place = request.uri().query().unwrap_or_default().replace("PORT", &port.to_string());
        (StatusCode::TEMPORARY_REDIRECT, [("location", place)]).into_response()
    }
    let secret = Arc::new(AtomicUsize::new(0));
    let port = serve("127.0.0.2:0", counting(&secret, "secret")).await;
    let router = Router::new()
        .route("/away", get(away))
        .route("/nowhere", get(|| async { StatusCode::FOUND }))
        .route("/other", get(|| async { "there" }))
        .with_state(port);
    assert_eq!(serve(&format!("127.0.0.1:{port}"), router).await, port);
    let names = Names::default().with("metadata.google.internal", &[&["169.254.169.254"]]);
    let fetcher = fetcher(local(port), &Arc::new(names));
    for (place, expected) in [
        ("/other", "done"),
        ("other#x", "done"),
        ("//127.0.0.1:PORT/other", "done"),
        ("http://127.0.0.2:PORT/", "refused_address"),
        ("//127.0.0.2:PORT/", "refused_address"),
        ("http://0x7f000002:PORT/", "refused_address"),
        ("http://[::1]:PORT/", "refused_address"),
        ("http://[::ffff:127.0.0.2]:PORT/", "refused_address"),
        ("http://169.254.169.254/latest/", "refused_address"),
        ("http://metadata.google.internal/", "refused_address"),
        ("https://10.0.0.1/", "refused_address"),
        ("http://127.0.0.1:6379/", "refused_place"),
        ("http://user:password@127.0.0.1:PORT/other", "redirects"),
        ("file:///etc/passwd", "redirects"),
        ("gopher://127.0.0.1:PORT/", "redirects"),
        ("http://", "redirects"),
    ] {
        assert_eq!(outcome(&fetcher, &format!("http://127.0.0.1:{port}/away?{place}")).await, expected, "{place}");
    }
    assert_eq!(outcome(&fetcher, &format!("http://127.0.0.1:{port}/nowhere")).await, "redirects");
    assert_eq!(secret.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&hits);
    let circle = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { (StatusCode::MOVED_PERMANENTLY, [("location", "/")]) }
    };
    let port = serve("127.0.0.1:0", Router::new().route("/", get(circle))).await;
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(outcome(&fetcher(local(port), &Arc::default()), &url).await, "redirects");
    assert_eq!(hits.swap(0, Ordering::SeqCst), 4, "the first one and three redirects");
    let none = FetchConfig { max_redirects: 0, ..local(port) };
    assert_eq!(outcome(&fetcher(none, &Arc::default()), &url).await, "redirects");
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[test]
fn a_redirect_from_tls_into_the_open_is_not_followed() {
    let answer = |location: &str| {
        let answer = http::Response::builder().status(308).header("location", location).body("").unwrap();
        redirect(&parse("https://a.example/x").unwrap(), &Response::from(answer))
    };
    assert_eq!(answer("https://b.example/").ok().unwrap().unwrap().as_str(), "https://b.example/");
    assert_eq!(answer("/y").ok().unwrap().unwrap().as_str(), "https://a.example/y");
    assert!(answer("http://a.example/y").is_err_and(|failure| failure.outcome == "redirects"));
}

#[tokio::test]
async fn what_is_too_large_is_not_read_to_its_end() {
    let endless = || async {
        let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024])));
        ([("content-type", "text/plain")], Body::from_stream(pieces))
    };
    let sized = |size: usize| move || async move { "x".repeat(size) };
    let router = Router::new()
        .route("/endless", get(endless))
        .route("/fits", get(sized(64 * 1024)))
        .route("/over", get(sized(64 * 1024 + 1)));
    let port = serve("127.0.0.1:0", router).await;
    let fetcher = fetcher(local(port), &Arc::default());
    for (path, expected) in [("fits", "done"), ("over", "too_large"), ("endless", "too_large")] {
        assert_eq!(outcome(&fetcher, &format!("http://127.0.0.1:{port}/{path}")).await, expected, "{path}");
    }
    // What is announced is believed: nothing of it need come.
    let port =
        raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 99999999999\r\n\r\n".to_vec()).await;
    let failure =
        fetch(&super::tests::fetcher(local(port), &Arc::default()), &format!("http://127.0.0.1:{port}/")).await;
    assert_eq!(failure.err().unwrap().error.code, ErrorCode::TooLarge);
}

#[tokio::test]
async fn slow_servers_and_slow_names_cost_no_more_than_the_time_for_a_fetch() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\n";
    let started = std::time::Instant::now();
    for answer in ["", "HTTP/1.1 200 OK\r\nx: ", head, &format!("{head}12345678")] {
        let port = raw(answer.as_bytes().to_vec()).await;
        let fetcher = fetcher(FetchConfig { timeout_ms: 200, ..local(port) }, &Arc::default());
        assert_eq!(outcome(&fetcher, &format!("http://127.0.0.1:{port}/")).await, "timeout", "{answer}");
    }
    let fetcher = fetcher(FetchConfig { timeout_ms: 200, ..FetchConfig::default() }, &Arc::default());
    assert_eq!(outcome(&fetcher, "http://slow.example/").await, "timeout");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn only_documents_that_can_be_read_are_taken() {
    let answer = |headers: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes()
    };
    for (expected, answer) in [
        ("done", answer("content-type: text/html;charset=UTF-8\r\n", "<p>x")),
        ("done", answer("content-type: text/plain\r\ncontent-encoding: Identity\r\n", "x")),
        ("media_type", answer("content-type: text/plain\r\ncontent-encoding: gzip\r\n", "bomb")),
        ("media_type", answer("content-type: text/plain\r\ncontent-encoding: gzip, gzip\r\n", "bomb")),
        (
            "media_type",
            answer("content-type: text/plain\r\ncontent-encoding: identity\r\ncontent-encoding: br\r\n", "x"),
        ),
        ("media_type", answer("content-type: text/plain\r\ncontent-encoding: \u{fc}\r\n", "x")),
        ("media_type", answer("content-type: image/png\r\n", "x")),
        ("media_type", answer("content-type: application/octet-stream\r\n", "x")),
        ("media_type", answer("content-type: application/json\r\n", r#"{"url":"http://127.0.0.1/"}"#)),
        ("media_type", answer("content-type: application/x-ndjson\r\n", r#"{"text":"a"}"#)),
        ("media_type", answer("content-type: multipart/form-data; boundary=B\r\n", "--B--")),
        ("media_type", answer("content-type: text/plain; charset=iso-8859-1\r\n", "x")),
        ("media_type", answer("", "x")),
        ("status", b"HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("status", b"HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("status", b"HTTP/1.1 206 Part\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n\r\nx".to_vec()),
        ("status", b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
        ("unreachable", b"SSH-2.0-OpenSSH_9\r\n\r\n".to_vec()),
        ("unreachable", b"+PONG\r\n\r\n".to_vec()),
    ] {
        let port = raw(answer.clone()).await;
        let fetcher = fetcher(local(port), &Arc::default());
        let found = outcome(&fetcher, &format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(&answer));
    }
    // Nobody listens; and who does is not asked in the clear when TLS is wanted.
    let port = raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
    let fetcher = fetcher(local(port), &Arc::default());
    assert_eq!(outcome(&fetcher, &format!("https://127.0.0.1:{port}/")).await, "unreachable");
}

#[tokio::test]
async fn memory_for_uploads_is_taken_and_given_back() {
    let port = serve("127.0.0.1:0", counting(&Arc::default(), "text")).await;
    let fetcher = fetcher(local(port), &Arc::default());
    let memory = UploadMemory::new(64 * 1024);
    let url = parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let first = fetcher.fetch(url.clone(), &memory).await.unwrap();
    let second = fetcher.fetch(url.clone(), &memory).await;
    assert!(second.is_err_and(|error| error.message.contains("too long")), "it waits for memory, but not for ever");
    drop(first);
    assert!(fetcher.fetch(url, &memory).await.is_ok());
}

#[tokio::test]
async fn nothing_is_fetched_unless_that_is_switched_on() {
    let hits = Arc::new(AtomicUsize::new(0));
    let port = serve("127.0.0.1:0", counting(&hits, "text")).await;
    let off = Fetcher { enabled: false, ..fetcher(local(port), &Arc::default()) };
    let url = parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let error = off.fetch(url, &UploadMemory::new(1)).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unprocessable);
    assert!(error.message.contains("gateway.fetch.enabled"), "{}", error.message);
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}
