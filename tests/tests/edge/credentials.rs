//! The table of attacks on credentials, over REST, gRPC, MCP and OpenAI's routes: nobody gets in who must not, and everybody who
//! may.

use std::path::Path;

use axum::Router;
use axum::routing::get;
use ragstone_auth::AuthConfig;
use ragstone_auth::attacks::{Attempt, Fixture};
use ragstone_proto::v1;
use ragstone_testkit::client::Client;
use ragstone_testkit::stack::{Form, Stack};
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;

use crate::world::{channel, say, with_headers};

/// Serves the issuer's keys for as long as the test runs.
async fn issuer(jwks: String) -> String {
    let router = Router::new().route("/jwks", get(async move || jwks));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// The configuration as a file: a list of keys does not fit into environment variables. JSON's texts are TOML's.
fn write_config(path: &Path, config: &AuthConfig) {
    let text = |value: &str| Value::from(value).to_string();
    let AuthConfig { jwt, api_keys, .. } = config;
    let audience = jwt.audience.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ");
    let mut file = format!(
        "[gateway.auth]\nmode = \"required\"\n[gateway.auth.jwt]\nissuer = {}\naudience = [{audience}]\nhs256_secret = {}\njwks_url = {}\n",
        text(&jwt.issuer),
        text(jwt.hs256_secret.expose()),
        text(&jwt.jwks_url),
    );
    for key in api_keys {
        let scopes = key.scopes.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ");
        file.push_str(&format!(
            "[[gateway.auth.api_keys]]\nid = {}\nhash = {}\ntenant = {}\nsubject = {}\nscopes = [{scopes}]\n",
            text(&key.id),
            text(&key.hash),
            text(&key.tenant),
            text(&key.subject),
        ));
    }
    file.push_str("[gateway.limits]\nqueries_per_hour = 0\n");
    std::fs::write(path, file).unwrap();
}

/// Where an attempt is made.
#[derive(Debug, Clone, Copy)]
enum Surface {
    Rest,
    Grpc,
    Mcp,
    OpenAi,
}

/// Whether an attempt gets in; anything but a clean yes or no is told.
async fn gets_in(surface: Surface, client: &Client, channel: &Channel, attempt: &Attempt) -> Result<bool, String> {
    let headers = attempt.headers.clone();
    if let Surface::Grpc = surface {
        let mut grpc = with_headers(channel, headers);
        return match grpc.list_documents(v1::ListDocumentsRequest::default()).await {
            Ok(_) => Ok(true),
            Err(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => Ok(false),
            Err(status) => Err(status.to_string()),
        };
    }
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    let request = match surface {
        Surface::Rest => client.http().get(client.url("/v1/documents")),
        Surface::OpenAi => client.http().get(client.url("/v1/models")),
        _ => client
            .http()
            .post(client.url("/mcp"))
            .json(&list)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25"),
    };
    // Added one by one: setting them all at once keeps only one of several with the same name.
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let challenged = response.headers().contains_key("www-authenticate");
    let status = response.status().as_u16();
    let body = response.text().await.map_err(|error| error.to_string())?;
    match status {
        200 => Ok(true),
        401 if challenged => Ok(false),
        403 => Ok(false),
        other => Err(format!("{other} {body}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_gets_in_and_no_welcome_caller_is_kept_out() {
    let fixture = Fixture::generate();
    let mut stack = Stack::prepare(Form::AllInOne).unwrap();
    let file = stack.dir().join("ragstone.toml");
    write_config(&file, &fixture.config(&issuer(fixture.jwks()).await));
    stack.env("RAGSTONE_CONFIG", &file.display().to_string());
    stack.run().await.unwrap();
    let (client, channel) = (stack.client(), channel(&stack.url()).await);
    let (welcome, attacks) = (fixture.welcome(), fixture.attacks());
    assert!(welcome.len() >= 15 && attacks.len() >= 80, "{} welcome, {} attacks", welcome.len(), attacks.len());
    let mut wrong = Vec::new();
    for surface in [Surface::Rest, Surface::Grpc, Surface::Mcp, Surface::OpenAi] {
        for attempt in welcome.iter().chain(&attacks) {
            let wanted = attempt.refused.is_none();
            match gets_in(surface, &client, &channel, attempt).await {
                Ok(inside) if inside == wanted => {}
                Ok(inside) => wrong.push(format!("{surface:?}: '{}' gets in: {inside}", attempt.name)),
                Err(said) => wrong.push(format!("{surface:?}: '{}': {said}", attempt.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{} are not as they should be:\n{}", wrong.len(), wrong.join("\n"));
    say(&format!("credentials: {} attacks and {} welcome callers on 4 surfaces", attacks.len(), welcome.len()));
    stack.stop().await.unwrap();
}
