//! What of Java's library reaches an assignment: how strings are ordered and hashed, and in which
//! order a `HashMap` or `HashSet` iterates.

use std::cmp::Ordering;

/// `String.compareTo`: by UTF-16 code units.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        return a.cmp(b);
    }
    a.encode_utf16().cmp(b.encode_utf16())
}

/// `String.hashCode`.
pub(super) fn string_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `TopicPartition.hashCode`, from the hash of the topic's name.
pub(super) fn topic_partition_hash(topic_hash: i32, partition: i32) -> i32 {
    31i32.wrapping_mul(31i32.wrapping_add(partition)).wrapping_add(topic_hash)
}

/// The keys of a `java.util.HashMap` made without a size, for the sake of their order: by bucket,
/// and within one in the order of a list.
///
/// Its buckets double when they are more than three quarters full, or when a list of eight grows
/// and there are less than 64; and they are never given back.
#[derive(Debug)]
pub(super) struct HashOrder<K> {
    /// With their hashes, spread as `HashMap` spreads them. Those of a bucket stand in the order of
    /// its list.
    keys: Vec<(u32, K)>,
    buckets: usize,
}

const FIRST_BUCKETS: usize = 16;
const MIN_BUCKETS_FOR_TREES: usize = 64;

impl<K: PartialEq> HashOrder<K> {
    pub(super) fn new() -> Self {
        HashOrder { keys: Vec::new(), buckets: FIRST_BUCKETS }
    }

    /// What `put` does with a key that is not there: it becomes the last of its list.
    pub(super) fn put(&mut self, hash: i32, key: K) {
        let hash = spread(hash);
        self.double_for_list(hash, 8);
        self.keys.push((hash, key));
        self.double_if_full();
    }

    /// What `computeIfAbsent` does with a key that is not there: it becomes the first of its list.
    pub(super) fn compute_absent(&mut self, hash: i32, key: K) {
        self.compute_present();
        let hash = spread(hash);
        self.double_for_list(hash, 7);
        self.keys.insert(0, (hash, key));
    }

    /// What `computeIfAbsent` does with a key that is there: what an earlier one left to do.
    pub(super) fn compute_present(&mut self) {
        self.double_if_full();
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(at) = self.keys.iter().position(|(_, other)| other == key) {
            self.keys.remove(at);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn first(&self) -> Option<&K> {
        // Of equal ones `min_by_key` gives the first, as does the list.
        self.keys.iter().min_by_key(|(hash, _)| self.bucket(*hash)).map(|(_, key)| key)
    }

    pub(super) fn into_vec(mut self) -> Vec<K> {
        let buckets = self.buckets;
        // The sort is stable: each list stays as it is.
        self.keys.sort_by_key(|(hash, _)| *hash as usize & (buckets - 1));
        self.keys.into_iter().map(|(_, key)| key).collect()
    }

    fn double_if_full(&mut self) {
        if self.keys.len() > self.buckets / 4 * 3 {
            self.buckets *= 2;
        }
    }

    /// Before a key with this hash is put into a list, which may have so many.
    fn double_for_list(&mut self, hash: u32, limit: usize) {
        if self.buckets >= MIN_BUCKETS_FOR_TREES {
            return;
        }
        let bucket = self.bucket(hash);
        let list = self.keys.iter().filter(|(other, _)| self.bucket(*other) == bucket);
        if list.count() >= limit {
            self.buckets *= 2;
        }
    }

    fn bucket(&self, hash: u32) -> usize {
        hash as usize & (self.buckets - 1)
    }
}

fn spread(hash: i32) -> u32 {
    let hash = hash.cast_unsigned();
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(keys: &[&'static str]) -> Vec<&'static str> {
        let mut order = HashOrder::new();
        for key in keys {
            order.put(string_hash(key), *key);
        }
        order.into_vec()
    }

    #[test]
    fn strings_hash_and_compare_as_in_java() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("consumer"), -567_770_122);
        assert_eq!(string_hash("Aa"), string_hash("BB"));
        assert_eq!(string_hash("\u{10000}"), 1_770_496);
        assert_eq!(topic_partition_hash(string_hash("a"), 0), 1058);
        assert_eq!(topic_partition_hash(string_hash("a"), 2), 1120);
        assert_eq!(compare("b", "a"), Ordering::Greater);
        // A surrogate pair stands before what is above the surrogates; not so in UTF-8.
        assert_eq!(compare("\u{10000}", "\u{ffff}"), Ordering::Less);
    }

    #[test]
    fn colliding_keys_keep_their_order_and_more_than_eight_double_the_buckets() {
        assert_eq!(order(&["BB", "q", "Aa"]), ["BB", "Aa", "q"]);
        // All have the same hash. The orders below are those of a `HashSet` of OpenJDK 17.
        let mut colliding = vec!["AaAaAaAa", "BBAaAaAa", "AaBBAaAa", "BBBBAaAa", "AaAaBBAa"];
        colliding.extend(["BBAaBBAa", "AaBBBBAa", "BBBBBBAa", "AaAaAaBB", "BBAaAaBB"]);
        let with = |count: usize, before: &[&'static str], after: &[&'static str]| {
            let keys = [&colliding[..count], &["q", "!", "1"]].concat();
            assert_eq!(order(&keys), [before, &colliding[..count], after].concat());
        };
        with(8, &["q", "!", "1"], &[]);
        with(9, &["!"], &["q", "1"]);
        with(10, &[], &["!", "q", "1"]);
    }

    #[test]
    fn buckets_double_when_more_than_three_quarters_are_full() {
        let keys = ["q", "!", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        // "!" is 33, and "q" 113: both are in bucket 1 of 16, and in 1 and 17 of 32.
        assert_eq!(order(&keys[..12])[..2], ["q", "!"]);
        assert_eq!(order(&keys)[0], "!");
    }
}
