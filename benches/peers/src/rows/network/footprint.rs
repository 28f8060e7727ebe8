//! What a broker weighs, and how long it takes to be there.

use std::cell::RefCell;

use tokio::runtime::Runtime;

use super::brokers::Process;
use super::{KAFKA, OURS, both, setup, throughput};
use crate::measure::{Aim, Metric, Row, Sample};
use crate::show::Show;
use crate::{Bench, Scale, on_worker};

const RESIDENT: Metric = Metric::Figure("resident", Show::Bytes);
const PEAK: Metric = Metric::Figure("at most", Show::Bytes);
const STARTED: Metric = Metric::Figure("first acknowledged", Show::Millis);

/// Resident memory of the broker's process after all that came before in this run: at least what
/// is produced and consumed here, of 100 bytes and 1 KiB. The heap of Kafka's virtual machine is of
/// 1 GiB, as its start script has it, and resident where it was ever used.
pub(crate) fn memory(bench: &mut Bench<'_>) {
    let Some(both) = both(bench) else { return };
    let (runtime, scale) = (&bench.runtime, bench.scale);
    let loaded = |which: usize| {
        for produce in [produce::<100>, produce::<1024>] {
            produce(runtime, scale, (which, both.clone()));
        }
        let broker = &both[which];
        let sample = Sample::default().with("resident", broker.resident());
        sample.with("at most", broker.peak())
    };
    let row = Row::new(bench.name, setup(0, "batches as they come", 1, 1))
        .contender(OURS, || loaded(0))
        .contender(KAFKA, || loaded(1))
        .figure(RESIDENT)
        .figure(PEAK)
        .compare(RESIDENT, OURS, KAFKA, Aim::AtMost(0.1))
        .compare(PEAK, OURS, KAFKA, Aim::AtMost(0.1));
    row.run(1, bench.report);
}

fn produce<const N: usize>(runtime: &Runtime, scale: Scale, at: (usize, [Process; 2])) {
    let count = throughput::count(scale, N);
    on_worker(runtime, throughput::produce_anew::<N>(at, format!("memory-{N}"), count));
}

/// From starting the process, in a directory that is new, to the first record acknowledged, with
/// connecting and the topic's creation. Kafka's directory was formatted before: that does not
/// count.
pub(crate) fn start(bench: &mut Bench<'_>) {
    // Else they would be in the way; and whether there can be any is known now.
    if both(bench).is_none() {
        return;
    }
    let brokers = RefCell::new(&mut *bench.brokers);
    brokers.borrow_mut().stop_both().expect("they are there");
    let runtime = &bench.runtime;
    let started = |name| {
        let brokers = &mut *brokers.borrow_mut();
        let process = brokers.start(name).expect("one was started before");
        let seconds = runtime.block_on(process.first_acknowledged()).expect("it gets ready");
        brokers.stop(name).expect("it is there");
        Sample::default().with("first acknowledged", seconds * 1e3)
    };
    let row = Row::new(bench.name, setup(5, "one record", 1, 0))
        .contender(OURS, || started(OURS))
        .contender(KAFKA, || started(KAFKA))
        .figure(STARTED)
        .compare(STARTED, OURS, KAFKA, Aim::AtMost(1.0 / 50.0));
    row.run(bench.scale.pick(3, 1), bench.report);
}
