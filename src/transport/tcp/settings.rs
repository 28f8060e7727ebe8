//! How a client behaves: names, patience, limits. Kafka's names and defaults.

use std::fmt;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, Result, shown};

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 9092;

/// Settings of a client, within bounds.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) client_id: String,
    /// By which records are stamped.
    pub(crate) clock: Clock,
    /// How long an answer may take (`request.timeout.ms`).
    pub(crate) request_timeout: Duration,
    /// How long a connection may take until it can be used (`socket.connection.setup.timeout.ms`).
    pub(crate) connect_timeout: Duration,
    /// How long a call goes on trying (`default.api.timeout.ms`).
    pub(crate) api_timeout: Duration,
    /// How long a topic may take to appear.
    pub(crate) topic_timeout: Duration,
    /// How old metadata get (`metadata.max.age.ms`).
    pub(crate) metadata_max_age: Duration,
    /// The first pause before something is tried again, and the longest.
    pub(crate) retry_backoff: (Duration, Duration),
    /// The first pause before a broker is connected to again, and the longest.
    pub(crate) reconnect_backoff: (Duration, Duration),
    /// The longest answer, in bytes.
    pub(crate) max_response_bytes: usize,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::security::ClientTls>,
    #[cfg(feature = "tls")]
    pub(crate) credentials: Option<crate::security::Credentials>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            client_id: "ottla".to_owned(),
            clock: Clock::system(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            api_timeout: Duration::from_secs(60),
            topic_timeout: Duration::from_secs(5),
            metadata_max_age: Duration::from_secs(300),
            retry_backoff: (Duration::from_millis(100), Duration::from_secs(1)),
            reconnect_backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            max_response_bytes: 256 << 20,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            credentials: None,
        }
    }
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Addresses with commas between, as `bootstrap.servers` has them.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Address>> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let all = parts.map(Address::parse).collect::<Result<Vec<_>>>()?;
        match all.is_empty() {
            true => Err(refused(text, "there is no address in it")),
            false => Ok(all),
        }
    }

    fn parse(text: &str) -> Result<Address> {
        if let Some((scheme, _)) = text.split_once("://") {
            let reason = format!("{scheme}:// does not belong there: it takes host:port");
            return Err(refused(text, &reason));
        }
        // An IPv6 address has colons of its own, and brackets around it if a port follows.
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = match port.map(str::parse::<u16>) {
            None => DEFAULT_PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(refused(text, "a port is a number from 1 to 65535")),
        };
        let is_host = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
        match !host.is_empty() && host.chars().all(is_host) {
            true => Ok(Address { host: host.to_owned(), port }),
            false => Err(refused(text, "it takes host:port, with commas between several")),
        }
    }
}

fn refused(text: &str, reason: &str) -> Error {
    let reason = match text.contains('@') {
        true => "it takes no user: ClientBuilder::credentials does",
        false => reason,
    };
    Error::InvalidConfig {
        name: "bootstrap.servers".to_owned(),
        reason: format!("{:?}: {reason}", shown(text)),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// As requests have it.
pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        match Address::parse_all(text) {
            Ok(all) => all.iter().map(Address::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn addresses_are_hosts_and_ports() {
        assert_eq!(
            parsed("kafka-1:9093, kafka-2 ,127.0.0.1:1,"),
            "kafka-1:9093 kafka-2:9092 127.0.0.1:1"
        );
        assert_eq!(
            parsed("[::1]:9093,::1,[fe80::1%eth0]"),
            "[::1]:9093 [::1]:9092 [fe80::1%eth0]:9092"
        );
        for (text, part) in [
            ("", "no address"),
            (" , ", "no address"),
            ("kafka:0", "1 to 65535"),
            ("kafka:65536", "1 to 65535"),
            ("kafka:", "1 to 65535"),
            (":9092", "host:port"),
            ("a b:1", "host:port"),
            ("kafka://a:1", "does not belong there"),
            ("alice:secret@a:1", "\"…@a:1\": it takes no user"),
            ("b:1,alice:secret@a:1", "ClientBuilder::credentials"),
        ] {
            let error = parsed(text);
            assert!(error.contains(part) && error.contains("bootstrap.servers"), "{text}: {error}");
        }
    }
}
