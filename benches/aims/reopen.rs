//! Opening one large log again: after a shutdown, and after the process was gone in the midst of
//! appending, as a `kill -9` leaves it.
//!
//! The page cache stays as it is: on a log that was just written, as after a restart of a service,
//! it is warm. `reopen 10` adds a log of 10 GiB, which is to take no longer.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Instant;

use ottla::{Broker, Durability, Record, RecoveryReport, TopicConfig};
use tokio::runtime::Runtime;

use crate::payload;
use crate::report::{Aim, Report, mebibytes, whole_millis};
use crate::{Scale, on_worker};

/// What this program is called with to be the process that crashes.
pub(crate) const CRASH: &str = "append-and-crash";

const TOPIC: &str = "bench";
const ROUNDS: usize = 5;
const MIB: u64 = 1 << 20;
/// Far more than follows a recovery point: one is written for each GiB, while appending goes on.
const APPENDED: u64 = 3072 * MIB;
/// An interval, and what is appended while the next point is being written.
const FOLLOWS_MIB: f64 = 1536.0;

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    measure(runtime, scale, report, scale.pick(1 << 30, MIB));
    if let Some(gibibytes) = scale.gibibytes {
        measure(runtime, scale, report, gibibytes << 30);
    }
}

fn measure(runtime: &Runtime, scale: Scale, report: &mut Report, bytes: u64) {
    let dir = tempfile::tempdir().expect("a folder can be made");
    on_worker(runtime, append(dir.path().to_owned(), bytes, true));
    let rounds = scale.pick(ROUNDS, 1);
    let closed: Vec<Opened> = (0..rounds).map(|_| reopen(runtime, dir.path())).collect();
    let name = format!("{} MiB, closed: opened again", bytes / MIB);
    let pick = |opened: &[Opened], of: fn(&Opened) -> f64| opened.iter().map(of).collect();
    report.spread(&name, pick(&closed, |it| it.millis), whole_millis, Aim::AtMost(50.0));
    report.spread("  … read and checked", pick(&closed, |it| it.read), mebibytes, Aim::None);
    let more = scale.pick(APPENDED, MIB);
    let crash = |_| {
        let program = env::current_exe().expect("it is running");
        let mut command = Command::new(program);
        let status = command.arg(CRASH).arg(dir.path()).arg(more.to_string()).status();
        assert!(status.is_ok_and(|it| it.success()), "it ends where it is to end");
        reopen(runtime, dir.path())
    };
    let crashed: Vec<Opened> = (0..rounds).map(crash).collect();
    assert!(crashed.iter().all(|it| !it.clean) && closed.iter().all(|it| it.clean));
    let name = format!("  … gone after {} MiB more: opened again", more / MIB);
    report.spread(&name, pick(&crashed, |it| it.millis), whole_millis, Aim::None);
    let aim = Aim::AtMost(FOLLOWS_MIB);
    report.spread("  … read and checked", pick(&crashed, |it| it.read), mebibytes, aim);
}

/// Appends, and is gone: no broker is dropped, nothing is written or synced any more.
pub(crate) fn append_and_crash(runtime: &Runtime, dir: &str, bytes: &str) {
    let bytes = bytes.parse().expect("the parent says how many");
    on_worker(runtime, append(dir.into(), bytes, false));
}

/// Records of 1 KiB.
async fn append(dir: PathBuf, bytes: u64, closes: bool) {
    let broker = Broker::open(dir).await.expect("it opens");
    let config = TopicConfig::new().durability(Durability::Process).retention(None);
    // It is there if this process is to crash.
    let _ = broker.create_topic(TOPIC, config).await;
    let producer = broker.producer().build();
    for counter in 0..bytes / 1024 {
        let payload = payload::array::<1024>(counter);
        let record = Record::to(TOPIC).value(&payload);
        producer.enqueue(record).await.expect("it is buffered");
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_sent, bytes / 1024, "all are acknowledged");
    match closes {
        true => broker.shutdown().await.expect("the disk works"),
        false => process::exit(0),
    }
}

struct Opened {
    millis: f64,
    /// MiB that were read and checked.
    read: f64,
    clean: bool,
}

fn reopen(runtime: &Runtime, dir: &Path) -> Opened {
    let dir = dir.to_owned();
    on_worker(runtime, async move {
        let started = Instant::now();
        let broker = Broker::open(dir).await.expect("it opens");
        let millis = started.elapsed().as_secs_f64() * 1e3;
        let RecoveryReport { clean_shutdown: clean, scanned_bytes, .. } =
            *broker.recovery_report().expect("it is on a disk");
        broker.shutdown().await.expect("the disk works");
        Opened { millis, read: scanned_bytes as f64 / MIB as f64, clean }
    })
}
