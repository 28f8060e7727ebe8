//! Before anything else: TLS, and who a connection's client is, where a listener wants to know.
//!
//! Until then only what a client can do and SASL are decoded, one request after another, and none
//! is long.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::answer::Server;
use super::connection::Ends;
use super::listener::Closing;
use crate::security::{Mechanism, ScramServer, ServerTls, Step, Users, distrust, plain};
use crate::wire::api_versions::ApiVersionsRequest;
use crate::wire::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use crate::wire::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use crate::wire::{
    ApiKey, ErrorCode, Frame, Request, RequestHeader, decode_request, encode_response, frame_len,
};

/// How long a client has for TLS, and again for saying who it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest request of a stranger.
const MAX_REQUEST: usize = 64 << 10;

/// How long who has failed waits for the answer, so that guessing takes long
/// (`connection.failed.authentication.delay.ms`).
const FAILED: Duration = Duration::from_millis(100);

/// Length in bytes of a frame's length.
const LEN: usize = 4;

/// TLS with a client; `None` if there is none, which is told.
pub(super) async fn shake_hands(
    stream: TcpStream,
    tls: &ServerTls,
    closing: &mut Closing,
) -> Option<TlsStream<TcpStream>> {
    let shaken = tokio::select! {
        biased;
        () = closing.closed() => return None,
        shaken = timeout(PATIENCE, tls.accept(stream)) => shaken,
    };
    let error = match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => return Some(stream),
        Err(error) => error,
    };
    let reason = distrust(&error).unwrap_or_else(|| error.to_string());
    tracing::info!(reason, "no TLS with a client");
    None
}

/// One who is not known yet.
pub(super) struct Stranger<'a, R, W> {
    pub(super) from: &'a mut R,
    pub(super) to: &'a mut W,
    /// What has come; what comes behind the login stays in it.
    pub(super) buf: &'a mut BytesMut,
    pub(super) server: &'a Server,
    pub(super) users: &'a Users,
    pub(super) ends: Ends,
}

/// How far a client has come.
enum Stage {
    /// It has not said how it wants to log in.
    Hello,
    /// It sends its password.
    Plain,
    /// It proves that it has one.
    Scram(Mechanism, ScramServer),
}

