//! A process that is killed with SIGKILL again and again: one seed after the other.

use std::time::{Duration, Instant};

use crate::killed::{Tally, play};

/// How often a data directory is killed before there is a new one.
const KILLS_EACH: u64 = 100;

pub(crate) fn run(length: Duration, seed: u64) -> Result<Tally, String> {
    let (began, mut reached) = (Instant::now(), Tally::default());
    let mut next_line = Duration::from_secs(60);
    for seed in seed.. {
        reached = reached + play(seed, KILLS_EACH)?;
        if began.elapsed() > length {
            break;
        }
        if began.elapsed() > next_line {
            println!("killed: {} min: {reached}", began.elapsed().as_secs() / 60);
            next_line += Duration::from_secs(60);
        }
    }
    Ok(reached)
}
