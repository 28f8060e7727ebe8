//! Whom a listener believes: names and SCRAM verifiers. Passwords are not kept.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use subtle::ConstantTimeEq;

use super::credentials::Mechanism;
use super::scram::{Hash, MAX_ITERATIONS, MIN_ITERATIONS, random};
use crate::error::{Error, Result};

/// Bytes of salt of a verifier made here.
const SALT: usize = 24;

/// What passwords of users that are added here cost to try; the same as RFC 7677's least, and
/// Kafka's default.
const ITERATIONS: u32 = 4096;

/// What a broker knows of a password: enough to tell it when it sees it, and not enough to log in
/// with. Reads and prints as Kafka stores it:
/// `salt=…,stored_key=…,server_key=…,iterations=4096`.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Vec<u8>,
    pub(super) server_key: Vec<u8>,
    pub(super) iterations: u32,
}

impl ScramVerifier {
    fn new(hash: Hash, password: &str) -> Self {
        let salt = random::<SALT>();
        let (stored_key, server_key) = hash.keys(password, &salt, ITERATIONS);
        ScramVerifier { salt: salt.to_vec(), stored_key, server_key, iterations: ITERATIONS }
    }
}

/// As Kafka's `ScramCredentialUtils` writes it.
impl fmt::Display for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt, &self.stored_key, &self.server_key].map(|bytes| BASE64.encode(bytes));
        let iterations = self.iterations;
        write!(f, "salt={salt},stored_key={stored},server_key={server},iterations={iterations}")
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl FromStr for ScramVerifier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |reason: &str| Error::InvalidConfig {
            name: "SCRAM verifier".to_owned(),
            reason: reason.to_owned(),
        };
        let mut values: BTreeMap<&str, &str> = BTreeMap::new();
        for field in text.split(',') {
            let (name, value) = field.split_once('=').ok_or_else(|| {
                refused("it is salt=…,stored_key=…,server_key=…,iterations=…, as Kafka writes it")
            })?;
            values.insert(name.trim(), value.trim());
        }
        let value = |name: &str| {
            let missing = || refused(&format!("it has no {name}"));
            values.get(name).copied().ok_or_else(missing)
        };
        let bytes = |name: &str| {
            let bad = |_| refused(&format!("its {name} is no Base64"));
            BASE64.decode(value(name)?).map_err(bad)
        };
        let iterations = value("iterations")?.parse().ok();
        let iterations = iterations.filter(|it| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(it));
        let range = format!("iterations are {MIN_ITERATIONS} to {MAX_ITERATIONS}");
        let verifier = ScramVerifier {
            salt: bytes("salt")?,
            stored_key: bytes("stored_key")?,
            server_key: bytes("server_key")?,
            iterations: iterations.ok_or_else(|| refused(&range))?,
        };
        let len = verifier.stored_key.len();
        let fits = [Hash::Sha256.len(), Hash::Sha512.len()].contains(&len);
        match fits && verifier.server_key.len() == len && !verifier.salt.is_empty() {
            true => Ok(verifier),
            false => Err(refused("its keys have 32 bytes each (SHA-256), or 64 (SHA-512)")),
        }
    }
}

/// The users of a listener: for each a name, and verifiers of a password. Cheap to clone; clones
/// are the same users, so that one may be added while a listener is at work.
///
/// A user may log in by SCRAM-SHA-256 and SCRAM-SHA-512, as far as there is a verifier, and over
/// TLS or from this machine by PLAIN. All may do everything: there are no access lists.
///
/// ```
/// let users = ottla::security::Users::new();
/// users.add("alice", "secret")?;
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone)]
pub struct Users(Arc<Inner>);

struct Inner {
    by_name: RwLock<BTreeMap<String, Verifiers>>,
    /// Of which the salts of users are made that do not exist: the same ones each time.
    secret: [u8; 32],
}

#[derive(Debug, Clone, Default)]
struct Verifiers {
    sha_256: Option<ScramVerifier>,
    sha_512: Option<ScramVerifier>,
}

impl Verifiers {
    fn of(&self, hash: Hash) -> Option<&ScramVerifier> {
        match hash {
            Hash::Sha256 => self.sha_256.as_ref(),
            Hash::Sha512 => self.sha_512.as_ref(),
        }
    }

    fn place(&mut self, hash: Hash) -> &mut Option<ScramVerifier> {
        match hash {
            Hash::Sha256 => &mut self.sha_256,
            Hash::Sha512 => &mut self.sha_512,
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Users::new()
    }
}

impl Users {
    /// None yet.
    pub fn new() -> Self {
        Users(Arc::new(Inner { by_name: RwLock::default(), secret: random() }))
    }

