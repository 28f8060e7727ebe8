//! InitProducerId: a new id for an idempotent producer, which nobody had before. Versions 0 to 5.
//!
//! Without transactions the id that a producer had does not matter: it gets another, as in Kafka.
//! But an id comes with an epoch.

use super::answer::{Client, Handle, Outcome, Server};
use super::errors::code_of;
use crate::error::Result;
use crate::wire::ErrorCode;
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

impl Handle for InitProducerIdRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<InitProducerIdResponse> {
        Outcome::Response(refused(error))
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<InitProducerIdResponse> {
        answer(self, client).await
    }
}

async fn answer(request: InitProducerIdRequest, client: Client) -> Outcome<InitProducerIdResponse> {
    let has_half = (request.producer_id == -1) != (request.producer_epoch == -1);
    Outcome::Response(match request.transactional_id.as_deref() {
        _ if has_half => refused(ErrorCode::INVALID_REQUEST),
        Some("") => refused(ErrorCode::INVALID_REQUEST),
        // See `find_coordinator`.
        Some(_) => refused(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        None => match next_id(&client.server).await {
            Ok(producer_id) => {
                InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() }
            }
            Err(error) => refused(code_of(&error)),
        },
    })
}

fn refused(error_code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code, producer_epoch: -1, ..InitProducerIdResponse::default() }
}

/// From the block at hand, or a new one.
async fn next_id(server: &Server) -> Result<i64> {
    let mut ids = server.producer_ids.lock().await;
    if let Some(id) = ids.next() {
        return Ok(id);
    }
    *ids = server.broker().producer_ids().await?;
    Ok(ids.next().expect("a block has a thousand"))
}
