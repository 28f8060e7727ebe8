//! A connection's answers, on their way from the half that reads requests to the half that writes.
//!
//! Both halves are one task, which polls the one that writes after the one that reads: so nobody is
//! woken for an answer. A channel would wake the very task that runs, with each request, and tokio
//! would offer that to another thread.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};

/// Holds up to `limit` of them.
pub(super) struct Queue<T> {
    limit: usize,
    /// Never locked for longer than a call here takes; a task has to be [`Send`].
    state: Mutex<State<T>>,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Of who waits for room.
    pusher: Option<Waker>,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(limit: usize) -> Self {
        let state = State { waiting: VecDeque::new(), pusher: None, is_closed: false };
        Queue { limit, state: Mutex::new(state) }
    }

    /// Puts one behind the others once there is room. Dropped before, it is not there.
    pub(super) async fn push(&self, one: T) {
        let mut one = Some(one);
        poll_fn(|cx| {
            let mut state = self.state.lock().expect("no one panics with the queue in hand");
            if state.waiting.len() == self.limit {
                state.pusher = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.waiting.extend(one.take());
            Poll::Ready(())
        })
        .await;
    }

    /// The oldest, once there is one, and `None` once there will be no more. To be polled whenever
    /// the other half was.
    pub(super) async fn pop(&self) -> Option<T> {
        poll_fn(|_| {
            let mut state = self.state.lock().expect("no one panics with the queue in hand");
            let (next, pusher) = (state.waiting.pop_front(), state.pusher.take());
            let is_closed = state.is_closed;
            drop(state);
            pusher.into_iter().for_each(Waker::wake);
            match next {
                None if !is_closed => Poll::Pending,
                next => Poll::Ready(next),
            }
        })
        .await
    }

    /// Nothing more is pushed.
    pub(super) fn close(&self) {
        self.state.lock().expect("no one panics with the queue in hand").is_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_who_waits_for_room_is_woken() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let queue = Queue::new(2);
        let mut first = pin!(queue.pop());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(pin!(queue.push(1)).poll(&mut cx).is_ready());
        assert!(pin!(queue.push(2)).poll(&mut cx).is_ready());
        let mut third = pin!(queue.push(3));
        assert!(third.as_mut().poll(&mut cx).is_pending());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        assert_eq!(first.poll(&mut cx), Poll::Ready(Some(1)));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(third.poll(&mut cx).is_ready());

        queue.close();
        for next in [Some(2), Some(3), None] {
            assert_eq!(pin!(queue.pop()).poll(&mut cx), Poll::Ready(next));
        }
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }
}
