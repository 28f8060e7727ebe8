//! Faults on request, so that users can test what their clients do about them.

use std::time::Duration;

use crate::broker::Broker;
use crate::broker::core::Core;
use crate::wire::{ApiKey, ErrorCode};

/// Faults that clients of the port meet. Producers and consumers of this process do not go through
/// it, and meet none.
impl Broker {
    /// The next request of this kind, on whatever connection of whatever listener it comes, is not
    /// carried out: it is answered with this error, for all that it names. Called again, it is the
    /// one after that, and so on.
    ///
    /// Two errors are not sent as such. [`ErrorCode::NETWORK_EXCEPTION`] ends the connection
    /// without an answer, which is how clients meet it. [`ErrorCode::NONE`] leaves a request alone:
    /// with it in front, the second fails.
    ///
    /// As Kafka does, a Produce request that wants no answer (`acks` of 0) and fails ends its
    /// connection. What an error means to a client, and whether it tries again, is its own affair.
    ///
    /// ```
    /// # async fn f() -> ottla::Result<()> {
    /// use ottla::{ApiKey, Broker, ErrorCode};
    ///
    /// let broker = Broker::in_memory().await?;
    /// let listener = broker.listen("127.0.0.1:0").await?;
    /// // A client at that address has to try twice.
    /// broker.fail_next(ApiKey::Produce, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail_next(&self, api: ApiKey, error: ErrorCode) {
        self.0.core.faults.fail_next(api as i16, error.0);
    }

    /// The next request of this kind is carried out when it comes, but answered so much later: by
    /// then the client may have given up, or have sent it again. Called again, it is the one after
    /// that, and so on. The time is the machine's, whatever the broker's clock is.
    ///
    /// Later requests of the same connection are answered after it; others do not notice. Closing
    /// the listener or the broker waits for it no longer than for any other answer, a second.
    pub fn delay_next(&self, api: ApiKey, time: Duration) {
        self.0.core.faults.delay_next(api as i16, time);
    }
}

/// What a request meets.
pub(super) struct Fault {
    pub(super) error: Option<ErrorCode>,
    pub(super) delay: Option<Duration>,
}

impl Fault {
    /// That of the request of this kind that has come now.
    pub(super) fn next(core: &Core, api: ApiKey) -> Fault {
        let (error, delay) = core.faults.next(api as i16);
        let error = error.map(ErrorCode).filter(|error| *error != ErrorCode::NONE);
        Fault { error, delay }
    }
}
