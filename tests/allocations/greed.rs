//! Looks for the frame of a kind that takes most: lists in a sample are made to claim as much as the
//! bytes behind them could hold, one after the other, each with the claim that costs most.

use bytes::Bytes;

use super::samples::Sample;

/// How long the frames are.
const LEN: usize = 4096;
/// More bytes no element takes at least.
const MAX_LEAST: usize = 20;
/// Lists that claim something, one within the other.
const CLAIMS: usize = 3;
/// What may stand behind a sample, over and over: elements that are as short as can be, in versions
/// that are flexible and in others.
const FILLERS: [&[u8]; 4] = [&[0], &[1], &[1, 0], &[0, 0, 0, 0, 1, 0]];

/// The most that a frame like the sample takes.
pub fn search(sample: &Sample, growth: impl Fn(&Bytes) -> f64) -> f64 {
    let is_flexible = sample.api.is_flexible(sample.version);
    let mut best = (growth(&sample.frame), sample.frame.to_vec());
    for _ in 0..CLAIMS {
        let start = best.1.clone();
        for at in lists(&start, is_flexible) {
            for least in 1..=MAX_LEAST {
                let claiming = claiming(&start, at, least, is_flexible);
                for filler in FILLERS {
                    let grown = growth(&filled(&claiming, filler));
                    if grown > best.0 {
                        best = (grown, claiming.clone());
                    }
                }
            }
        }
        if best.1 == start {
            break;
        }
    }
    best.0
}

/// Where a list of one element may begin.
fn lists(frame: &[u8], is_flexible: bool) -> Vec<usize> {
    let one = one(is_flexible);
    let starts = frame.windows(one.len()).enumerate();
    starts.filter(|(_, window)| *window == one).map(|(at, _)| at).collect()
}

/// The length of such a list.
fn one(is_flexible: bool) -> &'static [u8] {
    if is_flexible { &[2] } else { &[0, 0, 0, 1] }
}

/// The same, but that the list at `at` has all elements that fit if each takes `least` bytes.
fn claiming(frame: &[u8], at: usize, least: usize, is_flexible: bool) -> Vec<u8> {
    let behind = &frame[at + one(is_flexible).len()..];
    // The length itself takes four bytes, or less.
    let count = ((LEN - at - 4) / least) as u32;
    let mut claim = Vec::new();
    match is_flexible {
        true => ottla::codec::put_unsigned_varint(&mut claim, count + 1),
        false => claim.extend(count.to_be_bytes()),
    }
    [&frame[..at], &claim, behind].concat()
}

fn filled(frame: &[u8], filler: &[u8]) -> Bytes {
    let left = LEN.saturating_sub(frame.len());
    frame.iter().chain(filler.iter().cycle().take(left)).copied().collect()
}
