//! The rows: what is measured, and what it is to reach.

mod growth;
mod memory;
mod network;

use crate::Bench;

pub(crate) use growth::weigh;
pub(crate) use network::Brokers;

type Run = fn(&mut Bench<'_>);

pub(crate) const ALL: &[(&str, Run)] = &[
    ("memory-1-1-100B", memory::one_to_one::<100>),
    ("memory-1-1-1KiB", memory::one_to_one::<1024>),
    ("memory-kept-100B", memory::kept::<100>),
    ("memory-kept-1KiB", memory::kept::<1024>),
    ("memory-1-4-100B", memory::one_to_four::<100>),
    ("memory-1-4-1KiB", memory::one_to_four::<1024>),
    ("tcp-produce-100B", network::produce::<100>),
    ("tcp-produce-1KiB", network::produce::<1024>),
    ("tcp-consume-100B", network::consume::<100>),
    ("tcp-consume-1KiB", network::consume::<1024>),
    ("tcp-latency-100B", network::latency::<100>),
    ("tcp-latency-1KiB", network::latency::<1024>),
    ("tcp-memory", network::memory),
    ("tcp-start", network::start),
    ("growth-partitions", growth::partitions),
    ("growth-consumers", growth::consumers),
    ("growth-record", growth::record),
    ("growth-log", growth::log),
    ("growth-groups", growth::groups),
];
