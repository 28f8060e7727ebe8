//! A connection's first exchanges, one after the other: what the broker can do, and then, by
//! `login`, who the client is.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::connection::{lost, read_frame, unmet};
use super::versions::Versions;
use crate::error::Result;
use crate::wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::{ApiKey, ErrorCode, Request, decode_response, encode_request};

/// The longest answer of a broker that is not known yet.
const MAX_ANSWER: usize = 1 << 20;

/// A connection that nobody else uses yet.
pub(super) struct Greeting<'a, S> {
    pub(super) stream: &'a mut S,
    /// What has come and was not looked at.
    pub(super) buf: &'a mut BytesMut,
    pub(super) broker: &'a str,
    pub(super) client_id: &'a str,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeting<'_, S> {
    /// Asks what the broker can do. One that does not know the version of the question says so in
    /// version 0, with the versions that it does know (KIP-511).
    pub(super) async fn greet(&mut self) -> Result<Versions> {
        let request = ApiVersionsRequest {
            client_software_name: "ottla".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut version = *ApiKey::ApiVersions.versions().end();
        loop {
            let answer = self.send(&request, version).await?;
            let response = decode(&answer, version).map_err(|reason| {
                lost(self.broker, format!("its first answer can't be read: {reason}"))
            })?;
            let told = Versions::new(&response.api_keys);
            match response.error_code {
                ErrorCode::NONE => return Ok(told),
                ErrorCode::UNSUPPORTED_VERSION if version > 0 => {
                    let common = told.choose(ApiKey::ApiVersions, version - 1, self.broker);
                    version = common.unwrap_or(0);
                }
                error => {
                    let reason = format!("it refuses to say what it can do: {error}");
                    return Err(lost(self.broker, reason));
                }
            }
        }
    }

    /// Sends a request, and awaits its answer.
    #[cfg(feature = "tls")]
    pub(super) async fn ask<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response> {
        let answer = self.send(request, version).await?;
        let decoded = decode_response::<R>(&answer, version);
        decoded.map(|(_, response)| response).map_err(|error| {
            let name = R::KEY.name();
            lost(self.broker, format!("the answer to {name} can't be read: {error}"))
        })
    }

    async fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes> {
        let frame = encode_request(request, version, 0, &Some(self.client_id.to_owned()));
        let mut frame = frame.map_err(|error| lost(self.broker, error))?;
        let exchanged = async {
            self.stream.write_all_buf(&mut frame).await?;
            self.stream.flush().await?;
            read_frame(self.stream, self.buf, MAX_ANSWER).await
        };
        exchanged.await.map_err(|error| unmet(self.broker, error))
    }
}

fn decode(answer: &Bytes, version: i16) -> Result<ApiVersionsResponse, String> {
    let code = answer.get(4..6).map(|code| i16::from_be_bytes([code[0], code[1]]));
    let is_refusal = code == Some(ErrorCode::UNSUPPORTED_VERSION.0);
    let version = if is_refusal { 0 } else { version };
    let decoded = decode_response::<ApiVersionsRequest>(answer, version);
    decoded.map(|(_, response)| response).map_err(|error| error.to_string())
}
