//! A whole broker through crashes at any call of the storage, on a simulated disk.
//!
//! A seed makes a run of several lives. In each a broker is opened, perhaps dying of it a few
//! times; producers with every `acks` send to topics of every durability and cleanup policy,
//! consumers read along, groups commit, topics come, grow, change and go, records are deleted,
//! compacted and expire, until the disk dies at some call of whatever goes on. Then the process is
//! gone, or power with it, and the next life begins. In some runs calls fail besides (`faults`), in
//! some a bit turns between two lives (`damage`). After each open (`checks`, `readers`, `member`):
//!
//! * it has not failed, and found nothing but what a crash leaves, and damage;
//! * what was acknowledged or read under a promise that covers the crash is there, unchanged, at
//!   its offset, unless retention, compaction or somebody who asked for it may have removed it;
//! * what else is there was sent, to this topic and not to a former one of its name, each record
//!   once, in the order sent;
//! * a reader that kept its position goes on without gap or repetition, or is told how far back
//!   the log was lost, and never gets another record at an offset it has read;
//! * what was committed is committed, and what was answered of topics is so; what was under way
//!   has happened or has not.
//!
//! All of it runs on one thread without a timer: the same seed is the same run, to the last byte.
//! What a disk that lies gets past the checks would be missed of a broker, too: see [`unnoticed`].
//!
//! `tests/it` plays some seeds each time (`crash.rs` there), `tests/soak` as long as one likes.

mod checks;
mod damage;
mod dice;
mod disk;
mod faults;
mod groups;
mod member;
mod model;
mod ops;
mod readers;
mod tally;
mod work;
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use self::disk::What;
use self::world::World;

pub(crate) use self::disk::Lie;
pub(crate) use self::tally::Tally;

/// How often the broker of one seed lives.
const LIVES: u64 = 12;

/// How many seeds are enough for any lie to be noticed.
const ENOUGH: u64 = 40;

/// What a disk lies of: a kind of call, on paths that contain the first text, and not the second.
const LIES: &[(What, &str, &str)] = &[
    (What::Sync, ".log", "__"),
    (What::Sync, "__ottla_catalog", "~"),
    (What::Sync, "__consumer_offsets", "~"),
    (What::Sync, "leader-epoch-checkpoint", "~"),
    (What::Sync, ".cleaned", "~"),
    (What::Sync, "meta.properties", "~"),
    (What::SyncDir, "", "-"),
    (What::SyncDir, "-", "__"),
    (What::SyncDir, "__consumer_offsets", "~"),
    (What::SyncDir, "__ottla_catalog", "~"),
    (What::Truncate, ".log", "~"),
    (What::Append, ".log", "__"),
    (What::Checksum, ".log", "__"),
];

thread_local! {
    /// What the run of this thread has done.
    static NOTES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A seed whose run was not as it should be.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) seed: u64,
    /// What is wrong, and what was done before.
    pub(crate) why: String,
}

/// Plays seeds, one after the other as `next` gives them, on as many threads as there are
/// processors, and tells those that fail.
pub(crate) fn play_all(
    next: impl Fn() -> Option<u64> + Sync,
    failed: impl Fn(Failed) + Sync,
    tally: &Arc<Tally>,
) {
    let work = || {
        while let Some(seed) = next() {
            if let Err(why) = play(seed, None, tally) {
                failed(Failed { seed, why });
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
}

/// Plays one seed; its trace's number, or what is wrong.
pub(crate) fn play(seed: u64, lie: Option<Lie>, tally: &Arc<Tally>) -> Result<u64, String> {
    NOTES.take();
    let run = AssertUnwindSafe(|| World::new(seed, lie, tally).play(LIVES));
    catch_unwind(run).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let notes = NOTES.take();
        let most = if asked("OTTLA_SEED").is_some() { notes.len() } else { 150 };
        let latest = &notes[notes.len().saturating_sub(most)..];
        format!("{}\n{}", text.unwrap_or_else(|| "a panic".into()), latest.join("\n"))
    })
}

/// What the latest run of this thread has done.
pub(crate) fn notes() -> String {
    NOTES.take().join("\n")
}

/// A number that the environment gives.
pub(crate) fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

/// The lies of a disk that the checks would not notice: there are none, or the checks are worth
/// nothing.
pub(crate) fn unnoticed() -> Vec<Lie> {
    let tally = Arc::new(Tally::default());
    let lies = LIES.iter().map(|(what, of, but)| Lie { what: *what, of, but });
    lies.filter(|lie| (0..ENOUGH).all(|seed| play(seed, Some(*lie), &tally).is_ok())).collect()
}

fn note(text: String) {
    NOTES.with_borrow_mut(|notes| notes.push(text));
}
