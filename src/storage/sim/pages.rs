//! One simulated file: what the page cache holds of it, and what the disk does.

use std::collections::BTreeSet;
use std::ops::Range;

use super::random::{Random, Survival};

/// The unit in which the cache remembers what was written.
pub(super) const PAGE: usize = 4096;

/// The unit that a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// Content in the cache and on the disk.
#[derive(Debug, Default)]
pub(super) struct Pages {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Pages written since the last sync. All others are as the cache believes them to be on disk;
    /// after a failed sync it believes wrongly.
    dirty: BTreeSet<usize>,
    /// The shortest that the file was since the last sync, if it was cut.
    cut: Option<usize>,
    /// How often the file was renamed, itself or with a folder above it.
    moves: u64,
}

impl Pages {
    /// What a reader sees.
    pub(super) fn cached(&self) -> &[u8] {
        &self.cached
    }

    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    pub(super) fn note_move(&mut self) {
        self.moves += 1;
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        let start = self.cached.len();
        self.cached.extend_from_slice(bytes);
        if !bytes.is_empty() {
            self.dirty.extend(start / PAGE..=(self.cached.len() - 1) / PAGE);
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if len < self.cached.len() {
            self.cached.truncate(len);
            self.cut = Some(self.cut.map_or(len, |cut| cut.min(len)));
            self.dirty.split_off(&len.div_ceil(PAGE));
        }
    }

    /// Makes length and dirty pages durable.
    pub(super) fn sync(&mut self) {
        self.durable = self.base(true);
        self.durable.resize(self.cached.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let range = span(page, PAGE, self.cached.len());
            self.durable[range.clone()].copy_from_slice(&self.cached[range]);
        }
        self.cut = None;
    }

    /// A sync that failed: the cache now takes its dirty pages for clean. The length stays to be
    /// written, as it is metadata.
    pub(super) fn lose_dirty(&mut self) {
        self.dirty.clear();
    }

    /// Clean pages are read from the disk again, as under memory pressure.
    pub(super) fn evict(&mut self) {
        let base = self.base(true);
        for page in 0..self.cached.len().div_ceil(PAGE) {
            if !self.dirty.contains(&page) {
                let range = span(page, PAGE, self.cached.len());
                copy_or_zero(&mut self.cached, &base, range);
            }
        }
    }

    /// Loss of power: some mixture of old and new is now the file.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let survival = Survival::draw(random);
        let was_cut = self.cut.is_none() || survival.keeps(random);
        let base = self.base(was_cut);
        let len = self.surviving_len(&base, was_cut, survival, random);
        let mut after = base;
        after.resize(len, 0);
        let pages = self.dirty.iter().copied().take_while(|page| page * PAGE < len);
        for page in pages {
            let torn = survival == Survival::Some && random.below(3) == 0;
            let unit = if torn { SECTOR } else { PAGE };
            let per_page = PAGE / unit;
            for part in page * per_page..(page + 1) * per_page {
                if part * unit < len && survival.keeps(random) {
                    copy_or_zero(&mut after, &self.cached, span(part, unit, len));
                }
            }
        }
        *self = Pages { cached: after.clone(), durable: after, ..Pages::default() };
    }

