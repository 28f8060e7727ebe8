//! The rows: what is measured, and what it is to reach.

mod awaited;
mod disk;
mod growth;
mod memory;
mod network;

use disk::{append, catchup, power, readers};

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
    ("awaited-100B", awaited::sends::<100>),
    ("awaited-1KiB", awaited::sends::<1024>),
    ("latency-100B", awaited::latency::<100>),
    ("latency-1KiB", awaited::latency::<1024>),
    ("process-100B", append::write_calls::<100>),
    ("process-1KiB", append::write_calls::<1024>),
    ("process-peers-100B", append::others::<100>),
    ("process-peers-1KiB", append::others::<1024>),
    ("power-1-100B", power::senders::<100, 1>),
    ("power-1-1KiB", power::senders::<1024, 1>),
    ("power-8-100B", power::senders::<100, 8>),
    ("power-8-1KiB", power::senders::<1024, 8>),
    ("power-64-100B", power::senders::<100, 64>),
    ("power-64-1KiB", power::senders::<1024, 64>),
    ("catchup-100B", catchup::read::<100>),
    ("catchup-1KiB", catchup::read::<1024>),
    ("readers-100B", readers::eight::<100>),
    ("readers-1KiB", readers::eight::<1024>),
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
