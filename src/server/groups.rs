//! What the group APIs share: how the coordinator is asked, and what its refusals are to a client.

use bytes::Bytes;

use super::answer::Client;
use super::errors::code_of;
use crate::error::{Error, Result};
use crate::group::{Answer, Command, MemberRef};
use crate::wire::ErrorCode;

impl Client {
    /// Asks a group, and waits for its answer: as long as that takes, but not longer than the
    /// listener is open. What is refused is told to the log, too, as a code says little.
    pub(super) async fn ask<T>(
        &self,
        group: &str,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> Result<T, ErrorCode> {
        let mut closing = self.closing.clone();
        let asked = async { self.server.broker().coordinator().await?.ask(group, command).await };
        tokio::select! {
            biased;
            answered = asked => answered.map_err(|error| refusal(group, &error)),
            // Wherever it is next, the client finds it.
            () = closing.closed() => Err(ErrorCode::NOT_COORDINATOR),
        }
    }

    /// The same of what is to be stored.
    pub(super) async fn change<T>(
        &self,
        group: &str,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> Result<T, ErrorCode> {
        match self.server.core().check_writable() {
            Ok(()) => self.ask(group, command).await,
            Err(error) => Err(refusal(group, &error)),
        }
    }

    /// Whether there is a group of that name.
    pub(super) async fn knows(&self, group: &str) -> Result<bool, ErrorCode> {
        let coordinator = self.server.broker().coordinator().await;
        coordinator.map(|it| it.knows(group)).map_err(|error| refusal(group, &error))
    }
}

/// The code for what a group has refused, or could not do.
pub(super) fn refusal(group: &str, error: &Error) -> ErrorCode {
    let code = match error {
        Error::Closed { .. } => ErrorCode::NOT_COORDINATOR,
        // Trying again can help, after a while; of a disk, members of groups know nothing.
        Error::MemoryFull { .. }
        | Error::StorageFull { .. }
        | Error::ReadOnly { .. }
        | Error::Io { .. } => ErrorCode::COORDINATOR_NOT_AVAILABLE,
        // What is to be stored of the group, and not what anybody has sent.
        Error::MessageTooLarge { .. } => ErrorCode::UNKNOWN_SERVER_ERROR,
        error => code_of(error),
    };
    let group: String = group.chars().take(100).collect();
    tracing::debug!(group, code = code.0, %error, "a group has refused a request");
    code
}

/// Who calls.
pub(super) fn member(member_id: String, instance_id: Option<String>) -> MemberRef {
    MemberRef { member_id, instance_id }
}

/// What is kept for longer than the frame that it came in, which it would hold.
pub(super) fn kept(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
