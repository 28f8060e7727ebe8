//! A real process on real files, killed with SIGKILL again and again: while it opens, produces,
//! commits, compacts, creates and deletes topics, and while it shuts down.
//!
//! The child is this very binary. It says what it is about to do, and what was acknowledged, line
//! by line (`life`); the parent counts acknowledgements, kills it at a number that the seed
//! decides, and knows what must be there (`ledger`). After the kill the next child, or the parent
//! itself, opens the directory and tells all it finds (`view`):
//!
//! * opening never fails, and reports nothing as lost;
//! * each acknowledged record is there, unchanged, at its offset; or it was retained no longer,
//!   deleted, or replaced by a later one of its key;
//! * what else is there was under way at that time: each record once, in its producer's order;
//! * what was committed is committed, topics are as it was answered, and epochs rise.
//!
//! The seed decides what lives do and when they end (`script`), not how threads interleave:
//! `OTTLA_SEED=n` runs one seed, `OTTLA_KILLS=n` until so many kills. `tests/soak/run killed` goes
//! on for as long as one likes. The last tests let the child lie, or harm its files, and want that
//! to be noticed.

mod ledger;
mod life;
mod rounds;
mod script;
mod view;

use std::env;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use tempfile::TempDir;

use crate::support::{child_dir, runtime, truncate_file};
#[cfg(test)]
use crate::support::{fresh_seed, tell};

use self::rounds::Rounds;
use self::script::Script;

pub(crate) use self::rounds::Tally;

/// How often each of two seeds is killed.
const KILLS: u64 = 26;

/// What a child claims that is not so. It must be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Acked,
    Twice,
    Garbled,
    NeverSent,
    Committed,
    Created,
    Deleted,
}

const LIES: [Lie; 7] = [
    Lie::Acked,
    Lie::Twice,
    Lie::Garbled,
    Lie::NeverSent,
    Lie::Committed,
    Lie::Created,
    Lie::Deleted,
];

impl FromStr for Lie {
    type Err = ();

    fn from_str(name: &str) -> Result<Lie, ()> {
        LIES.into_iter().find(|lie| format!("{lie:?}") == name).ok_or(())
    }
}

fn asked<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Plays a seed until so many kills; what was done, or what is wrong.
pub(crate) fn play(seed: u64, kills: u64) -> Result<Tally, String> {
    let dir = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
    let mut rounds = Rounds::new(dir.path(), Script { seed }, None);
    let mut lives = 0..;
    let played = loop {
        if rounds.tally.kills >= kills {
            break rounds.visit();
        }
        if let Err(why) = rounds.live(lives.next().expect("they do not end")) {
            break Err(why);
        }
    };
    let again = format!("OTTLA_SEED={seed} cargo test --test it killed::a_process");
    played.map_err(|why| format!("seed {seed}: {why}\nseed {seed} failed; again: {again}"))?;
    Ok(rounds.tally)
}

/// Lives as the parent has asked for, until it is killed or has shut down. Whether it was asked.
pub(crate) fn be_child() -> bool {
    let Some(dir) = child_dir() else { return false };
    let seed = asked("OTTLA_KILLED_SEED").expect("the parent has said so");
    let life = asked("OTTLA_KILLED_LIFE").expect("the parent has said so");
    runtime().block_on(life::live(dir, Script { seed }, life, asked("OTTLA_KILLED_LIE")));
    true
}

#[test]
fn a_process_that_is_killed_again_and_again_loses_nothing() {
    let kills = asked("OTTLA_KILLS").unwrap_or(KILLS);
    let play = |seed| play(seed, kills).unwrap_or_else(|why| panic!("{why}"));
    if let Some(seed) = asked("OTTLA_SEED") {
        return tell(&format!("killed: seed {seed}: {}\n", play(seed)));
    }
    let fresh = fresh_seed();
    tell(&format!("killed: seeds 1 and {fresh}\n"));
    let tally = std::thread::scope(|scope| {
        let other = scope.spawn(|| play(fresh));
        play(1) + other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    tell(&format!("killed: {tally}\n"));
    assert_eq!(tally.kills, 2 * kills);
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn child() {
    be_child();
}

/// What was noticed within a few lives.
fn noticed(seed: u64, lie: Option<Lie>, harm: impl Fn(&Path)) -> Option<String> {
    let dir = TempDir::new().unwrap();
    let mut rounds = Rounds::new(dir.path(), Script { seed }, lie);
    (0..5).find_map(|life| {
        let lived = rounds.live(life);
        harm(dir.path());
        lived.and_then(|()| rounds.visit()).err()
    })
}

#[test]
fn a_child_that_lies_is_noticed() {
    for lie in LIES {
        let why = noticed(1, Some(lie), |_| {});
        let why = why.unwrap_or_else(|| panic!("{lie:?} was not noticed"));
        assert!(!why.contains("by itself"), "{lie:?}: {why}");
    }
}

#[test]
fn a_file_that_loses_its_end_is_noticed() {
    let is_killed =
        |seed: &u64| matches!(Script { seed: *seed }.end(0), script::End::Working { acks: 99.. });
    let seed = (1..).find(is_killed).expect("there are many");
    let folders = [
        ("power-0", "lost"),
        ("process-1", "lost"),
        ("table.process-0", "lost"),
        ("__consumer_offsets-0", "has committed"),
        ("__ottla_catalog-0", "topics_without_catalog: [\""),
    ];
    for (folder, text) in folders {
        let why = noticed(seed, None, |dir| cut(&dir.join(folder)));
        let why = why.unwrap_or_else(|| panic!("{folder} was not missed"));
        // Before the recovery point, which moves as time goes, what is missing is a gap.
        let is_gap = text == "lost" && why.contains(&format!(" of {folder} are corrupt"));
        assert!(why.contains(text) || is_gap, "{folder}: {why}");
    }
}

/// Takes the last 2 KiB from the latest segment that has as much, or all that there is.
fn cut(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let files = entries.map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        files.filter(|it| it.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    let len = |path: &Path| path.metadata().unwrap().len();
    if let Some(log) = logs.iter().rfind(|it| len(it) > 0) {
        truncate_file(log, len(log).min(2048));
    }
}
