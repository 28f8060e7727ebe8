//! SCRAM (RFC 5802, RFC 7677) as Kafka speaks it: no channel binding, and passwords as they are.
//! The RFC would have them prepared first (SASLprep); Kafka does not, so neither does this.
//!
//! Each end is a machine of texts: a message in, a message out.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

use super::users::ScramVerifier;

/// Bytes of randomness in a nonce.
const NONCE: usize = 24;

/// What a broker may ask of a client for each login, so that none keeps it busy: with SHA-512 some
/// 300 ms.
pub(super) const MAX_ITERATIONS: u32 = 500_000;

/// What RFC 7677 asks for at least, and Kafka enforces.
pub(super) const MIN_ITERATIONS: u32 = 4096;

/// The longest message that is looked at. Real ones have some hundred bytes.
const MAX_MESSAGE: usize = 16 << 10;

/// The hash that a mechanism uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Hash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    pub(super) fn len(self) -> usize {
        self.digest().output_len()
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.digest(), bytes).as_ref().to_vec()
    }

    fn sign(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac(), key), text).as_ref().to_vec()
    }

    /// `SaltedPassword`: takes as long as there are iterations.
    fn salt(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut salted = vec![0; self.len()];
        let iterations = iterations.try_into().expect("it is checked not to be 0");
        pbkdf2::derive(self.pbkdf2(), iterations, salt, password, &mut salted);
        salted
    }

    /// `StoredKey` and `ServerKey`, which is all that a broker has to know.
    pub(super) fn keys(self, password: &str, salt: &[u8], iterations: u32) -> (Vec<u8>, Vec<u8>) {
        let salted = self.salt(password.as_bytes(), salt, iterations);
        let client_key = self.sign(&salted, b"Client Key");
        (self.hash(&client_key), self.sign(&salted, b"Server Key"))
    }
}

/// Bytes that nobody can guess.
pub(super) fn random<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}

fn nonce() -> String {
    BASE64.encode(random::<NONCE>())
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// What a side does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// It sends this, and waits for an answer.
    Send(Vec<u8>),
    /// It is done.
    Done(T),
}

/// The client's side. It has a password in it, and so no `Debug`.
pub(crate) struct ScramClient {
    hash: Hash,
    password: String,
    first_bare: String,
    nonce: String,
    /// What the broker has to answer at the end, once it is known.
    expected: Option<Vec<u8>>,
}

impl ScramClient {
    /// With the client's first message.
    pub(crate) fn start(hash: Hash, user: &str, password: &str) -> (Self, Vec<u8>) {
        ScramClient::start_with(hash, user, password, nonce())
    }

    pub(super) fn start_with(
        hash: Hash,
        user: &str,
        password: &str,
        nonce: String,
    ) -> (Self, Vec<u8>) {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={user},r={nonce}");
        let first = format!("n,,{first_bare}").into_bytes();
        let password = password.to_owned();
        (ScramClient { hash, password, first_bare, nonce, expected: None }, first)
    }

    /// Takes the broker's next message. The first takes a while: call it where that is no harm.
    pub(crate) fn step(&mut self, message: &[u8]) -> Result<Step<()>, String> {
        let message = text(message)?;
        if let Some(reason) = message.strip_prefix("e=") {
            return Err(format!("the broker says {reason:?}"));
        }
        match self.expected.take() {
            None => self.prove(message),
            Some(expected) => {
                let signature = field(&mut message.split(','), "v")?;
                let signature = BASE64.decode(signature).map_err(|_| malformed(message))?;
                match bool::from(signature.ct_eq(&expected)) {
                    true => Ok(Step::Done(())),
                    false => Err("the broker does not know the password itself: it may be an \
                                  impostor"
                        .to_owned()),
                }
            }
        }
    }

    fn prove(&mut self, server_first: &str) -> Result<Step<()>, String> {
        let mut fields = server_first.split(',');
        let nonce = field(&mut fields, "r")?;
        let salt = BASE64.decode(field(&mut fields, "s")?).map_err(|_| malformed(server_first))?;
        let iterations = field(&mut fields, "i")?.parse::<u32>();
        let iterations = iterations.map_err(|_| malformed(server_first))?;
        let is_own = nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len();
        if !is_own || !is_nonce(nonce) {
            return Err("the broker's nonce does not begin with the client's".to_owned());
        }
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(format!(
                "the broker asks for {iterations} iterations; {MIN_ITERATIONS} to \
                 {MAX_ITERATIONS} are accepted"
            ));
        }
        Ok(Step::Send(self.proof(server_first, nonce, &salt, iterations)))
    }

    /// The last message, and what the broker will have to say to it.
    pub(super) fn proof(
        &mut self,
        server_first: &str,
        nonce: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Vec<u8> {
        let salted = self.hash.salt(self.password.as_bytes(), salt, iterations);
        let client_key = self.hash.sign(&salted, b"Client Key");
        let final_bare = format!("c=biws,r={nonce}");
        let auth = format!("{},{server_first},{final_bare}", self.first_bare);
        let mut proof = self.hash.sign(&self.hash.hash(&client_key), auth.as_bytes());
        proof.iter_mut().zip(&client_key).for_each(|(byte, key)| *byte ^= key);
        let server_key = self.hash.sign(&salted, b"Server Key");
        self.expected = Some(self.hash.sign(&server_key, auth.as_bytes()));
        format!("{final_bare},p={}", BASE64.encode(proof)).into_bytes()
    }
}

