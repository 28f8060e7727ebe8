//! How much memory the requests and the answers of all connections may take while they are on
//! their way. It is claimed before it is taken: requests wait for it, answers are made to fit.
//!
//! A client that does not send what it has begun, or does not read what it has asked for, keeps
//! what it has claimed. So that it stalls nobody for long, its connection watches whether the
//! others run short ([`Memory::is_short_after`]), and then ends.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, sleep, sleep_until};

/// What is counted: a part of it is all of it.
const UNIT: usize = 1 << 10;

/// For so long nobody has to let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often to look, after that.
const LOOK: Duration = Duration::from_secs(1);

/// Memory is short when less than one part of so many is left.
const SHORT: usize = 8;

/// Memory that connections share.
#[derive(Debug)]
pub(super) struct Memory {
    units: Arc<Semaphore>,
    total: usize,
}

/// A part of it, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Claim {
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Memory {
    /// So many bytes, and at least one unit.
    pub(super) fn new(bytes: usize) -> Self {
        let total = bytes.div_ceil(UNIT).clamp(1, u32::MAX as usize);
        Memory { units: Arc::new(Semaphore::new(total)), total }
    }

    /// Waits for room, in turn. More than there is in all counts as all of it.
    pub(super) async fn claim(&self, bytes: usize) -> Claim {
        let units = bytes.div_ceil(UNIT).min(self.total) as u32;
        let permit = self.units.clone().acquire_many_owned(units).await;
        Claim { permit: Some(permit.expect("it is never closed")), bytes }
    }

    /// As much as there is room for, up to that.
    pub(super) fn take(&self, bytes: usize) -> Claim {
        let units = bytes.div_ceil(UNIT).min(self.units.available_permits()) as u32;
        match self.units.clone().try_acquire_many_owned(units) {
            Ok(permit) => Claim { permit: Some(permit), bytes: bytes.min(units as usize * UNIT) },
            // Others were faster.
            Err(_) => Claim::default(),
        }
    }

    /// Done once others need it that has been claimed at that time, and some patience is over.
    pub(super) async fn is_short_after(&self, claimed: Instant) {
        sleep_until(claimed + PATIENCE).await;
        while self.units.available_permits() >= self.total.div_ceil(SHORT) {
            sleep(LOOK).await;
        }
    }
}

impl Claim {
    /// How much it is.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is not needed.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let Some(permit) = &mut self.permit else { return };
        let excess = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(permit.split(excess));
        self.bytes = self.bytes.min(bytes);
    }

    /// Both in one. They are of the same memory.
    pub(super) fn add(&mut self, other: Claim) {
        self.bytes += other.bytes;
        match (&mut self.permit, other.permit) {
            (Some(permit), Some(other)) => permit.merge(other),
            (permit, other) => *permit = permit.take().or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_core::Future;
    use std::task::{Context, Waker};

    fn is_ready(future: impl Future) -> bool {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn claims_wait_and_what_is_taken_fits() {
        let memory = Memory::new(10 * UNIT);
        let mut half = memory.claim(5 * UNIT).await;
        assert!(!is_ready(memory.claim(6 * UNIT)), "there are only five");
        let mut taken = memory.take(100 * UNIT);
        assert_eq!(taken.bytes(), 5 * UNIT);
        assert_eq!(memory.take(1).bytes(), 0);
        half.shrink(1);
        taken.shrink(2 * UNIT);
        assert_eq!((half.bytes(), taken.bytes()), (1, 2 * UNIT));
        assert!(is_ready(memory.claim(7 * UNIT)) && !is_ready(memory.claim(8 * UNIT)));
        taken.add(memory.take(3 * UNIT));
        assert_eq!(taken.bytes(), 5 * UNIT);
        drop(taken);
        assert!(is_ready(memory.claim(9 * UNIT)));
        drop(half);
        assert!(is_ready(memory.claim(1000 * UNIT)), "all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_has_to_let_go_at_once_or_without_need() {
        let (memory, start) = (Memory::new(16 * UNIT), Instant::now());
        let _held = memory.claim(14 * UNIT).await;
        let short = memory.is_short_after(start);
        let mut short = std::pin::pin!(short);
        assert!(tokio::time::timeout(PATIENCE * 10, &mut short).await.is_err(), "two are left");
        let _more = memory.claim(UNIT).await;
        short.await;
        memory.is_short_after(Instant::now()).await;
        assert!(start.elapsed() >= PATIENCE * 11);
    }
}
