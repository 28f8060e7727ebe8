//! Whether a member is at work: one that is not polled for `max.poll.interval.ms` gives way to
//! others (KIP-62).
//!
//! To look at a clock for each record would cost too much. So the consumer counts its calls, and a
//! task looks now and then whether the count has moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::transport::{GroupSession, MemberRef};

/// How often the task looks within the interval: by two such steps it may be late.
const LOOKS: u32 = 8;

/// How often a consumer was called. Odd while it is, or while it is awaited.
#[derive(Debug, Default)]
pub(super) struct Calls(AtomicU64);

impl Calls {
    // One consumer writes, so that a store will do.
    #[inline]
    pub(super) fn begin(&self) {
        self.0.store(self.count() | 1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn end(&self) {
        self.0.store((self.count() | 1) + 1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Ready once there was no call for so long.
async fn idle_for(interval: Duration, calls: &Calls, clock: &Clock) {
    let (mut seen, mut since) = (calls.count(), clock.instant());
    loop {
        clock.sleep(interval / LOOKS).await;
        let (count, now) = (calls.count(), clock.instant());
        if count != seen || count % 2 == 1 {
            (seen, since) = (count, now);
        } else if now.saturating_sub(since) >= interval {
            return;
        }
    }
}

/// Watches over a member, as long as it is kept.
pub(super) struct Presence {
    is_over: Arc<AtomicBool>,
    task: JoinSet<()>,
}

impl Presence {
    /// Once the member is not polled any more it leaves; a static one only falls silent, so that
    /// it keeps its place until its session is over.
    pub(super) fn watch(
        session: &Arc<dyn GroupSession>,
        member: MemberRef,
        interval: Duration,
        calls: Arc<Calls>,
        clock: Clock,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        // The member is there for as long as its session: this must not keep it.
        let (told, own) = (is_over.clone(), Arc::downgrade(session));
        let task = session.beside(Box::pin(async move {
            idle_for(interval, &calls, &clock).await;
            told.store(true, Ordering::Release);
            let MemberRef { member_id, instance_id } = &member;
            tracing::warn!(member_id, instance_id, after = ?interval,
                "a member gives way: it was not polled for max.poll.interval.ms");
            let Some(session) = own.upgrade() else { return };
            if instance_id.is_some() {
                session.fall_silent();
            } else if let Err(error) = session.leave(member).await {
                tracing::debug!(%error, "left without an answer");
            }
        }));
        Presence { is_over, task }
    }

    /// Whether the member has given way, or is about to.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Ready once it has.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.task.poll_join_next(cx) {
            Poll::Ready(_) if self.is_over() => Poll::Ready(()),
            // Or else the runtime has ended, and nobody watches any more.
            _ => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    #[test]
    fn only_who_is_neither_called_nor_awaited_is_idle() {
        let (manual, calls) = (Clock::manual(), Calls::default());
        let (minute, clock) = (Duration::from_secs(60), manual.clone().into());
        let mut idle = pin!(idle_for(minute, &calls, &clock));
        let mut is_idle_after = |seconds: u64| {
            let mut cx = Context::from_waker(Waker::noop());
            // In steps: of what lies between two looks nothing is known.
            (0..seconds).any(|_| {
                assert!(idle.as_mut().poll(&mut cx).is_pending());
                manual.advance(Duration::from_secs(1));
                idle.as_mut().poll(&mut cx).is_ready()
            })
        };
        assert!(!is_idle_after(59));
        calls.begin();
        calls.end();
        assert!(!is_idle_after(59), "it was called");
        calls.begin();
        assert!(!is_idle_after(600), "it is awaited");
        calls.end();
        assert!(!is_idle_after(59));
        assert!(is_idle_after(16));
    }
}
