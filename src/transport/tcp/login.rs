//! Saying who the client is: SaslHandshake, then SaslAuthenticate until the broker is content.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::exchange;
use super::versions::Versions;
use crate::error::{Error, Result};
use crate::security::{Credentials, Login, Step};
use crate::wire::ErrorCode;
use crate::wire::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use crate::wire::sasl_handshake::SaslHandshakeRequest;
use crate::wire::{ApiKey, Request};

/// A connection's first exchanges.
pub(super) struct Greeting<'a, S> {
    pub(super) stream: &'a mut S,
    pub(super) buf: &'a mut BytesMut,
    pub(super) broker: &'a str,
    pub(super) client_id: &'a str,
    pub(super) versions: &'a Versions,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeting<'_, S> {
    /// Logs in. For how long that holds, if not for good (KIP-368).
    pub(super) async fn log_in(&mut self, credentials: &Credentials) -> Result<Option<Duration>> {
        let mechanism = credentials.mechanism().name();
        // Version 0 would go on without headers.
        let version = self.choose(ApiKey::SaslHandshake)?;
        let request = SaslHandshakeRequest { mechanism: mechanism.to_owned() };
        let answer = self.ask(&request, version.max(1)).await?;
        match answer.error_code {
            ErrorCode::NONE => {}
            ErrorCode::ILLEGAL_SASL_STATE => {
                let why = "it does not ask who its clients are here: connect without credentials, \
                           or to its other port";
                return Err(self.failed(why));
            }
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let theirs = answer.mechanisms.join(", ");
                return Err(self.failed(format!("it does not have {mechanism}; it has: {theirs}")));
            }
            error => return Err(self.failed(format!("it does not take {mechanism}: {error}"))),
        }
        let version = self.choose(ApiKey::SaslAuthenticate)?;
        let (mut login, mut message) = Login::start(credentials);
        loop {
            let request = SaslAuthenticateRequest { auth_bytes: message.into() };
            let answer = self.ask(&request, version).await?;
            self.check(&answer, credentials)?;
            // A password is salted as often as the broker says, which takes a moment.
            let stepped = tokio::task::spawn_blocking(move || {
                let step = login.step(&answer.auth_bytes);
                (login, step, answer.session_lifetime_ms)
            });
            let (went_on, step, lifetime) =
                stepped.await.map_err(|_| Error::closed("the client's runtime has ended"))?;
            match step.map_err(|why| self.failed(why))? {
                Step::Send(next) => (login, message) = (went_on, next),
                Step::Done(()) => {
                    let lifetime = u64::try_from(lifetime).ok().filter(|it| *it > 0);
                    return Ok(lifetime.map(Duration::from_millis));
                }
            }
        }
    }

    fn check(&self, answer: &SaslAuthenticateResponse, credentials: &Credentials) -> Result<()> {
        if answer.error_code == ErrorCode::NONE {
            return Ok(());
        }
        let (mechanism, user) = (credentials.mechanism(), credentials.user());
        let said = answer.error_message.as_deref().unwrap_or_default();
        let error = answer.error_code;
        Err(self.failed(format!("it does not let {user:?} in by {mechanism}: {error}: {said}")))
    }

    fn choose(&self, api: ApiKey) -> Result<i16> {
        self.versions.choose(api, i16::MAX, self.broker)
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        exchange(self.stream, self.buf, request, version, self.client_id, self.broker).await
    }

    fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Authentication { broker: self.broker.to_owned(), reason: reason.into() }
    }
}
