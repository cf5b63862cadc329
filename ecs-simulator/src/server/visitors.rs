//! Whom the server answers: clients that know it by one of its own names, and no page of a foreign site.
//!
//! Whoever reaches the port may do anything to the cluster. A browser on the same machine reaches it too, for whatever page is
//! open in it: such a page sends its `Origin`. One that had its own name resolve to this machine sends that name as `Host`.

use std::{collections::BTreeSet, net::IpAddr};

use http::{HeaderMap, HeaderName, Uri, header::HOST, header::ORIGIN};

/// The names by which clients may call the server, beside `localhost` and the loopback addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// These names, or addresses, in whatever case.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.to_lowercase()).collect())
    }

    /// Why a request with these headers is refused, if it is.
    pub(super) fn refusal(&self, headers: &HeaderMap) -> Option<String> {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let host = text(&HOST).unwrap_or_default();
        if !self.is_own(host) {
            return Some(format!("Host {host:?} is none of this simulator's names; --host adds one"));
        }
        let origin = text(&ORIGIN)?;
        let authority = origin.parse::<Uri>().ok().and_then(|uri| Some(uri.authority()?.to_string()));
        if authority.is_some_and(|authority| self.is_own(&authority)) {
            return None;
        }
        Some(format!("Origin {origin:?} is none of this simulator's names; --host adds one"))
    }

    /// Whether it is one of the names, with or without a port.
    fn is_own(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
        let name = authority.host().to_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name == "localhost"
            || name.ends_with(".localhost")
            || address.is_ok_and(|address| address.is_loopback())
            || self.0.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(host: &str, origin: &str, expected: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        let refusal = Names::new(["Ecs".to_owned()]).refusal(&headers).unwrap_or_default();
        let word = refusal.split(' ').next().unwrap_or_default();
        assert_eq!(word, expected, "Host {host:?}, Origin {origin:?}: {refusal}");
    }

    #[test]
    fn own_names_are_answered_and_others_refused() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST",
            "ecs.localhost:1",
            "127.0.0.1:9",
            "127.1.2.3",
            "[::1]:8080",
            "ecs:80",
        ] {
            check(host, "", "");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com:8080",
            "10.0.0.7",
            "[2001:db8::1]",
            "127.0.0.1.example.com",
            "a b",
            "evil@localhost.example.com",
        ] {
            check(host, "", "Host");
        }
    }

    #[test]
    fn a_page_of_a_foreign_site_is_refused() {
        for origin in ["http://localhost:3000", "http://127.0.0.1", "https://ecs"] {
            check("localhost:8080", origin, "");
        }
        for origin in
            ["http://example.com", "https://localhost.example.com", "null", "file://", "chrome-extension://abc"]
        {
            check("localhost:8080", origin, "Origin");
        }
        check("example.com", "http://localhost", "Host");
    }
}
