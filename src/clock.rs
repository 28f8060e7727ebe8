//! One clock for everything that waits or stamps: the system's, or one moved by hand.
//!
//! The only file on the lower floors that may look at a real clock. Code below the actors takes
//! `now` as an argument.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::record::Timestamp;

/// What time it is, and how to wait: [`Clock::system`], or a [`ManualClock`] through `into()`.
///
/// Cheap to clone; clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { origin: Instant },
    Manual(ManualClock),
}

impl Clock {
    /// The system's clock. Waiting uses tokio's timer, so the runtime needs time enabled.
    pub fn system() -> Self {
        Clock(Source::System { origin: Instant::now() })
    }

    /// A clock that moves only by [`ManualClock::advance`].
    pub fn manual() -> ManualClock {
        ManualClock::starting_at(ManualClock::START)
    }

    /// The time of day: what records are stamped with. May jump when the system's clock is set.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Source::System { .. } => SystemTime::now().into(),
            Source::Manual(clock) => clock.wall(),
        }
    }

    /// Whether time passes only by [`ManualClock::advance`].
    pub(crate) fn is_manual(&self) -> bool {
        matches!(self.0, Source::Manual(_))
    }

    /// Time since this clock was made; never goes back. What timeouts are measured by.
    pub fn instant(&self) -> Duration {
        match &self.0 {
            Source::System { origin } => origin.elapsed(),
            Source::Manual(clock) => clock.elapsed(),
        }
    }

    /// Waits until [`Clock::instant`] reaches `deadline`. Cancel safe.
    pub async fn sleep_until(&self, deadline: Duration) {
        match &self.0 {
            Source::System { origin } => match origin.checked_add(deadline) {
                Some(instant) => tokio::time::sleep_until(instant).await,
                None => std::future::pending().await,
            },
            Source::Manual(clock) => clock.sleep_until(deadline).await,
        }
    }

    /// Waits for `duration`. Cancel safe.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.instant().saturating_add(duration)).await;
    }

    /// Waits for `duration` of the machine's time, whoever moves the clock: for what no clock
    /// brings about. Under a manual clock, where the runtime may have no timer, a thread waits.
    pub(crate) async fn sleep_for_real(&self, duration: Duration) {
        match &self.0 {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Manual(_) => {
                let wait = tokio::task::spawn_blocking(move || std::thread::sleep(duration));
                // Cannot fail but at the runtime's end.
                let _ = wait.await;
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::system()
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Clock(Source::Manual(clock))
    }
}

/// A clock for tests: a week of retention passes in no time, on every runtime flavour.
///
/// ```
/// use std::time::Duration;
/// use ottla::Clock;
///
/// let clock = Clock::manual();
/// let before = clock.wall();
/// clock.advance(Duration::from_secs(7 * 24 * 3600));
/// assert_eq!(clock.wall().duration_since(before).as_secs(), 604_800);
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    start: Timestamp,
    sleepers: Arc<Mutex<Sleepers>>,
}

/// Who waits for which time. Not a `watch`: that wakes in an order which is drawn from the system,
/// and a test is to be the same each time.
#[derive(Debug, Default)]
struct Sleepers {
    elapsed: Duration,
    /// By when to wake, and who came first.
    waiting: BTreeMap<(Duration, u64), Waker>,
    /// How many have come.
    count: u64,
}

impl ManualClock {
    /// Where [`Clock::manual`] begins: 2023-11-14T22:13:20Z.
    pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// A clock whose time of day begins at `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        ManualClock { start, sleepers: Arc::default() }
    }

    /// Moves the clock on, and wakes whoever waited for a time up to then. They run in their own
    /// tasks: what they do, such as retention, has not been done yet when this returns.
    pub fn advance(&self, by: Duration) {
        let mut sleepers = self.sleepers();
        let elapsed = sleepers.elapsed.saturating_add(by);
        sleepers.elapsed = elapsed;
        let later = sleepers.waiting.split_off(&(elapsed, u64::MAX));
        let due = std::mem::replace(&mut sleepers.waiting, later);
        // Strangers' code runs now.
        drop(sleepers);
        due.into_values().for_each(Waker::wake);
    }

    /// The time of day.
    pub fn wall(&self) -> Timestamp {
        self.start.saturating_add(self.elapsed())
    }

    fn elapsed(&self) -> Duration {
        self.sleepers().elapsed
    }

    fn sleep_until(&self, deadline: Duration) -> ManualSleep<'_> {
        ManualSleep { clock: self, deadline, place: None }
    }

    fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ready once the clock shows its deadline.
struct ManualSleep<'a> {
    clock: &'a ManualClock,
    deadline: Duration,
    /// Where it waits, once it does.
    place: Option<u64>,
}

impl Future for ManualSleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut sleepers = self.clock.sleepers();
        if sleepers.elapsed >= self.deadline {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or_else(|| {
            sleepers.count += 1;
            sleepers.count
        });
        let before = sleepers.waiting.insert((self.deadline, place), cx.waker().clone());
        drop(sleepers);
        drop(before);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for ManualSleep<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.clock.sleepers().waiting.remove(&(self.deadline, place));
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_passes_it_and_not_before() {
        let manual = Clock::manual();
        let clock = Clock::from(manual.clone());
        let mut sleeper = tokio_test_poll(clock.sleep(Duration::from_secs(60)));
        assert!(!sleeper().await);
        manual.advance(Duration::from_secs(59));
        assert!(!sleeper().await);
        manual.advance(Duration::from_secs(1));
        assert!(sleeper().await);
        assert_eq!(clock.instant(), Duration::from_secs(60));
    }

    /// A closure that polls the future once and says whether it was ready.
    fn tokio_test_poll(
        future: impl Future<Output = ()>,
    ) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = bool>>> {
        let mut future = Box::pin(future);
        move || {
            let waker = std::task::Waker::noop();
            let ready = future.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready();
            Box::pin(std::future::ready(ready))
        }
    }
}
