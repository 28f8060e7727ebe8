//! What is held stays, whatever retention and caps would do, until it is let go of.

use std::sync::Arc;
use std::time::Duration;

use crate::log::tests::parts::{Rec, batch, opening, small};
use crate::log::{AppendError, Log, LogConfig};
use crate::record::Timestamp;
use crate::storage::SimDisk;

const CAP: u64 = 16 << 10;

fn log(config: LogConfig) -> Log {
    Log::open(opening(Arc::new(SimDisk::new(1)), config)).unwrap().0
}

fn append(log: &mut Log, id: u64) -> Result<i64, AppendError> {
    let appended = log.append_now(batch(&[Rec { id, len: 300, timestamp: 1_000 }]));
    let offset = appended?.base_offset;
    log.sync()?;
    log.publish();
    Ok(offset)
}

fn start(log: &Log) -> i64 {
    log.reader().log_start_offset()
}

#[test]
fn retention_leaves_what_is_held() {
    let config = LogConfig { retention: Some(Duration::from_secs(60)), ..small() };
    let mut log = log(config);
    for id in 0..20 {
        append(&mut log, id).unwrap();
    }
    let late = Timestamp::from_millis(1_000_000);
    let (first, second) = (log.reader().hold(0, true), log.reader().hold(10, false));
    assert_eq!((log.enforce_retention(late).unwrap(), start(&log)), (0, 0));
    first.advance(12);
    assert!(log.enforce_retention(late).unwrap() > 0);
    let held = start(&log);
    assert!((1..=10).contains(&held), "{held}");
    // Whoever asks for it gets it.
    log.advance_log_start(15).unwrap();
    assert_eq!(start(&log), 15);
    drop(first);
    assert_eq!(log.enforce_retention(late).unwrap(), 0, "the other still holds");
    drop(second);
    assert!(log.enforce_retention(late).unwrap() > 0);
    assert_eq!(start(&log), 20);
}

#[test]
fn at_its_cap_a_log_takes_nothing_that_would_drop_what_is_held() {
    for waits in [false, true] {
        let mut log = log(LogConfig { max_bytes: Some(CAP), ..small() });
        let hold = log.reader().hold(0, waits);
        assert_eq!(log.blocks_when_full(), waits);
        let mut next = 0;
        let error = loop {
            match append(&mut log, next) {
                Ok(offset) => assert_eq!(offset, next as i64),
                Err(error) => break error,
            }
            next += 1;
        };
        assert!(matches!(error, AppendError::Held { limit: CAP, .. }), "{error}");
        assert_eq!(error.waits(), waits);
        let size = log.reader().size();
        assert!((CAP - 500..=CAP).contains(&size) && start(&log) == 0, "{size}");
        // Room is made only of whole segments that nobody holds.
        hold.advance(1);
        assert!(append(&mut log, next).is_err());
        hold.advance(next as i64);
        for id in next..next + 10 {
            append(&mut log, id).unwrap();
        }
        assert!(start(&log) > 0 && start(&log) <= next as i64);
        drop(hold);
        assert!(!log.blocks_when_full());
        for id in next + 10..next + 100 {
            append(&mut log, id).unwrap();
        }
        assert!(log.reader().size() <= CAP);
    }
}
