//! Waiting for a future from a plain thread, without a runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// Made once a thread, so that a call does not allocate for it.
    static WAKER: Waker = Arc::new(Unpark(thread::current())).into();
}

/// Runs `future` on this thread, which sleeps while it waits.
///
/// The futures of this module do no I/O of their own, so someone else always wakes it. A wake-up
/// that comes between the poll and the sleep is kept by `park`'s token; one too many costs a poll.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = WAKER.with(Waker::clone);
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
