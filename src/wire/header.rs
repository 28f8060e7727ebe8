//! What stands before a request and a response, and both together.

use bytes::{BufMut, Bytes};

use crate::codec::CodecError;

use super::{ApiKey, Frame, FrameError, MessageReader, MessageWriter, Request, Wire};

/// What a request says of itself. `client_id` is written the same way in all versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which request: [`ApiKey::from_number`].
    pub api_key: i16,
    /// In which version.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// The header at the start of a frame, and the body behind it. Where nothing is known of the
    /// key, what the header has after the client id stays with the body; an unknown version is
    /// taken for the latest.
    pub fn read(frame: &Bytes) -> Result<(RequestHeader, Bytes), CodecError> {
        let mut from = MessageReader::new(frame, 0, false);
        let header = RequestHeader {
            api_key: i16::read(&mut from)?,
            version: i16::read(&mut from)?,
            correlation_id: i32::read(&mut from)?,
            client_id: Option::read(&mut from)?,
        };
        let api = ApiKey::from_number(header.api_key);
        if api.is_some_and(|api| api.is_flexible(header.version)) {
            from.set_flexible(header.version, true);
            from.tagged(|_, _| Ok(()))?;
        }
        Ok((header, from.rest()))
    }
}

/// Reads a request's body, of at most [`MAX_ELEMENTS`](super::MAX_ELEMENTS). What follows it is
/// ignored, as Kafka does.
pub fn decode_request<R: Request>(body: &Bytes, version: i16) -> Result<R, CodecError> {
    R::read(&mut MessageReader::new(body, version, R::KEY.is_flexible(version)).limited())
}

/// A request, as it is sent.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &Option<String>,
) -> Result<Frame, FrameError> {
    let is_flexible = R::KEY.is_flexible(version);
    let mut to = MessageWriter::new(version, false);
    (R::KEY as i16).write(&mut to);
    version.write(&mut to);
    correlation_id.write(&mut to);
    client_id.write(&mut to);
    put_no_tags(&mut to, is_flexible);
    to.set_flexible(version, is_flexible);
    request.write(&mut to);
    Frame::new(to.finish())
}

/// A response, as it is sent.
pub fn encode_response<R: Request>(
    response: &R::Response,
    version: i16,
    correlation_id: i32,
) -> Result<Frame, FrameError> {
    let mut to = MessageWriter::new(version, R::KEY.is_flexible(version));
    correlation_id.write(&mut to);
    put_no_tags(&mut to, has_tags(R::KEY, version));
    response.write(&mut to);
    Frame::new(to.finish())
}

/// Reads a response's frame: the correlation id, and the body.
pub fn decode_response<R: Request>(
    frame: &Bytes,
    version: i16,
) -> Result<(i32, R::Response), CodecError> {
    let mut from = MessageReader::new(frame, version, R::KEY.is_flexible(version));
    let correlation_id = i32::read(&mut from)?;
    if has_tags(R::KEY, version) {
        from.tagged(|_, _| Ok(()))?;
    }
    Ok((correlation_id, R::Response::read(&mut from)?))
}

/// Whether a response's header has tagged fields. That of ApiVersions never has: whoever asks does
/// not know yet what the server can do (KIP-511).
fn has_tags(api: ApiKey, version: i16) -> bool {
    api.is_flexible(version) && api != ApiKey::ApiVersions
}

fn put_no_tags(to: &mut MessageWriter, has_tags: bool) {
    if has_tags {
        to.raw().put_u8(0);
    }
}
