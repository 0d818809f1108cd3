//! Which URLs are fetched: what holds for all of them, and what the configuration adds.

use ragstone_core::{Error, Result};
use url::{Host, Url};

use super::FetchConfig;

/// Longer addresses are refused.
const MAX_CHARS: usize = 2_048;

/// Reads an address as a caller or a redirect wrote it.
///
/// # Errors
/// `InvalidArgument` unless it is http or https without a user in it.
pub(crate) fn parse(text: &str) -> Result<Url> {
    if text.len() > MAX_CHARS {
        return Err(Error::invalid(format!("url is longer than {MAX_CHARS} bytes")));
    }
    let url = Url::parse(text).map_err(|e| Error::invalid(format!("url is not an address: {e}")))?;
    checked(url)
}

/// The address that `location` means on a page at `base`.
pub(super) fn join(base: &Url, location: &str) -> Result<Url> {
    if location.len() > MAX_CHARS {
        return Err(Error::invalid(format!("url is longer than {MAX_CHARS} bytes")));
    }
    checked(base.join(location).map_err(|e| Error::invalid(format!("url is not an address: {e}")))?)
}

fn checked(mut url: Url) -> Result<Url> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::invalid("url must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::invalid("url must not hold a user or a password"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// An address as it may be shown to readers of the document: what is asked for in the query is left out, as it is where
/// signed links carry their secret.
pub(crate) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

/// Hosts that may be fetched from; none: all.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(Vec<Pattern>);

#[derive(Debug, Clone)]
enum Pattern {
    /// This one.
    Exactly(String),
    /// Every one whose name ends so; it begins with a dot.
    Below(String),
}

impl Hosts {
    /// Reads hosts (`docs.example.org`, `192.0.2.7`) and patterns (`*.example.org`).
    ///
    /// # Errors
    /// One sentence that names the key.
    pub(super) fn parse(texts: &[String]) -> Result<Self, String> {
        let pattern = |text: &String| {
            let below = text.strip_prefix("*.");
            match (Host::parse(below.unwrap_or(text)), below) {
                (Ok(Host::Domain(name)), Some(_)) => Ok(Pattern::Below(format!(".{}", name.trim_end_matches('.')))),
                (Ok(Host::Domain(name)), None) if !name.contains('*') => Ok(Pattern::Exactly(plain(&name))),
                (Ok(address @ (Host::Ipv4(_) | Host::Ipv6(_))), None) => Ok(Pattern::Exactly(address.to_string())),
                _ => Err(format!(
                    "fetch.allowed_hosts: '{text}' is not a host such as docs.example.org or *.example.org"
                )),
            }
        };
        Ok(Self(texts.iter().map(pattern).collect::<Result<_, _>>()?))
    }

    fn permit(&self, host: &str) -> bool {
        let host = plain(host);
        let fits = |pattern: &Pattern| match pattern {
            Pattern::Exactly(name) => *name == host,
            Pattern::Below(parent) => host.len() > parent.len() && host.ends_with(parent.as_str()),
        };
        self.0.is_empty() || self.0.iter().any(fits)
    }
}

/// The dot at the end of a full name makes it no other host.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

/// What the configuration says about URLs.
#[derive(Debug, Clone)]
pub(super) struct Places {
    hosts: Hosts,
    ports: Vec<u16>,
}

impl Places {
    /// From a configuration.
    ///
    /// # Errors
    /// One sentence that names the key.
    pub(super) fn new(config: &FetchConfig) -> Result<Self, String> {
        Ok(Self { hosts: Hosts::parse(&config.allowed_hosts)?, ports: config.allowed_ports.clone() })
    }

    /// Whether `url` names a host and a port that may be fetched from.
    pub(super) fn permit(&self, url: &Url) -> bool {
        let host = url.host_str().is_some_and(|host| self.hosts.permit(host));
        host && url.port_or_known_default().is_some_and(|port| self.ports.contains(&port))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn places(hosts: &[&str], ports: &[u16]) -> Places {
        let allowed_hosts = hosts.iter().map(ToString::to_string).collect();
        Places::new(&FetchConfig { allowed_hosts, allowed_ports: ports.to_vec(), ..FetchConfig::default() }).unwrap()
    }

    #[test]
    fn what_is_no_plain_web_address_is_refused() {
        for (bad, says) in [
            ("", "address"),
            ("docs.example.org", "address"),
            ("/v1/documents", "address"),
            ("//example.org/", "address"),
            ("http://", "address"),
            ("http://a b.example/", "address"),
            ("http://1.2.3.4.5/", "address"),
            ("http://256.1.1.1/", "address"),
            ("http://[::1", "address"),
            ("http://[fe80::1%25eth0]/", "address"),
            ("http://example.org:99999/", "address"),
            ("file:///etc/passwd", "http"),
            ("ftp://example.org/", "http"),
            ("gopher://example.org/_x", "http"),
            ("data:text/plain,x", "http"),
            ("javascript:alert(1)", "http"),
            ("unix:/run/x.sock", "http"),
            ("dict://127.0.0.1:11211/", "http"),
            ("http://user@example.org/", "user"),
            ("http://user:secret@example.org/", "user"),
            ("http://:secret@example.org/", "user"),
            ("http://example.org@127.0.0.1/", "user"),
            ("https://example.org:443@10.0.0.1/", "user"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.message.contains(says), "{bad}: {}", error.message);
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
        assert!(parse(&format!("http://example.org/{}", "x".repeat(2_048))).is_err());
    }

    #[test]
    fn only_listed_ports_and_hosts_are_fetched_from() {
        let all = places(&[], &[80, 443]);
        for (url, permitted) in [
            ("http://example.org/", true),
            ("https://example.org:443/", true),
            ("https://example.org:80/", true),
            ("http://example.org:22/", false),
            ("http://example.org:6379/", false),
            ("http://example.org:8080/", false),
            ("http://example.org:0/", false),
        ] {
            assert_eq!(all.permit(&parse(url).unwrap()), permitted, "{url}");
        }
        let some =
            places(&["docs.example.org", "*.wiki.example", "bücher.example", "192.0.2.7", "[2001:db8::7]"], &[80]);
        for (host, permitted) in [
            ("docs.example.org", true),
            ("DOCS.Example.ORG.", true),
            ("xn--bcher-kva.example", true),
            ("BÜCHER.example", true),
            ("en.wiki.example", true),
            ("a.b.wiki.example", true),
            ("192.0.2.7", true),
            ("0xC0.0.2.7", true),
            ("[2001:db8:0::7]", true),
            ("wiki.example", false),
            ("evilwiki.example", false),
            ("example.org", false),
            ("docs.example.org.evil.example", false),
            ("evil-docs.example.org", false),
            ("d0cs.example.org", false),
            ("192.0.2.8", false),
        ] {
            assert_eq!(some.permit(&parse(&format!("http://{host}/")).unwrap()), permitted, "{host}");
        }
    }

    #[test]
    fn readers_are_not_shown_what_signs_a_link() {
        let url = parse("https://example.org/a%20b.pdf?X-Signature=secret#page=2").unwrap();
        assert_eq!(url.as_str(), "https://example.org/a%20b.pdf?X-Signature=secret");
        assert_eq!(shown(&url), "https://example.org/a%20b.pdf");
    }
}
