//! What is wrong with Redis, in one sentence that names the setting where one is to blame.

use fred::error::{Error as FredError, ErrorKind};
use ragstone_core::Error;

use super::settings::Settings;

pub(super) const TIMEOUT: &str = "timeout";
const DOWN: &str = "down";
const FULL: &str = "full";
const REFUSED: &str = "refused";

/// Why a call cannot be answered.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// The label of the metric.
    pub(crate) kind: &'static str,
    /// One sentence.
    pub(crate) message: String,
    /// What the client or Redis itself said, without passwords.
    pub(crate) detail: String,
    /// It stays until somebody changes a setting.
    pub(super) setting_at_fault: bool,
}

/// Marks in what the client or Redis says, with the sentence each means. The first that is found counts.
const SETTINGS: [(&str, &str); 10] = [
    ("NOAUTH", "Redis demands a password, and cache.redis_password is not set"),
    ("WRONGPASS", "Redis refuses cache.redis_password (or cache.redis_username): it is wrong"),
    ("NOPERM", "Redis does not let the user of cache.redis_username do this"),
    ("cluster support disabled", "cache.redis_url begins with redis-cluster://, but this Redis is no cluster"),
    ("MOVED", "this Redis is a cluster: cache.redis_url must begin with redis-cluster://"),
    ("DB index", "Redis has no database of the number in cache.redis_url"),
    ("Missing primary address", "the Sentinels do not know the sentinelServiceName in cache.redis_url"),
    ("NotValidForName", "the certificate of Redis is not valid for the host in cache.redis_url"),
    (
        "InvalidCertificate",
        "the certificate of Redis is not trusted: cache.redis_ca_file must name the authority that signed it",
    ),
    ("InvalidContentType", "cache.redis_url demands TLS, but this Redis does not speak it"),
];

impl Problem {
    /// Of a call or of a connection that was fine before.
    pub(super) fn of(error: &FredError, settings: &Settings) -> Self {
        let detail = without(&settings.secrets, error.details());
        if let Some((_, sentence)) = SETTINGS.iter().find(|(mark, _)| detail.contains(mark)) {
            let message = settings.section.named(sentence);
            return Self { kind: REFUSED, message, detail, setting_at_fault: true };
        }
        let (kind, message) = match error.kind() {
            ErrorKind::Timeout => (TIMEOUT, "Redis did not answer in time"),
            ErrorKind::Backpressure => (TIMEOUT, "Redis is slow: too many calls are waiting for it"),
            _ if detail.starts_with("OOM") => (FULL, "Redis is full"),
            _ if detail.starts_with("READONLY") => (REFUSED, "Redis is a replica that takes no writes"),
            ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing => {
                (DOWN, "Redis (cache.redis_url) is not reachable")
            }
            ErrorKind::Sentinel if detail.contains("all sentinel nodes") => {
                (DOWN, "no Sentinel in cache.redis_url can be used: none is reachable, or sentinelPassword is wrong")
            }
            _ => (DOWN, "Redis (cache.redis_url) cannot be used"),
        };
        Self { kind, message: settings.section.named(message), detail, setting_at_fault: false }
    }

    /// Of a connection that has not come about.
    pub(super) fn of_connecting(error: &FredError, settings: &Settings) -> Self {
        let mut problem = Self::of(error, settings);
        // A server that demands TLS hangs up on who does not speak it; so does one that is just stopping.
        let hung_up = ["closed", "UnexpectedEof", "ConnectionReset", "BrokenPipe", "Expected string", "Canceled"];
        if !problem.setting_at_fault && hung_up.iter().any(|mark| problem.detail.contains(mark)) {
            problem.message = "Redis closes every connection: if it demands TLS, cache.redis_url must begin with \
                               rediss://"
                .to_owned();
        }
        // A server without TLS waits for the rest of what it takes for a command.
        if settings.has_tls() && problem.kind == TIMEOUT {
            problem.message =
                "Redis did not answer: if it does not speak TLS, cache.redis_url must begin with redis://".to_owned();
        }
        if settings.has_password() && problem.detail.contains("unknown command") {
            problem.message = "the server in cache.redis_url takes no password (cache.redis_password)".to_owned();
        }
        problem.message = settings.section.named(&problem.message);
        problem
    }

    /// Of a connection that is open but dead.
    pub(super) fn silent() -> Self {
        let message = "Redis has stopped answering".to_owned();
        Self { kind: TIMEOUT, message, detail: String::new(), setting_at_fault: false }
    }

    /// Of the first moments.
    pub(super) fn not_yet_connected() -> Self {
        let message = "the first connection to Redis is being made".to_owned();
        Self { kind: DOWN, message, detail: String::new(), setting_at_fault: false }
    }

    /// Of an answer that this program's own script does not give.
    pub(crate) fn nonsense() -> Self {
        let message = "Redis gave an answer that makes no sense".to_owned();
        Self { kind: REFUSED, message, detail: String::new(), setting_at_fault: false }
    }

    /// For a call: the caller is not to blame and goes on without the cache.
    pub(crate) fn for_callers(self) -> Error {
        self.with_detail(Error::unavailable)
    }

    /// For whoever starts or watches the service.
    pub(super) fn for_operators(self) -> Error {
        if self.setting_at_fault { self.with_detail(Error::invalid) } else { self.with_detail(Error::unavailable) }
    }

    fn with_detail(self, error: impl FnOnce(String) -> Error) -> Error {
        let error = error(self.message);
        if self.detail.is_empty() { error } else { error.with_source(self.detail) }
    }
}

fn without(secrets: &[String], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}
