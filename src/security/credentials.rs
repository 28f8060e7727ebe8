//! Who a client says it is, and in which way it proves it.

use std::fmt;
use std::str::FromStr;

use super::scram::{Hash, ScramClient, Step};

/// A way to say who one is (`sasl.mechanism`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// The password itself. Only over TLS is it nobody else's business.
    Plain,
    /// A proof of the password, by SHA-256 (RFC 7677).
    ScramSha256,
    /// A proof of the password, by SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// All that there are.
    pub const ALL: &[Mechanism] =
        &[Mechanism::ScramSha512, Mechanism::ScramSha256, Mechanism::Plain];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    pub(crate) fn hash(self) -> Option<Hash> {
        match self {
            Mechanism::Plain => None,
            Mechanism::ScramSha256 => Some(Hash::Sha256),
            Mechanism::ScramSha512 => Some(Hash::Sha512),
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no mechanism that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown mechanism {0:?}: there are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")]
pub struct ParseMechanismError(String);

impl FromStr for Mechanism {
    type Err = ParseMechanismError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Mechanism::ALL.iter().find(|it| it.name().eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| ParseMechanismError(text.to_owned()))
    }
}

/// What a client says of who it is, on each connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    mechanism: Mechanism,
    user: String,
    password: String,
}

impl Credentials {
    /// By a mechanism of choice.
    pub fn new(mechanism: Mechanism, user: impl Into<String>, password: impl Into<String>) -> Self {
        Credentials { mechanism, user: user.into(), password: password.into() }
    }

    /// By [`Mechanism::Plain`].
    pub fn plain(user: impl Into<String>, password: impl Into<String>) -> Self {
        Credentials::new(Mechanism::Plain, user, password)
    }

    /// By [`Mechanism::ScramSha256`].
    pub fn scram_sha_256(user: impl Into<String>, password: impl Into<String>) -> Self {
        Credentials::new(Mechanism::ScramSha256, user, password)
    }

    /// By [`Mechanism::ScramSha512`].
    pub fn scram_sha_512(user: impl Into<String>, password: impl Into<String>) -> Self {
        Credentials::new(Mechanism::ScramSha512, user, password)
    }

    /// In which way.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Who.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A client that logs in: messages in, messages out.
pub(crate) enum Login {
    Plain,
    Scram(Box<ScramClient>),
}

impl Login {
    /// With the first message.
    pub(crate) fn start(credentials: &Credentials) -> (Login, Vec<u8>) {
        let Credentials { mechanism, user, password } = credentials;
        match mechanism.hash() {
            None => (Login::Plain, format!("\0{user}\0{password}").into_bytes()),
            Some(hash) => {
                let (scram, first) = ScramClient::start(hash, user, password);
                (Login::Scram(Box::new(scram)), first)
            }
        }
    }

    /// Takes an answer. May take a while: call it where that is no harm.
    pub(crate) fn step(&mut self, answer: &[u8]) -> Result<Step<()>, String> {
        match self {
            Login::Plain => Ok(Step::Done(())),
            Login::Scram(scram) => scram.step(answer),
        }
    }
}

/// The user and the password of a PLAIN message (RFC 4616).
pub(crate) fn plain(message: &[u8]) -> Result<(&str, &str), String> {
    let malformed = || "a PLAIN message is a user and a password, with NUL around".to_owned();
    let text = std::str::from_utf8(message).map_err(|_| malformed())?;
    let mut parts = text.split('\0');
    let (Some(acts_for), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    match acts_for.is_empty() || acts_for == user {
        true if !user.is_empty() => Ok((user, password)),
        true => Err(malformed()),
        false => Err("nobody acts for another user here".to_owned()),
    }
}
