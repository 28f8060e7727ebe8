//! Each call of the storage in the life of a broker fails once, in every way that it can; then the
//! broker is opened again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ottla::Durability;
use ottla::storage::SimDisk;
use ottla::storage::sim::Fault;

use super::life::{Account, live};
use super::tap::Call::{self, Append, Create, CreateDir, Rename, Sync, SyncDir};
use super::tap::Tap;
use super::{create, open, patiently, run, send, small, values};

/// The calls of a life without a failure, in their order.
fn calls_of_a_life() -> Vec<Call> {
    let disk = SimDisk::new(1);
    let tap = Tap::on(&disk);
    let account = run(live(tap.clone()));
    account.check_errors();
    let met = &account.errors;
    assert!(met.is_empty() && account.shutdown.as_ref().is_some_and(|it| it.is_ok()), "{met:?}");
    disk.crash_process();
    run(reopen(&disk, &account, false));
    tap.trace()
}

/// All is there that was promised, and life goes on.
async fn reopen(disk: &SimDisk, account: &Account, power_was_lost: bool) {
    let (broker, _) = open(disk.clone()).await.expect("the next open succeeds");
    account.check_kept(&broker, power_was_lost).await;
    let report = broker.recovery_report().unwrap();
    assert!(report.stray.is_empty() && report.topics_without_catalog.is_empty(), "{report:?}");
    let lost = report.partitions.values().map(|it| it.lost.len()).sum::<usize>();
    assert_eq!(lost, 0, "{report:?}");
    let producer = broker.producer().build();
    for topic in broker.topics().unwrap() {
        send(&producer, topic.as_str(), "again").await.unwrap();
    }
    create(&broker, "another", small(Durability::Power)).await.unwrap();
    send(&producer, "another", "again").await.unwrap();
    assert_eq!(values(&broker, "another").await, ["again"]);
    patiently(broker.shutdown()).await.unwrap();
}

/// Of how many calls one is made to fail, unless `OTTLA_EVERY` says another number: to go through
/// all of them takes minutes.
const EVERY: u64 = 7;

/// One life for each such call, which fails; then some time without power or not.
fn fail_each(what: &str, calls: &[Call], harm: impl Fn(&Tap, u64)) {
    let asked = std::env::var("OTTLA_EVERY").ok().and_then(|every| every.parse().ok());
    let (every, first) = (asked.unwrap_or(EVERY), what.len() as u64);
    let mut failed = 0;
    for (number, call) in (1..).zip(calls_of_a_life()) {
        let is_meant = calls.is_empty() || calls.contains(&call);
        if !is_meant || number % every != first % every {
            continue;
        }
        let disk = SimDisk::new(number);
        let power_is_lost = number % 2 == 0;
        let life = AssertUnwindSafe(|| {
            let tap = Tap::on(&disk);
            harm(&tap, number);
            let account = run(live(tap));
            account.check_errors();
            disk.clear_faults();
            match power_is_lost {
                true => disk.crash_power(),
                false => disk.crash_process(),
            }
            run(reopen(&disk, &account, power_is_lost));
        });
        if catch_unwind(life).is_err() {
            eprintln!("so ends {what} at call {number}, {call:?}; power is lost: {power_is_lost}");
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "for as many calls");
}

#[test]
fn an_error() {
    fail_each("an error", &[], |tap, number| tap.disk.fail_at(number, Fault::Eio));
}

#[test]
fn a_full_disk() {
    let calls = [Create, Append, CreateDir, Rename, Sync, SyncDir];
    fail_each("a full disk", &calls, |tap, number| tap.disk.fail_at(number, Fault::Enospc));
}

#[test]
fn a_write_that_is_cut_short() {
    let harm = |tap: &Tap, number| tap.disk.fail_at(number, Fault::ShortWrite);
    fail_each("a short write", &[Append], harm);
}

#[test]
fn a_sync_that_fails_once() {
    let harm = |tap: &Tap, number| tap.disk.fail_at(number, Fault::SyncFailsOnce);
    fail_each("a failed sync", &[Sync], harm);
}

#[test]
fn a_panic() {
    fail_each("a panic", &[], |tap, number| tap.panic_at(number));
}
