//! Whether an attempt that seems to have failed may have succeeded.
//!
//! A change whose answer is lost may have been made. Asked for once more, it is refused: the topic
//! exists already, the group is not there. That is what was wanted.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Duration;

use crate::error::Result;
use crate::transport::tcp::connection::Connection;
use crate::wire::{ErrorCode, Request};

/// Of one call, over all of its attempts.
#[derive(Debug, Default)]
pub(super) struct Doubt(AtomicBool);

impl Doubt {
    /// Asks for a change, which the broker may take `longer` to make.
    pub(super) async fn ask<R: Request>(
        &self,
        connection: &Connection,
        request: &R,
        version: i16,
        longer: Duration,
    ) -> Result<R::Response> {
        let answered = connection.start(request, version, longer)?.await_it().await;
        if answered.is_err() {
            self.0.store(true, Ordering::Relaxed);
        }
        answered
    }

    /// What a broker answers that has not waited for the end.
    pub(super) fn note(&self, code: ErrorCode) {
        if code == ErrorCode::REQUEST_TIMED_OUT {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an earlier attempt may have done it.
    pub(super) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