/// What an answer brings about.
enum Next {
    Stage(Stage),
    /// It is this user.
    Known(String),
    /// It is to go.
    Failed(String),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Stranger<'_, R, W> {
    /// Whether the client has proved who it is, in time. If not, that is told.
    pub(super) async fn comes_in(mut self, closing: &mut Closing) -> bool {
        let known = tokio::select! {
            biased;
            () = closing.closed() => return false,
            known = timeout(PATIENCE, self.log_in()) => known,
        };
        match known.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(user) => {
                tracing::debug!(user, "logged in");
                true
            }
            // Who only looks whether somebody listens has done no wrong.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => {
                tracing::warn!(%error, "a client has not logged in");
                false
            }
        }
    }

    /// The client's name, once it has proved it; or why it has not.
    async fn log_in(&mut self) -> io::Result<String> {
        let mut stage = Stage::Hello;
        loop {
            let frame = self.next().await?;
            let (answer, next) = self.answer(frame, stage).await?;
            if matches!(next, Next::Failed(_)) {
                sleep(FAILED).await;
            }
            if let Some(mut answer) = answer {
                self.to.write_all_buf(&mut answer).await?;
                self.to.flush().await?;
            }
            match next {
                Next::Stage(next) => stage = next,
                Next::Known(user) => return Ok(user),
                Next::Failed(why) => return Err(refused(why)),
            }
        }
    }

    async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(prefix) = self.buf.first_chunk::<LEN>() {
                let len = frame_len(*prefix, MAX_REQUEST).map_err(refused)?;
                if self.buf.len() >= LEN + len {
                    return Ok(self.buf.split_to(LEN + len).split_off(LEN).freeze());
                }
            }
            if self.from.read_buf(self.buf).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn answer(&self, frame: Bytes, stage: Stage) -> io::Result<(Option<Frame>, Next)> {
        let (header, body) = RequestHeader::read(&frame).map_err(refused)?;
        let (api, version) = (ApiKey::from_number(header.api_key), header.version);
        let api = match api {
            Some(ApiKey::ApiVersions) if !ApiKey::ApiVersions.versions().contains(&version) => {
                let answer = super::api_versions::response(ErrorCode::UNSUPPORTED_VERSION);
                let answer = encode::<ApiVersionsRequest>(&answer, 0, &header)?;
                return Ok((Some(answer), Next::Stage(stage)));
            }
            Some(api) if api.versions().contains(&version) => api,
            _ => return Err(early(header.api_key)),
        };
        match api {
            ApiKey::ApiVersions => {
                let request = decode::<ApiVersionsRequest>(&body, version)?;
                let answer = super::api_versions::answer(&request, version);
                let answer = encode::<ApiVersionsRequest>(&answer, version, &header)?;
                Ok((Some(answer), Next::Stage(stage)))
            }
            ApiKey::SaslHandshake => {
                let request = decode::<SaslHandshakeRequest>(&body, version)?;
                let (answer, next) = self.handshake(&request, version);
                Ok((Some(encode::<SaslHandshakeRequest>(&answer, version, &header)?), next))
            }
            ApiKey::SaslAuthenticate => {
                let request = decode::<SaslAuthenticateRequest>(&body, version)?;
                let (answer, next) = self.authenticate(&request.auth_bytes, stage).await;
                Ok((Some(encode::<SaslAuthenticateRequest>(&answer, version, &header)?), next))
            }
            _ => Err(early(header.api_key)),
        }
    }

    /// PLAIN is the password itself: not for a network that is not encrypted.
    fn offered(&self) -> impl Iterator<Item = Mechanism> {
        let is_private = self.server.settings().tls.is_some() || self.ends.own.ip().is_loopback();
        let all = Mechanism::ALL.iter().copied();
        all.filter(move |it| is_private || *it != Mechanism::Plain)
    }

    fn handshake(
        &self,
        request: &SaslHandshakeRequest,
        version: i16,
    ) -> (SaslHandshakeResponse, Next) {
        let mechanisms = self.offered().map(|it| it.to_string()).collect::<Vec<_>>();
        let wanted = self.offered().find(|it| it.name() == request.mechanism);
        let (error_code, next) = match (wanted, version) {
            // Behind it come bytes without headers, as clients sent them before 2017.
            (_, 0) => {
                let why = "SaslHandshake version 0: there is no such login here".to_owned();
                (ErrorCode::UNSUPPORTED_VERSION, Next::Failed(why))
            }
            (None, _) => {
                let why = format!("mechanism {:?}, which there is not", request.mechanism);
                (ErrorCode::UNSUPPORTED_SASL_MECHANISM, Next::Failed(why))
            }
            (Some(mechanism), _) => {
                let stage = match mechanism.hash() {
                    None => Stage::Plain,
                    Some(hash) => Stage::Scram(mechanism, ScramServer::new(hash)),
                };
                (ErrorCode::NONE, Next::Stage(stage))
            }
        };
        (SaslHandshakeResponse { error_code, mechanisms }, next)
    }

    async fn authenticate(&self, message: &[u8], stage: Stage) -> (SaslAuthenticateResponse, Next) {
        let failed = |why: String| {
            let answer = SaslAuthenticateResponse {
                error_code: ErrorCode::SASL_AUTHENTICATION_FAILED,
                error_message: Some(format!("Authentication failed: {why}")),
                ..SaslAuthenticateResponse::default()
            };
            (answer, Next::Failed(why))
        };
        let (auth_bytes, next) = match stage {
            Stage::Hello => {
                let answer = SaslAuthenticateResponse {
                    error_code: ErrorCode::ILLEGAL_SASL_STATE,
                    error_message: Some("SaslHandshake comes first".to_owned()),
                    ..SaslAuthenticateResponse::default()
                };
                return (answer, Next::Failed("no SaslHandshake came first".to_owned()));
            }
            Stage::Plain => match self.accept(message).await {
                Ok(user) => (Vec::new(), Next::Known(user)),
                Err(why) => return failed(why),
            },
            Stage::Scram(mechanism, mut scram) => {
                let hash = mechanism.hash().expect("it is SCRAM");
                match scram.step(message, |user| self.users.verifier(hash, user)) {
                    Ok(Step::Send(answer)) => (answer, Next::Stage(Stage::Scram(mechanism, scram))),
                    Ok(Step::Done(proved)) => (proved.answer, Next::Known(proved.user)),
                    Err(why) => return failed(why),
                }
            }
        };
        let answer = SaslAuthenticateResponse {
            auth_bytes: auth_bytes.into(),
            ..SaslAuthenticateResponse::default()
        };
        (answer, next)
    }

    /// The user of a PLAIN message. That costs time, and so it is one at a time.
    async fn accept(&self, message: &[u8]) -> Result<String, String> {
        let (user, password) = plain(message)?;
        let (users, user, password) = (self.users.clone(), user.to_owned(), password.to_owned());
        let turn = self.server.passwords.clone().acquire_owned().await;
        let tried = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            users.accept(&user, &password).then_some(user)
        });
        let user = tried.await.map_err(|_| "the broker is closing".to_owned())?;
        user.ok_or_else(|| "wrong user name or password".to_owned())
    }
}

fn encode<R: Request>(answer: &R::Response, version: i16, to: &RequestHeader) -> io::Result<Frame> {
    encode_response::<R>(answer, version, to.correlation_id).map_err(refused)
}

fn decode<R: Request>(body: &Bytes, version: i16) -> io::Result<R> {
    decode_request::<R>(body, version).map_err(refused)
}

fn early(key: i16) -> io::Error {
    let name = ApiKey::from_number(key).map_or("an unknown request", ApiKey::name);
    refused(format!("{name} came before the client has logged in"))
}

fn refused(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.to_string())
}
