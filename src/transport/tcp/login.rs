//! Saying who the client is: SaslHandshake, then SaslAuthenticate until the broker is content.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::greeting::Greeting;
use super::versions::Versions;
use crate::error::{Error, Result};
use crate::security::{Credentials, Login, Step};
use crate::wire::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use crate::wire::sasl_handshake::SaslHandshakeRequest;
use crate::wire::{ApiKey, ErrorCode};

/// Logs in. For how long that holds, if not for good (KIP-368).
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    greeting: &mut Greeting<'_, S>,
    versions: &Versions,
    credentials: &Credentials,
) -> Result<Option<Duration>> {
    let broker = greeting.broker;
    shake_hands(greeting, versions, credentials.mechanism().name()).await?;
    let version = versions.choose(ApiKey::SaslAuthenticate, i16::MAX, broker)?;
    let (mut login, mut message) = Login::start(credentials);
    loop {
        let request = SaslAuthenticateRequest { auth_bytes: message.into() };
        let answer = greeting.ask(&request, version).await?;
        check(broker, &answer, credentials)?;
        // A password is salted as often as the broker says, which takes a moment.
        let stepped = tokio::task::spawn_blocking(move || {
            let step = login.step(&answer.auth_bytes);
            (login, step, answer.session_lifetime_ms)
        });
        let (went_on, step, lifetime) =
            stepped.await.map_err(|_| Error::closed("the client's runtime has ended"))?;
        match step.map_err(|why| failed(broker, why))? {
            Step::Send(next) => (login, message) = (went_on, next),
            Step::Done(()) => {
                let lifetime = u64::try_from(lifetime).ok().filter(|it| *it > 0);
                return Ok(lifetime.map(Duration::from_millis));
            }
        }
    }
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    greeting: &mut Greeting<'_, S>,
    versions: &Versions,
    mechanism: &str,
) -> Result<()> {
    let broker = greeting.broker;
    let version = versions.choose(ApiKey::SaslHandshake, i16::MAX, broker)?;
    let request = SaslHandshakeRequest { mechanism: mechanism.to_owned() };
    // Version 0 would go on without headers.
    let answer = greeting.ask(&request, version.max(1)).await?;
    let reason = match answer.error_code {
        ErrorCode::NONE => return Ok(()),
        ErrorCode::ILLEGAL_SASL_STATE => {
            "it does not ask who its clients are here: connect without credentials, or to its \
             other port"
                .to_owned()
        }
        ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
            format!("it does not have {mechanism}; it has: {}", answer.mechanisms.join(", "))
        }
        error => format!("it does not take {mechanism}: {error}"),
    };
    Err(failed(broker, reason))
}

fn check(broker: &str, answer: &SaslAuthenticateResponse, credentials: &Credentials) -> Result<()> {
    if answer.error_code == ErrorCode::NONE {
        return Ok(());
    }
    let (mechanism, user) = (credentials.mechanism(), credentials.user());
    let said = answer.error_message.as_deref().unwrap_or_default();
    let error = answer.error_code;
    Err(failed(broker, format!("it does not let {user:?} in by {mechanism}: {error}: {said}")))
}

fn failed(broker: &str, reason: impl Into<String>) -> Error {
    Error::Authentication { broker: broker.to_owned(), reason: reason.into() }
}
