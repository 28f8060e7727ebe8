//! What the batches tell of leader epochs, where the file that says so is lost. Only reads.

use std::collections::BTreeMap;
use std::io;

use super::survey::Survey;
use super::{CHUNK, Opening};
use crate::log::epochs::LeaderEpochs;
use crate::log::scan::{Step, Walk};

/// Batches one after the other that are of one epoch.
struct Run {
    epoch: i32,
    start_offset: i64,
    batches: u64,
}

/// Reads all batches, but for what will be cut off; adds how many bytes that were.
pub(super) fn told_by_batches(
    opening: &Opening,
    survey: &Survey,
    scanned_bytes: &mut u64,
) -> io::Result<LeaderEpochs> {
    let recovery_point = survey.recovery_point.unwrap_or(0);
    let bases: Vec<i64> = survey.logs.keys().copied().collect();
    let mut runs = Vec::new();
    for (i, base) in bases.iter().enumerate() {
        let boundary = bases.get(i + 1).copied().unwrap_or(recovery_point);
        let segment = survey.segment(opening, *base)?;
        *scanned_bytes += segment.size();
        let mut walk = Walk::whole(&segment, CHUNK);
        loop {
            match walk.next(|_| true)? {
                Step::Batch(batch) => {
                    let header = batch.header();
                    note(&mut runs, header.partition_leader_epoch, header.base_offset);
                }
                Step::Bad if walk.expected() < boundary => {
                    walk.pass_bad(boundary, |_| true)?;
                }
                Step::Bad | Step::End => break,
            }
        }
    }
    let mut epochs = LeaderEpochs::default();
    for run in likeliest(runs) {
        epochs.assign(run.epoch, run.start_offset);
    }
    Ok(epochs)
}

fn note(runs: &mut Vec<Run>, epoch: i32, start_offset: i64) {
    match runs.last_mut().filter(|run| run.epoch == epoch) {
        Some(run) => run.batches += 1,
        None => runs.push(Run { epoch, start_offset, batches: 1 }),
    }
}

/// Epochs only rise, and no CRC covers them. Of those that contradict each other, the ones that
/// most batches speak for: one that says 2^20 between others that say 1 is damaged, not they.
fn likeliest(runs: Vec<Run>) -> Vec<Run> {
    // By its last epoch, the heaviest rising sequence: its batches, and where it ends. A sequence
    // that ends higher is here only if it is heavier.
    let mut best: BTreeMap<i32, (u64, usize)> = BTreeMap::new();
    let mut before = Vec::with_capacity(runs.len());
    for (i, run) in runs.iter().enumerate() {
        let shorter = best.range(..=run.epoch).next_back().map(|(_, it)| *it);
        let weight = shorter.map_or(0, |(weight, _)| weight) + run.batches;
        while let Some((&higher, _)) =
            best.range(run.epoch..).next().filter(|(_, it)| it.0 <= weight)
        {
            best.remove(&higher);
        }
        best.insert(run.epoch, (weight, i));
        before.push(shorter.map(|(_, last)| last));
    }
    let mut is_kept = vec![false; runs.len()];
    let mut next = best.last_key_value().map(|(_, (_, last))| *last);
    while let Some(i) = next {
        is_kept[i] = true;
        next = before[i];
    }
    runs.into_iter().zip(is_kept).filter_map(|(run, kept)| kept.then_some(run)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_batches_are_believed() {
        let kept = |epochs: &[i32]| {
            let mut runs = Vec::new();
            epochs.iter().zip(0..).for_each(|(epoch, offset)| note(&mut runs, *epoch, offset));
            let kept = likeliest(runs);
            kept.iter().map(|run| (run.epoch, run.start_offset)).collect::<Vec<_>>()
        };
        assert_eq!(kept(&[]), []);
        assert_eq!(kept(&[0, 0, 2, 2, 5]), [(0, 0), (2, 2), (5, 4)]);
        // Too high, too low, at the start, at the end.
        assert_eq!(kept(&[1, 1, 99, 1, 2]), [(1, 0), (1, 3), (2, 4)]);
        assert_eq!(kept(&[1, 3, 3, 2, 3, 3]), [(1, 0), (3, 1), (3, 4)]);
        assert_eq!(kept(&[9, 1, 1, 2]), [(1, 1), (2, 3)]);
        assert_eq!(kept(&[1, 1, 2, 2, 0]), [(1, 0), (2, 2)]);
        assert_eq!(kept(&[5, 6, 7, 1, 1, 1, 1]), [(1, 3)]);
        assert_eq!(kept(&[1, 1, 1, 99, 2, 98, 2]), [(1, 0), (2, 4), (2, 6)]);
    }
}
