//! A whole broker through crashes at any call of the storage, on a simulated disk.
//!
//! A seed makes a run of several lives. In each a broker is opened, perhaps dying of it a few
//! times; producers with every `acks` send to topics of every durability and cleanup policy,
//! consumers read along, groups commit, topics come, grow, change and go, records are deleted,
//! compacted and expire, until the disk dies at some call of whatever goes on. Then the process is
//! gone, or power with it, and the next life begins. After each open (`checks`, `readers`):
//!
//! * it has not failed, and found nothing but what a crash leaves;
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
//! `OTTLA_SEED=n` runs one seed and tells what it does, `OTTLA_LIVES=n` so many seeds. The last
//! tests make the disk lie, and want the checks to notice.

mod checks;
mod dice;
mod disk;
mod groups;
mod member;
mod model;
mod ops;
mod readers;
mod work;
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::disk::{Lie, What};
use self::world::{Tally, World};

/// How often the broker of one seed lives.
const LIVES: u64 = 12;

/// Seeds that every run plays, the same ones each time.
const FIXED: u64 = 250;

thread_local! {
    /// What the run of this thread has done.
    static NOTES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(text: String) {
    NOTES.with_borrow_mut(|notes| notes.push(text));
}

/// Plays one seed; its trace's number, or what is wrong.
fn play(seed: u64, lie: Option<Lie>, tally: &Arc<Tally>) -> Result<u64, String> {
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

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

/// Past the capture of output: who wants to repeat a run has to know.
pub(crate) fn tell(text: &str) {
    use std::io::Write;
    std::io::stderr().write_all(text.as_bytes()).expect("stderr takes a line");
}

/// Plays seeds on as many threads as there are processors; the first that fails, and why.
fn play_all(seeds: &[u64], tally: &Arc<Tally>) -> Option<(u64, String)> {
    let next = AtomicU64::new(0);
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            if let Err(why) = play(*seed, None, tally) {
                next.store(u64::MAX / 2, Ordering::Relaxed);
                return Some((*seed, why));
            }
        }
        None
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running.into_iter().map(|it| it.join().expect("panics were caught"));
        ended.fold(None, |first, failed| first.or(failed))
    })
}

/// The names of temporary files are drawn from the system.
pub(crate) fn fresh_seed() -> u64 {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let name = file.path().file_name().expect("it has a name").to_owned();
    let fold = |sum: u64, byte: &u8| sum.wrapping_mul(131) + u64::from(*byte);
    name.as_encoded_bytes().iter().fold(7, fold) % 1_000_000_007 * 1000
}

#[test]
fn a_broker_survives_crashes() {
    let tally = Arc::new(Tally::default());
    if let Some(seed) = asked("OTTLA_SEED") {
        let played = play(seed, None, &tally);
        let number = played.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return tell(&format!("{}\nthe run's number: {number:x}\n", NOTES.take().join("\n")));
    }
    let fixed = asked("OTTLA_LIVES").unwrap_or(FIXED);
    let fresh = fresh_seed();
    tell(&format!("crash: seeds 0..{fixed} and {fresh}.. +{}\n", fixed / 10));
    let seeds: Vec<u64> = (0..fixed).chain(fresh..fresh + fixed / 10).collect();
    if let Some((seed, why)) = play_all(&seeds, &tally) {
        panic!(
            "seed {seed}: {why}\nseed {seed} failed; again, and all it does: OTTLA_SEED={seed} \
             cargo test --test it crash::a_broker_survives_crashes"
        );
    }
    tell(&format!("crash: {tally:?}\n"));
}

#[test]
fn the_same_seed_is_the_same_run() {
    let tally = Arc::new(Tally::default());
    let run = |seed| play(seed, None, &tally).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    for seed in 0..8 {
        assert_eq!(run(seed), run(seed), "seed {seed} was two different runs");
    }
    assert_ne!(run(0), run(1));
}

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
];

#[test]
fn a_disk_that_lies_is_noticed() {
    let tally = Arc::new(Tally::default());
    for (what, of, but) in LIES.iter().copied() {
        let lie = Lie { what, of, but };
        let noticed = (0..40).any(|seed| play(seed, Some(lie), &tally).is_err());
        assert!(noticed, "{lie:?}");
    }
}
