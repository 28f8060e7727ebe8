//! The rows: what is measured, and what it is to reach.

mod memory;

use crate::Bench;

type Run = fn(&mut Bench<'_>);

pub(crate) const ALL: &[(&str, Run)] = &[
    ("memory-1-1-100B", memory::one_to_one::<100>),
    ("memory-1-1-1KiB", memory::one_to_one::<1024>),
    ("memory-kept-100B", memory::kept::<100>),
    ("memory-kept-1KiB", memory::kept::<1024>),
    ("memory-1-4-100B", memory::one_to_four::<100>),
    ("memory-1-4-1KiB", memory::one_to_four::<1024>),
];
