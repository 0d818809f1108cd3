//! `ragstone token`: a development token, or a new API key.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ragstone_auth::{ApiKeyConfig, AuthConfig, DevelopmentToken, GeneratedKey};
use ragstone_config::Sources;
use ragstone_core::{Scope, TenantId};
use serde_json::json;

use crate::Session;
use crate::failure::{Exit, Failure};
use crate::stack::Config;

/// Whom it is for and what it allows.
#[derive(Debug, clap::Args)]
#[command(after_help = "The token is signed with gateway.auth.jwt.hs256_secret of the configuration file or of
RAGSTONE__GATEWAY__AUTH__JWT__HS256_SECRET. With --api-key nothing is read and nothing is stored: the key is shown this once,
and the lines below it go into the gateway's configuration.

Examples:
  export RAGSTONE_TOKEN=$(ragstone token --config ragstone.toml --sub ada --tenant acme --scope query,ingest)
  ragstone token --sub ada --tenant acme --group staff --group board --ttl 15m
  ragstone token --api-key --sub build-server --tenant acme --scope ingest")]
pub(crate) struct Args {
    /// The user or program it stands for
    #[arg(long, value_name = "SUBJECT")]
    sub: String,
    /// The tenant
    #[arg(long, value_parser = tenant)]
    tenant: TenantId,
    /// What it allows: query, ingest, admin
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', default_value = "query", value_parser = scope)]
    scope: Vec<Scope>,
    /// A group whose documents may be read; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// How long it holds: 90s, 15m, 1h, 7d
    #[arg(long, default_value = "1h", value_parser = duration, conflicts_with = "api_key")]
    ttl: Duration,
    /// Make an API key instead of a token
    #[arg(long)]
    api_key: bool,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "RAGSTONE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// Prints it.
pub(crate) fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    if args.api_key {
        return session.out.line(&api_key(args)?);
    }
    let sources = Sources { file: args.config.clone(), env: ragstone_config::environment(), overrides: Vec::new() };
    let config = Config::load(sources, &|key| std::env::var(key).ok());
    let config = config.map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    session.out.line(&token(args, &config.gateway.auth)?)
}

fn token(args: Args, config: &AuthConfig) -> Result<String, Failure> {
    let token = DevelopmentToken {
        subject: args.sub,
        tenant: args.tenant,
        scopes: BTreeSet::from_iter(args.scope),
        groups: args.group,
        ttl: args.ttl,
    };
    let signed = token.sign(&config.jwt).map_err(|error| Failure::new(Exit::Configuration, error.message))?;
    Ok(signed.expose().to_owned())
}

/// The key, and what the configuration must have for it.
fn api_key(args: Args) -> Result<String, Failure> {
    let generated = GeneratedKey::generate().map_err(|error| Failure::failed(error.message))?;
    let scopes = BTreeSet::from_iter(args.scope);
    let config = ApiKeyConfig {
        id: generated.id,
        hash: generated.hash,
        tenant: args.tenant.into(),
        subject: args.sub,
        scopes: scopes.into_iter().map(|scope| scope.as_str().to_owned()).collect(),
        groups: args.group,
        all_groups: false,
    };
    let checked = AuthConfig { api_keys: vec![config.clone()], ..AuthConfig::default() };
    checked.check().map_err(Failure::usage)?;
    // Text and lists of text are written in TOML as they are in JSON.
    let lines = [
        ("id", json!(config.id)),
        ("hash", json!(config.hash)),
        ("tenant", json!(config.tenant)),
        ("subject", json!(config.subject)),
        ("scopes", json!(config.scopes)),
        ("groups", json!(config.groups)),
    ];
    let lines: Vec<String> = lines.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    Ok(format!("{}\n\n[[gateway.auth.api_keys]]\n{}", generated.key.expose(), lines.join("\n")))
}

fn tenant(name: &str) -> Result<TenantId, String> {
    TenantId::new(name).map_err(|error| error.message)
}

pub(super) fn scope(name: &str) -> Result<Scope, String> {
    Scope::parse(name).ok_or_else(|| "it is query, ingest or admin".to_owned())
}

/// A number of seconds, minutes, hours or days, at most a year.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|number| number.parse::<u64>().ok());
    let seconds = number.and_then(|number| number.checked_mul(unit)).filter(|seconds| (1..=MAX_TTL).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "it is a number with s, m, h or d, up to 365d".to_owned())
}

/// A year, in seconds: a development token is no permanent credential.
const MAX_TTL: u64 = 365 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use clap::{Args as _, FromArgMatches as _};
    use ragstone_auth::{AuthMode, Authenticator, JwtConfig};
    use ragstone_core::{GroupAccess, Principal};

    use super::*;

    fn args(line: &str) -> Result<Args, clap::Error> {
        let words = ["token"].into_iter().chain(line.split(' '));
        Args::from_arg_matches(&Args::augment_args(clap::Command::new("token")).try_get_matches_from(words)?)
    }

    async fn principal(config: &AuthConfig, credential: &str) -> ragstone_core::Result<Principal> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let headers = axum::http::HeaderMap::from_iter([(
            axum::http::header::AUTHORIZATION,
            format!("Bearer {credential}").parse().unwrap(),
        )]);
        Authenticator::new(config)?.authenticate(&headers).await
    }

    #[tokio::test]
    async fn a_token_is_accepted_as_what_was_asked_for() {
        let jwt = JwtConfig { hs256_secret: "0123456789abcdef0123456789abcdef".into(), ..JwtConfig::default() };
        let config = AuthConfig { mode: AuthMode::Required, jwt, ..AuthConfig::default() };
        let args = args("--sub ada --tenant acme --scope query,ingest --group staff --group board --ttl 15m").unwrap();
        let found = principal(&config, &token(args, &config).unwrap()).await.unwrap();
        assert_eq!((found.subject.as_str(), found.access.tenant.as_str()), ("ada", "acme"));
        assert_eq!(found.scopes, BTreeSet::from([Scope::Query, Scope::Ingest]));
        assert_eq!(found.access.groups, GroupAccess::Groups(BTreeSet::from(["staff".into(), "board".into()])));
    }

    #[test]
    fn without_a_secret_there_is_no_token() {
        let failure = token(args("--sub a --tenant t").unwrap(), &AuthConfig::default()).unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration);
        assert!(failure.message.contains("hs256_secret"), "{}", failure.message);
    }

    #[tokio::test]
    async fn a_key_works_with_the_lines_printed_below_it() {
        let printed = api_key(args("--api-key --sub bot --tenant acme --scope ingest --group g").unwrap()).unwrap();
        let (key, lines) = printed.split_once("\n\n").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("[gateway.auth]\nmode = \"required\"\n{lines}\n")).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        let config = Config::load(sources, &|_| None).unwrap().gateway.auth;
        let found = principal(&config, key).await.unwrap();
        assert_eq!((found.subject.as_str(), found.scopes), ("bot", BTreeSet::from([Scope::Ingest])));
        assert!(!lines.contains(key.rsplit('_').next().unwrap()), "the secret is not in the configuration");
    }

    #[test]
    fn the_line_is_checked() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "h", "0s", "-1h", "1", "1.5h", "366d", "99999999999999999999d", "1é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["--sub a", "--tenant t", "--sub a --tenant t --scope root", "--sub a --tenant t --api-key --ttl 1h"]
        {
            assert!(args(bad).is_err(), "{bad}");
        }
        assert!(api_key(args("--api-key --sub a\n --tenant t").unwrap()).is_err());
    }
}
