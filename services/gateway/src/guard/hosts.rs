//! Which addresses an answer may hold: hosts of the configuration, and the very links of its passages.

use std::collections::HashSet;

use ragstone_core::Hit;

/// What an answer may link to and show.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed {
    pub(super) link_hosts: Vec<String>,
    pub(super) image_hosts: Vec<String>,
    /// Links of the passages, whole: an attacker's document cannot make a model add data to one.
    pub(super) known: HashSet<String>,
}

impl Allowed {
    pub(super) fn new(link_hosts: &[String], image_hosts: &[String], contexts: &[Hit]) -> Self {
        let lower = |hosts: &[String]| hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let known = contexts.iter().flat_map(|hit| addresses(&hit.content)).map(str::to_owned).collect();
        Self { link_hosts: lower(link_hosts), image_hosts: lower(image_hosts), known }
    }

    pub(super) fn link(&self, address: &str) -> bool {
        is_web(address) && (self.known.contains(address) || is_on(&self.link_hosts, address))
    }

    pub(super) fn image(&self, address: &str) -> bool {
        is_web(address) && is_on(&self.image_hosts, address)
    }
}

/// Whether it is an absolute address of the web and nothing but visible ASCII without the signs by which programs
/// disagree on where an address leads.
fn is_web(address: &str) -> bool {
    let plain =
        address.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'<' | b'>' | b'"' | b'`'));
    plain && (starts(address, "http://") || starts(address, "https://") || starts(address, "www."))
}

pub(super) fn starts(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// Whether it is a place of the page's own host, or no address at all: nothing in it names a scheme or a host, as it
/// stands or once entities are read.
pub(super) fn is_relative(address: &str) -> bool {
    let scheme = address.split_once(':').is_some_and(|(scheme, rest)| {
        let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && word_length(scheme) == scheme.len();
        let runs = ["javascript", "vbscript", "data"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        named && (runs || !rest.is_empty())
    });
    let plain = !address.contains(['\\', '&', '<', '>', '"', '`']) && !address.contains(char::is_control);
    let web = address.contains("://") || address.to_ascii_lowercase().contains("www.");
    plain && !scheme && !web && !address.starts_with("//")
}

/// The host of an address that [`is_web`]; `None` when a user or an odd port stands in it.
fn host(address: &str) -> Option<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    let port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (plain && port && !host.is_empty()).then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

fn is_on(hosts: &[String], address: &str) -> bool {
    let Some(host) = host(address) else { return false };
    hosts.iter().any(|allowed| match allowed.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|below| below.ends_with('.')),
        None => host == *allowed,
    })
}

/// The addresses in a text that begin with a scheme or `www.`, without the punctuation after them.
pub(super) fn addresses(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find(|c: char| c.is_ascii_alphanumeric()).map(|at| from + at) {
        let word = &text[start..start + word_length(&text[start..])];
        let rest = &text[start + word.len()..];
        if rest.starts_with("://") || starts(word, "www.") {
            let whole = &text[start..start + address_length(&text[start..])];
            found.push(whole);
            from = start + whole.len().max(word.len());
        } else {
            from = start + word.len();
        }
    }
    found
}

/// How many bytes at the beginning of `text` could be a scheme or a host.
pub(super) fn word_length(text: &str) -> usize {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'_');
    text.bytes().take_while(part).count()
}

/// How many bytes at the beginning of `text` are an address: to a space or a sign that ends one, trailing punctuation
/// and closing brackets that were not opened in it left out.
pub(super) fn address_length(text: &str) -> usize {
    let mut open = 0_usize;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 0 => {
                end = at;
                break;
            }
            ')' => open -= 1,
            _ if is_end(c) => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_', '~']).len()
}

/// Whether no address goes on after this character.
pub(super) fn is_end(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '<' | '>' | '"' | '`' | '[' | ']' | '{' | '}' | '|' | '。' | '、' | '，' | '）' | '」' | '』' | '】'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_where_readers_think_they_end() {
        let text =
            "See https://a.example/x_(y)?q=1. And (http://b.example), [c](https://c.example/d) www.e.example! a:b";
        assert_eq!(
            addresses(text),
            ["https://a.example/x_(y)?q=1", "http://b.example", "https://c.example/d", "www.e.example"]
        );
        assert!(addresses("no address: // here, a.b or c:/d").is_empty());
    }

    #[test]
    fn what_names_no_host_is_relative() {
        for relative in ["", "#top", "/v1/documents/a", "event", "12:30", "note:", "a/b?c=d"] {
            assert!(is_relative(relative), "{relative}");
        }
        for other in [
            "//evil.example",
            "https:evil.example",
            "javascript:a()",
            "/\\evil.example",
            "&#104;ttps:x",
            "java\tscript",
        ] {
            assert!(!is_relative(other), "{other}");
        }
    }

    #[test]
    fn a_host_is_matched_whole() {
        let hosts = |list: &[&str]| list.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let allowed = Allowed { link_hosts: hosts(&["a.example", "*.b.example"]), ..Allowed::default() };
        for good in ["https://a.example", "http://A.example:8080/x?y#z", "https://x.b.example/", "https://a.example./"]
        {
            assert!(allowed.link(good), "{good}");
        }
        for bad in [
            "https://a.example.evil.example/",
            "https://a.example@evil.example/",
            "https://evil.example/a.example",
            "https://evil.example?a.example",
            "https://evila.example",
            "https://b.example",
            "https://evilb.example",
            "https://a.example\\@evil.example",
            "ftp://a.example",
            "javascript:a.example",
            "//a.example",
            "https://а.example",
            "https://a.example:x@evil.example",
        ] {
            assert!(!allowed.link(bad), "{bad}");
        }
        assert!(!allowed.image("https://a.example"));
    }
}