    /// Those of a file: a line each, of a name, a mechanism and a verifier, with spaces between.
    /// Empty lines and those that begin with `#` do not count. [`Users`] prints the same.
    ///
    /// ```text
    /// alice SCRAM-SHA-512 salt=…,stored_key=…,server_key=…,iterations=4096
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidConfig`], with the number of the line.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::io(format!("reading users from {}", path.display()), error))?;
        text.parse().map_err(|error| match error {
            Error::InvalidConfig { name, reason } => {
                Error::InvalidConfig { name: format!("{}, {name}", path.display()), reason }
            }
            error => error,
        })
    }

    /// Adds a user, or gives one another password. Takes some milliseconds.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a name that is empty, longer than 255 bytes, or has spaces or
    /// control characters in it, and for an empty password.
    pub fn add(&self, name: &str, password: &str) -> Result<()> {
        let reason = if password.is_empty() { Some("a password is not empty") } else { None };
        check(name, reason)?;
        let verifiers = Verifiers {
            sha_256: Some(ScramVerifier::new(Hash::Sha256, password)),
            sha_512: Some(ScramVerifier::new(Hash::Sha512, password)),
        };
        self.write().insert(name.to_owned(), verifiers);
        Ok(())
    }

    /// Adds a user whose password is not known here, or one more mechanism to a user.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a name as above, and for a verifier that is not of this
    /// mechanism.
    pub fn add_verifier(
        &self,
        name: &str,
        mechanism: Mechanism,
        verifier: ScramVerifier,
    ) -> Result<()> {
        let hash = mechanism.hash().filter(|hash| hash.len() == verifier.stored_key.len());
        let reason = format!("{mechanism} has other verifiers");
        check(name, hash.is_none().then_some(&*reason))?;
        if let Some(hash) = hash {
            *self.write().entry(name.to_owned()).or_default().place(hash) = Some(verifier);
        }
        Ok(())
    }

    /// Removes a user; whether there was one. Connections that it has remain.
    pub fn remove(&self, name: &str) -> bool {
        self.write().remove(name).is_some()
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// For users that do not exist one that fits nothing, and always the same.
    pub(crate) fn verifier(&self, hash: Hash, name: &str) -> ScramVerifier {
        let known = self.read().get(name).and_then(|user| user.of(hash).cloned());
        known.unwrap_or_else(|| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0.secret);
            let salt = hmac::sign(&key, name.as_bytes()).as_ref()[..SALT].to_vec();
            let [stored_key, server_key] = [vec![0; hash.len()], vec![0; hash.len()]];
            ScramVerifier { salt, stored_key, server_key, iterations: ITERATIONS }
        })
    }

    /// Whether the password is this user's. Takes some milliseconds, whether there is such a user
    /// or not.
    pub(crate) fn accept(&self, name: &str, password: &str) -> bool {
        let hash = match self.read().get(name) {
            Some(Verifiers { sha_512: None, sha_256: Some(_) }) => Hash::Sha256,
            _ => Hash::Sha512,
        };
        let verifier = self.verifier(hash, name);
        let (stored_key, _) = hash.keys(password, &verifier.salt, verifier.iterations);
        stored_key.ct_eq(&verifier.stored_key).into()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Verifiers>> {
        self.0.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Verifiers>> {
        self.0.by_name.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Users::from_file`] reads.
impl FromStr for Users {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let users = Users::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at_line = |reason: String| Error::InvalidConfig {
                name: format!("line {}", number + 1),
                reason,
            };
            let mut words = line.split_whitespace();
            let (Some(name), Some(mechanism), Some(verifier), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                let reason = "a line has a name, a mechanism and a verifier";
                return Err(at_line(reason.to_owned()));
            };
            let mechanism: Mechanism =
                mechanism.parse().map_err(|error| at_line(format!("{error}")))?;
            let added = verifier.parse().and_then(|it| users.add_verifier(name, mechanism, it));
            added.map_err(|error| at_line(error.to_string()))?;
        }
        Ok(users)
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, verifiers) in &*self.read() {
            for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
                let verifier = mechanism.hash().and_then(|hash| verifiers.of(hash));
                if let Some(verifier) = verifier {
                    writeln!(f, "{name} {mechanism} {verifier}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Users").field(&self.names()).finish()
    }
}

fn check(name: &str, otherwise: Option<&str>) -> Result<()> {
    let is_name = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('#')
        && !name.chars().any(|c| c.is_whitespace() || c.is_control());
    let reason = match (is_name, otherwise) {
        (true, None) => return Ok(()),
        (true, Some(reason)) => reason,
        (false, _) => "a name has 1 to 255 bytes, none of them a space, and begins without #",
    };
    Err(Error::InvalidConfig { name: format!("user {name:?}"), reason: reason.to_owned() })
}
