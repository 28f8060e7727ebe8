//! Panics as answers: who waits for a task that has panicked is told so, and with what.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinError;

/// Why a part of a broker takes no more commands.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) reason: Arc<str>,
    /// Whether somebody wanted it to end, and it came to its end.
    pub(crate) is_well: bool,
}

/// What `work` gives, or what it panicked with. The caller trusts nothing that `work` had in hand.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| told(&*panic))
}

/// [`caught`], for a future.
pub(crate) async fn caught_in<F: Future>(future: F) -> Result<F::Output, Arc<str>> {
    let mut future = pin!(future);
    poll_fn(move |cx| match caught(|| future.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// What a task has panicked with; or else that its runtime has ended.
pub(crate) fn told_by(error: JoinError) -> Arc<str> {
    match error.try_into_panic() {
        Ok(panic) => told(&*panic),
        Err(error) => error.to_string().into(),
    }
}

fn told(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a panic: {}", text.unwrap_or("of unknown content")).into()
}
