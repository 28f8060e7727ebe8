//! The timer of `linger`: one task per producer, there only while something lingers.
//!
//! It is not relied upon: if its runtime ends, or has no timer, what lingers is sent at once.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::accumulator::Partition;
use super::shared::Shared;

/// The partitions with a batch that lingers.
#[derive(Debug, Default)]
pub(super) struct Linger(Mutex<Schedule>);

#[derive(Debug, Default)]
struct Schedule {
    /// One entry for each batch that was opened, in the order of their times: all linger equally
    /// long. Keeps partitions alive whose topic the producer has forgotten.
    waiting: VecDeque<(Duration, Arc<Partition>)>,
    /// Whether there is a task.
    running: bool,
    /// The latest task.
    task: Option<AbortHandle>,
}

impl Linger {
    /// Sees to it that the batch just opened in `partition` is sent when its time has come. False
    /// outside of a runtime: then no one will.
    pub(super) fn start(shared: &Arc<Shared>, partition: &Arc<Partition>) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let mut schedule = shared.linger.lock();
        let deadline = shared.transport.clock().instant().saturating_add(shared.settings.linger);
        schedule.waiting.push_back((deadline, Arc::clone(partition)));
        let starts = !mem::replace(&mut schedule.running, true);
        drop(schedule);
        if starts {
            // Made here, not in the task: a runtime that is ending drops the task unpolled.
            let timer = Timer { shared: Arc::clone(shared), ended: false };
            let task = runtime.spawn(timer.run());
            shared.linger.lock().task = Some(task.abort_handle());
        }
        true
    }

    /// Nothing will linger any more. The task holds the producer's transport, and with it the
    /// broker, up to a time that nobody waits for.
    pub(super) fn end(&self) {
        let task = self.lock().task.take();
        task.inspect(AbortHandle::abort);
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.0.lock().expect("no one panics with the schedule")
    }
}

struct Timer {
    shared: Arc<Shared>,
    /// Whether it has ended because nothing lingers. Then another may be running by now.
    ended: bool,
}

impl Timer {
    async fn run(mut self) {
        while let Some(deadline) = self.next_deadline() {
            let shared = Arc::clone(&self.shared);
            let clock = shared.transport.clock();
            clock.sleep_until(deadline).await;
            let now = clock.instant();
            self.take_until(now).iter().for_each(|partition| partition.send_due(now));
        }
    }

    fn next_deadline(&mut self) -> Option<Duration> {
        let mut schedule = self.shared.linger.lock();
        let next = schedule.waiting.front().map(|(deadline, _)| *deadline);
        if next.is_none() {
            schedule.running = false;
            self.ended = true;
        }
        next
    }

    fn take_until(&self, now: Duration) -> Vec<Arc<Partition>> {
        let mut schedule = self.shared.linger.lock();
        let over = schedule.waiting.partition_point(|(deadline, _)| *deadline <= now);
        schedule.waiting.drain(..over).map(|(_, partition)| partition).collect()
    }
}

impl Drop for Timer {
    /// If the task was cut short.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let rest = {
            let mut schedule = self.shared.linger.lock();
            schedule.running = false;
            mem::take(&mut schedule.waiting)
        };
        rest.iter().for_each(|(_, partition)| drop(partition.send_now()));
    }
}