    /// Flips one bit in cache and disk. `false` if there is no such bit.
    pub(super) fn flip_bit(&mut self, bit: u64) -> bool {
        let byte = usize::try_from(bit / 8).unwrap_or(usize::MAX);
        for copy in [&mut self.durable, &mut self.cached] {
            if let Some(byte) = copy.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
        byte < self.cached.len()
    }

    /// What is on the disk, with what was cut off since the last sync gone or still there.
    fn base(&self, was_cut: bool) -> Vec<u8> {
        let cut = self.cut.filter(|_| was_cut).unwrap_or(usize::MAX);
        self.durable[..self.durable.len().min(cut)].to_vec()
    }

    /// Any length between that of the disk and that of the cache, the two ends above all.
    fn surviving_len(
        &self,
        base: &[u8],
        was_cut: bool,
        survival: Survival,
        random: &mut Random,
    ) -> usize {
        let shortest = base.len();
        let longest = if was_cut { self.cached.len() } else { shortest.max(self.cached.len()) };
        match (survival, random.below(3)) {
            (Survival::None, _) | (Survival::Some, 0) => shortest,
            (Survival::All, _) | (Survival::Some, 1) => longest,
            _ => shortest + random.below((longest - shortest) as u64 + 1) as usize,
        }
    }
}

/// The bytes of the `index`th unit of a file of `len` bytes.
fn span(index: usize, unit: usize, len: usize) -> Range<usize> {
    (index * unit).min(len)..((index + 1) * unit).min(len)
}

/// Copies `range` of `from` into `to`, as zeroes where `from` has ended.
fn copy_or_zero(to: &mut [u8], from: &[u8], range: Range<usize>) {
    let there = range.start.min(from.len())..range.end.min(from.len());
    let (copied, zeroed) = to[range].split_at_mut(there.len());
    copied.copy_from_slice(&from[there]);
    zeroed.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(content: &[u8]) -> Pages {
        let mut pages = Pages::default();
        pages.append(content);
        pages.sync();
        pages
    }

    /// What many crashes leave of `make()`.
    fn crashes(make: impl Fn() -> Pages) -> BTreeSet<Vec<u8>> {
        let mut random = Random::new(1);
        let crash = |_| {
            let mut pages = make();
            pages.crash(&mut random);
            assert_eq!(pages.cached, pages.durable);
            pages.cached
        };
        (0..2_000).map(crash).collect()
    }

    #[test]
    fn what_is_synced_survives_every_crash() {
        let content: Vec<u8> = (1..=200).cycle().take(3 * PAGE + 700).collect();
        let outcomes = crashes(|| {
            let mut pages = synced(&content);
            pages.append(&[255; 2 * PAGE]);
            pages
        });
        assert!(outcomes.iter().all(|after| after.starts_with(&content)));
        assert!(outcomes.contains(&content), "nothing of the tail");
        assert!(outcomes.iter().any(|after| after.ends_with(&[255; 2 * PAGE])), "all of it");
        let longest = content.len() + 2 * PAGE;
        let zeroed = |after: &Vec<u8>| after.len() == longest && after.ends_with(&[0; PAGE]);
        assert!(outcomes.iter().any(zeroed), "the length without the content");
        let reordered =
            |after: &Vec<u8>| after.get(content.len()) == Some(&0) && after.ends_with(&[255]);
        assert!(outcomes.iter().any(reordered), "the end without what is before it");
        let torn = |after: &Vec<u8>| {
            after.get(4 * PAGE + SECTOR - 1..=4 * PAGE + SECTOR).is_some_and(|at| at == [255, 0])
        };
        assert!(outcomes.iter().any(torn), "a page torn between two sectors");
        let between = |after: &Vec<u8>| content.len() < after.len() && after.len() < longest;
        assert!(outcomes.iter().any(between));
    }

    #[test]
    fn an_unsynced_truncation_is_kept_or_undone() {
        let outcomes = crashes(|| {
            let mut pages = synced(&[1; 100]);
            pages.truncate(40);
            pages.append(&[2; 10]);
            pages
        });
        let kept = [[1u8; 40].as_slice(), &[2; 10]].concat();
        assert!(outcomes.contains(&kept));
        assert!(outcomes.contains(&vec![1; 100]));
        assert!(outcomes.iter().all(|after| after.starts_with(&[1; 40])));
        let mut pages = synced(&[1; 100]);
        pages.truncate(40);
        pages.append(&[2; 10]);
        pages.sync();
        assert_eq!(pages.durable, kept);
    }

    #[test]
    fn pages_of_a_failed_sync_look_clean_and_are_never_written() {
        let mut pages = synced(&[1; 100]);
        pages.append(&[2; 2 * PAGE]);
        pages.lose_dirty();
        pages.sync();
        assert_eq!(pages.cached.last(), Some(&2));
        pages.crash(&mut Random::new(1));
        assert_eq!(pages.cached.len(), 100 + 2 * PAGE);
        assert!(pages.cached[100..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn eviction_shows_what_the_disk_holds() {
        let mut pages = synced(&[1; 10]);
        pages.append(&[2; PAGE]);
        pages.lose_dirty();
        pages.append(&[3; PAGE]);
        pages.evict();
        assert_eq!(pages.cached.len(), 2 * PAGE + 10);
        assert_eq!(&pages.cached[8..12], [1, 1, 0, 0]);
        assert_eq!(pages.cached.last(), Some(&3));
    }
}
