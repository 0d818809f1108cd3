//! Where a request comes from: what its proxies say, as far as they are trusted.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use ragstone_core::{Error, Result};

use super::LimitsConfig;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Finds callers' addresses. Anybody can send `X-Forwarded-For`: only what trusted proxies have added on its right counts.
#[derive(Debug, Clone)]
pub(crate) struct ClientAddress {
    trusted: Vec<IpNet>,
    hops: usize,
}

impl ClientAddress {
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub(crate) fn new(config: &LimitsConfig) -> Result<Self> {
        if config.forwarded_hops == 0 {
            return Err(Error::invalid("limits.forwarded_hops must be at least 1"));
        }
        let network = |text: &String| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical())));
            network
                .map_err(|_| Error::invalid(format!("limits.trusted_proxies: '{text}' is no address and no network")))
        };
        let trusted = config.trusted_proxies.iter().map(network).collect::<Result<_>>()?;
        Ok(Self { trusted, hops: config.forwarded_hops })
    }

    /// The caller's address. Beginning with `peer`, who opened the connection, each trusted proxy is asked whom it
    /// had the request from, at most as often as there are proxies. What is no address ends it.
    pub(crate) fn of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.to_canonical();
        // Several headers are one list, in their order.
        let fields: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(|value| value.as_bytes()).collect();
        let entries = fields.iter().rev().flat_map(|field| field.rsplit(|byte| *byte == b','));
        for entry in entries.take(self.hops) {
            if !self.trusts(address) {
                break;
            }
            let Some(before) = parse(entry) else { break };
            address = before;
        }
        address
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: also with a port, and IPv6 in brackets.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip())),
    };
    // ::ffff:10.0.0.1 is 10.0.0.1, and must not be somebody else in a limit or a network.
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn finder(trusted: &[&str], hops: usize) -> ClientAddress {
        let trusted_proxies = trusted.iter().map(|text| (*text).to_owned()).collect();
        ClientAddress::new(&LimitsConfig { trusted_proxies, forwarded_hops: hops, ..LimitsConfig::default() }).unwrap()
    }

    fn headers(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|text| (FORWARDED_FOR, HeaderValue::from_bytes(text.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn the_address_is_found_as_far_as_proxies_are_trusted() {
        let nobody = &[][..];
        let inner = &["10.0.0.0/8", "fd00::/8", "192.0.2.1"][..];
        for (trusted, hops, peer, fields, found) in [
            // Who is not trusted says what it likes.
            (nobody, 1, "198.51.100.1", &["1.1.1.1"][..], "198.51.100.1"),
            (inner, 3, "198.51.100.1", &["1.1.1.1, 10.0.0.1"], "198.51.100.1"),
            (inner, 1, "10.0.0.1", &[], "10.0.0.1"),
            (inner, 1, "10.0.0.1", &["1.1.1.1, 2.2.2.2"], "2.2.2.2"),
            (inner, 1, "192.0.2.1", &["2.2.2.2"], "2.2.2.2"),
            (inner, 1, "192.0.2.2", &["2.2.2.2"], "192.0.2.2"),
            // No further than there are proxies, even if the address is one of theirs.
            (inner, 1, "10.0.0.1", &["1.1.1.1, 10.0.0.2"], "10.0.0.2"),
            (inner, 2, "10.0.0.1", &["1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            // No further than they are trusted.
            (inner, 3, "10.0.0.1", &["1.1.1.1, 2.2.2.2, 10.0.0.2"], "2.2.2.2"),
            (inner, 9, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // Several headers in order.
            (inner, 2, "10.0.0.1", &["1.1.1.1", "2.2.2.2,10.0.0.2"], "2.2.2.2"),
            (inner, 3, "10.0.0.1", &["1.1.1.1", "2.2.2.2", "10.0.0.2"], "2.2.2.2"),
            // Junk ends it.
            (inner, 2, "10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            (inner, 3, "10.0.0.1", &["1.1.1.1, , 10.0.0.2"], "10.0.0.2"),
            (inner, 1, "10.0.0.1", &[""], "10.0.0.1"),
            (inner, 1, "10.0.0.1", &["1.1.1.1, 300.1.1.1"], "10.0.0.1"),
            (inner, 1, "10.0.0.1", &["\u{fc}"], "10.0.0.1"),
            (inner, 1, "10.0.0.1", &["fe80::1%eth0"], "10.0.0.1"),
            // How addresses are written.
            (inner, 1, "10.0.0.1", &["2.2.2.2:4711"], "2.2.2.2"),
            (inner, 1, "10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            (inner, 1, "10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            (inner, 1, "10.0.0.1", &["\t2001:DB8:0::1 "], "2001:db8::1"),
            (inner, 1, "10.0.0.1", &["[2.2.2.2]"], "10.0.0.1"),
            (inner, 1, "fd00::7", &["2.2.2.2"], "2.2.2.2"),
            // IPv4 in IPv6 clothes.
            (inner, 2, "::ffff:10.0.0.1", &["1.1.1.1, ::ffff:10.0.0.2"], "1.1.1.1"),
            (inner, 1, "10.0.0.1", &["::ffff:2.2.2.2"], "2.2.2.2"),
            (nobody, 1, "::ffff:2.2.2.2", &[], "2.2.2.2"),
        ] {
            let address = finder(trusted, hops).of(peer.parse().unwrap(), &headers(fields));
            assert_eq!(address.to_string(), found, "{trusted:?} {hops} {peer} {fields:?}");
        }
    }

    #[test]
    fn networks_and_addresses_are_told_from_junk() {
        for good in ["10.0.0.0/8", "10.0.0.7", "::1", "fd00::/8", "0.0.0.0/0", "::ffff:10.0.0.1"] {
            finder(&[good], 1);
        }
        for junk in ["", "10.0.0.0/33", "proxy.example", "10.0.0.1-10.0.0.9", "10.0.0.1:80"] {
            let trusted_proxies = vec![junk.to_owned()];
            let error = ClientAddress::new(&LimitsConfig { trusted_proxies, ..LimitsConfig::default() }).unwrap_err();
            assert!(error.message.contains("limits.trusted_proxies"), "{error}");
        }
        let mapped = finder(&["::ffff:10.0.0.1"], 1).of("10.0.0.1".parse().unwrap(), &headers(&["2.2.2.2"]));
        assert_eq!(mapped.to_string(), "2.2.2.2");
    }

    proptest! {
        /// Whatever a caller sends, what the proxy adds on its right is what is found.
        #[test]
        fn nobody_can_forge_an_address(sent in prop::collection::vec("[ -~]{0,40}", 0..4), added in any::<[u8; 4]>()) {
            let added = IpAddr::from(added);
            prop_assume!(added != IpAddr::from([10, 0, 0, 1]));
            let mut fields: Vec<String> = sent;
            let own = match fields.pop() { Some(last) => format!("{last}, {added}"), None => added.to_string() };
            fields.push(own);
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            for hops in [1, 5] {
                prop_assert_eq!(finder(&["10.0.0.1"], hops).of(IpAddr::from([10, 0, 0, 1]), &headers(&fields)), added);
            }
        }
    }
}
