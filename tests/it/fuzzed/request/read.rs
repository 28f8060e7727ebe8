//! Reading: what can be read is the same once it was written again.

use std::fmt::Debug;

use bytes::{Buf, Bytes};
use ottla::wire::{
    self, ApiKey, Frame, Request, RequestHeader, decode_request, decode_response, encode_request,
    encode_response,
};

use super::apis::for_api;

/// Length in bytes of a frame's length.
const LEN: usize = 4;

/// As every request and every answer that there is.
pub fn check(frame: &Bytes) {
    // Without a header that can be read the bytes are tried as a body.
    let body = RequestHeader::read(frame).map_or_else(|_| frame.clone(), |(_, body)| body);
    for api in ApiKey::ALL {
        for version in api.versions() {
            for_api!(api, request(&body, version));
            for_api!(api, response(frame, version));
        }
    }
}

/// A frame without its length.
pub fn whole(mut frame: Frame) -> Bytes {
    frame.advance(LEN);
    frame.copy_to_bytes(frame.remaining())
}

fn request<R: Request + Debug + PartialEq>(body: &Bytes, version: i16) {
    let Ok(request) = decode_request::<R>(body, version) else { return };
    let client_id = Some("again".to_owned());
    let frame = encode_request(&request, version, 7, &client_id).expect("it is not long");
    let (header, body) = RequestHeader::read(&whole(frame)).expect("it was just written");
    let expected = RequestHeader { api_key: R::KEY as i16, version, correlation_id: 7, client_id };
    assert_eq!(header, expected);
    assert_eq!(decode_request::<R>(&body, version), Ok(request), "version {version}");
}

fn response<R: Request<Response: Debug + PartialEq>>(frame: &Bytes, version: i16) {
    let Ok((id, response)) = decode_response::<R>(frame, version) else { return };
    let again = encode_response::<R>(&response, version, id).expect("it is not long");
    let again = decode_response::<R>(&whole(again), version);
    assert_eq!(again, Ok((id, response)), "{} {version}", R::KEY.name());
}
