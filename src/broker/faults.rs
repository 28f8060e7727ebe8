//! Faults that a user has asked for, to test what clients do about them: one queue for each kind
//! of request. Kinds and errors are numbers here; what they mean is the port's business.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What is to happen to requests that have not come yet.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// How many queues there are: requests look here first, and mostly find none.
    kinds: AtomicUsize,
    queues: Mutex<BTreeMap<i16, Queues>>,
}

#[derive(Debug, Default)]
struct Queues {
    errors: VecDeque<i16>,
    delays: VecDeque<Duration>,
}

impl Faults {
    pub(crate) fn fail_next(&self, kind: i16, error: i16) {
        self.plan(kind, |queues| queues.errors.push_back(error));
    }

    pub(crate) fn delay_next(&self, kind: i16, delay: Duration) {
        self.plan(kind, |queues| queues.delays.push_back(delay));
    }

    fn plan(&self, kind: i16, add: impl FnOnce(&mut Queues)) {
        let mut queues = self.queues.lock().expect("no one panics with the queues in hand");
        add(queues.entry(kind).or_default());
        self.kinds.store(queues.len(), Ordering::Release);
    }

    /// What happens to the request of this kind that has come now.
    pub(crate) fn next(&self, kind: i16) -> (Option<i16>, Option<Duration>) {
        if self.kinds.load(Ordering::Acquire) == 0 {
            return (None, None);
        }
        let mut queues = self.queues.lock().expect("no one panics with the queues in hand");
        let Some(planned) = queues.get_mut(&kind) else { return (None, None) };
        let next = (planned.errors.pop_front(), planned.delays.pop_front());
        if planned.errors.is_empty() && planned.delays.is_empty() {
            queues.remove(&kind);
            self.kinds.store(queues.len(), Ordering::Release);
        }
        next
    }
}