/// The broker's side.
#[derive(Debug)]
pub(crate) struct ScramServer {
    hash: Hash,
    state: State,
}

#[derive(Debug)]
enum State {
    First,
    Final { user: String, verifier: ScramVerifier, nonce: String, auth: String },
    Over,
}

/// Who it was, and what to answer as the last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proved {
    pub(crate) user: String,
    pub(crate) answer: Vec<u8>,
}

impl ScramServer {
    pub(crate) fn new(hash: Hash) -> Self {
        ScramServer { hash, state: State::First }
    }

    /// Takes the client's next message. `find` has a verifier for every name; for those that are
    /// not known one that fits no password, so that nobody learns which are.
    pub(crate) fn step(
        &mut self,
        message: &[u8],
        find: impl FnOnce(&str) -> ScramVerifier,
    ) -> Result<Step<Proved>, String> {
        self.step_with(message, find, nonce)
    }

    pub(super) fn step_with(
        &mut self,
        message: &[u8],
        find: impl FnOnce(&str) -> ScramVerifier,
        nonce: impl FnOnce() -> String,
    ) -> Result<Step<Proved>, String> {
        let message = text(message)?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.greet(message, find, nonce()),
            State::Final { user, verifier, nonce, auth } => {
                self.check(message, user, &verifier, &nonce, &auth)
            }
            State::Over => Err("the exchange is over".to_owned()),
        }
    }

    fn greet(
        &mut self,
        message: &str,
        find: impl FnOnce(&str) -> ScramVerifier,
        own: String,
    ) -> Result<Step<Proved>, String> {
        let mut parts = message.splitn(3, ',');
        let (binding, authzid) = (parts.next(), parts.next());
        let bare = parts.next().ok_or_else(|| malformed(message))?;
        if !matches!(binding, Some("n" | "y")) {
            return Err("channel binding is not supported".to_owned());
        }
        let mut fields = bare.split(',');
        let user = name(field(&mut fields, "n")?).ok_or_else(|| malformed(message))?;
        let nonce = field(&mut fields, "r")?;
        let acts_for = authzid.unwrap_or_default().strip_prefix("a=").map(name);
        let is_self = match (authzid, acts_for) {
            (Some(""), _) => true,
            (_, Some(Some(other))) => other == user,
            _ => return Err(malformed(message)),
        };
        if !is_self {
            return Err("nobody acts for another user here".to_owned());
        }
        if !is_nonce(nonce) {
            return Err(malformed(message));
        }
        let verifier = find(&user);
        let nonce = format!("{nonce}{own}");
        let salt = BASE64.encode(&verifier.salt);
        let first = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let auth = format!("{bare},{first}");
        self.state = State::Final { user, verifier, nonce, auth };
        Ok(Step::Send(first.into_bytes()))
    }

    fn check(
        &self,
        message: &str,
        user: String,
        verifier: &ScramVerifier,
        nonce: &str,
        auth: &str,
    ) -> Result<Step<Proved>, String> {
        let (bare, proof) = message.rsplit_once(",p=").ok_or_else(|| malformed(message))?;
        let mut fields = bare.split(',');
        // What the client said of channel binding, again: `n,,`, or with a name, or `y`.
        let binding = BASE64.decode(field(&mut fields, "c")?).map_err(|_| malformed(message))?;
        // Before 2.6.1 librdkafka has its own nonce in front a second time
        // (confluentinc/librdkafka#4895), which Kafka 3.9 lets pass, and Kafka 4 does not. That the
        // broker's part is there is what keeps an old message from being used again.
        let is_answer = field(&mut fields, "r")?.ends_with(nonce);
        if !is_answer || !matches!(binding.first(), Some(b'n' | b'y')) {
            return Err(malformed(message));
        }
        let proof = BASE64.decode(proof).map_err(|_| malformed(message))?;
        let auth = format!("{auth},{bare}");
        let mut key = self.hash.sign(&verifier.stored_key, auth.as_bytes());
        if proof.len() != key.len() {
            return Err(malformed(message));
        }
        key.iter_mut().zip(&proof).for_each(|(byte, proof)| *byte ^= proof);
        if !bool::from(self.hash.hash(&key).ct_eq(&verifier.stored_key)) {
            return Err("wrong user name or password".to_owned());
        }
        let signature = self.hash.sign(&verifier.server_key, auth.as_bytes());
        let mut answer = "v=".to_owned();
        BASE64.encode_string(signature, &mut answer);
        Ok(Step::Done(Proved { user, answer: answer.into_bytes() }))
    }
}

fn text(message: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(message).ok().filter(|text| text.len() <= MAX_MESSAGE);
    text.ok_or_else(|| "the message is no SCRAM".to_owned())
}

/// The next field, which is to have this name.
fn field<'a>(fields: &mut impl Iterator<Item = &'a str>, name: &str) -> Result<&'a str, String> {
    let field = fields.next().unwrap_or_default();
    let value = field.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
    value.ok_or_else(|| malformed(field))
}

/// A name as messages have it: without commas, and `=` only in `=2C` and `=3D`.
fn name(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next()?);
    for part in parts {
        name.push(match part.get(..2)? {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(&part[2..]);
    }
    (!name.is_empty()).then_some(name)
}

fn malformed(message: &str) -> String {
    let mut shown = String::new();
    let _ = write!(shown, "{:.60}", message.escape_debug().to_string());
    format!("the message is no SCRAM: \"{shown}\"")
}
