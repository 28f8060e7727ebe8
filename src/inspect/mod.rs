//! What is in a data directory, without opening it: for operators, and for those who do not take
//! our word for it.
//!
//! [`verify`] reads everything and says what is wrong; [`dump`] shows a file's content, batch by
//! batch. What an open would repair, [`Broker::open_read_only`](crate::Broker::open_read_only) does
//! in memory and reports. None of them takes a lock or changes a byte, so they can be used beside a
//! broker at work, on a copy, and on directories that Apache Kafka wrote.
//!
//! They wait for the disk where they are called: in an async program, call them by
//! `tokio::task::spawn_blocking`.

mod dump;
mod meaning;
mod verify;

pub use crate::log::{Finding, Findings, LogVerification, Severity};
pub use dump::{Dump, Dumped, DumpedBatch, DumpedRecord, dump};
pub use verify::{Progress, Verification, verify, verify_with};
