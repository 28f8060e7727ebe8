//! A broker and all who use it, through several lives.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ottla::storage::SimDisk;
use ottla::storage::sim::Fault;
use ottla::{
    Acks, Broker, Clock, Delivery, Durability, Error, ManualClock, Producer, TopicConfig, TopicId,
    TopicPartition,
};

use super::damage::{Damage, History};
use super::dice::Dice;
use super::disk::{Lie, Tap, Trace};
use super::faults::Kind;
use super::groups::{Ledger, Place};
use super::member::{HandedOut, Member};
use super::model::{Id, Topic};
use super::ops::Op;
use super::readers::Reader;
use super::tally::Tally;

/// After how many turns what is waited for never comes.
const PATIENCE: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Crash {
    /// The broker was shut down, and nothing happened since.
    None,
    Process,
    Power,
}

/// A name that topics have, one after the other.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) topic: Option<Topic>,
    /// What was asked for, and not answered, or answered by an error of a dying disk.
    pub(super) pending: Option<Change>,
    /// The ids of former lives.
    pub(super) former: Vec<TopicId>,
}

/// A change of the catalog.
#[derive(Debug)]
pub(super) enum Change {
    Create(Topic),
    Delete,
    Grow(usize),
    Alter(TopicConfig),
}

/// Where a record's acknowledgement is to go.
pub(super) struct Awaited {
    pub(super) delivery: Delivery,
    pub(super) topic: String,
    pub(super) life: u64,
    pub(super) id: Id,
    /// How many calls had failed when it was sent.
    pub(super) since: usize,
    /// Its partition takes no more.
    pub(super) doomed: bool,
}

pub(super) struct World {
    pub(super) kind: Kind,
    pub(super) dice: Dice,
    pub(super) disk: SimDisk,
    pub(super) trace: Trace,
    pub(super) lie: Option<Lie>,
    pub(super) clock: ManualClock,
    pub(super) tally: Arc<Tally>,
    /// The broker, and all that ends with it.
    pub(super) broker: Option<Broker>,
    pub(super) producers: Vec<Producer>,
    pub(super) awaited: Vec<Awaited>,
    pub(super) ops: Vec<Op>,
    /// What is to be there.
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) ledger: Ledger,
    pub(super) readers: Vec<Reader>,
    /// The members of a group that shares partitions.
    pub(super) members: Vec<Member>,
    pub(super) handed_out: HandedOut,
    pub(super) next_id: Id,
    pub(super) next_life: u64,
    /// What the groups' topic promises.
    pub(super) offsets: Durability,
    /// The number of the last call before the disk dies.
    pub(super) death: u64,
    opens: u64,
    /// How many calls had failed when the broker began to open.
    pub(super) opened_at: usize,
    /// And by the time of the last crash.
    pub(super) crashed_at: usize,
    /// The disk has little room, or none.
    pub(super) is_full: bool,
    /// What was damaged since the broker was open last.
    pub(super) damage: Vec<Damage>,
    /// What was damaged of each partition at any time, by folder.
    pub(super) history: BTreeMap<String, History>,
    /// Something was damaged at some time.
    pub(super) is_damaged: bool,
    /// How often it was tried to open the broker since it was open last.
    pub(super) attempts: u64,
    /// Partitions that have said that they take no more.
    pub(super) read_only: BTreeSet<Place>,
    /// The broker was asked to shut down, and not opened since: it may have come to its end.
    pub(super) shut: bool,
    seed: u64,
}

impl World {
    pub(super) fn new(seed: u64, lie: Option<Lie>, tally: &Arc<Tally>) -> Self {
        let mut dice = Dice::new(seed);
        let names = ["a", "b", "c", "d"];
        let slots = names.iter().map(|name| (name.to_string(), Slot::default())).collect();
        let offsets = dice.pick(&[Durability::Process, Durability::Power]);
        let kinds = [Kind::Crashes, Kind::Crashes, Kind::Crashes, Kind::Faults, Kind::Faults];
        let kind = if dice.one_in(6) { Kind::Damage } else { dice.pick(&kinds) };
        World {
            kind,
            dice,
            disk: SimDisk::new(seed),
            trace: Trace::new(),
            lie,
            clock: Clock::manual(),
            tally: tally.clone(),
            broker: None,
            producers: Vec::new(),
            awaited: Vec::new(),
            ops: Vec::new(),
            slots,
            ledger: Ledger::default(),
            readers: Vec::new(),
            next_id: 1,
            next_life: 1,
            offsets,
            death: u64::MAX,
            opens: 0,
            opened_at: 0,
            crashed_at: 0,
            is_full: false,
            damage: Vec::new(),
            history: BTreeMap::new(),
            is_damaged: false,
            attempts: 0,
            read_only: BTreeSet::new(),
            shut: false,
            seed,
            members: Vec::new(),
            handed_out: HandedOut::default(),
        }
    }

    /// Lives `lives` times. What it ends with is the trace's number.
    pub(super) fn play(mut self, lives: u64) -> u64 {
        let mut crash = Crash::None;
        for life in 0..lives {
            let worst = self.crash_while_opening(crash);
            crash = run(async |world| world.live(worst, life > 0).await, &mut self);
            if self.is_catalog_damaged() {
                // What is there now can't be known any more.
                return self.end();
            }
            self.perhaps_damage();
        }
        run(async |world| world.finish_well(crash).await, &mut self);
        self.end()
    }

    fn end(mut self) -> u64 {
        self.tally.seeds.add(1);
        self.tally.faults.add(self.failures() as u64);
        self.note(|| "end".to_owned());
        self.trace.number()
    }

    /// Opens, and dies of it, a few times or not at all. Returns the worst crash in a row.
    fn crash_while_opening(&mut self, crash: Crash) -> Crash {
        let mut worst = crash;
        while self.dice.one_in(3) {
            let within = self.dice.pick(&[10, 60, 300]);
            self.plan_death(within);
            self.plan_trouble_while_opening();
            let opened = run(async |world| world.open().await, self);
            if let Err(error) = opened {
                self.check_open_failed(&error);
                self.tally.opening.add(1);
            }
            self.calm();
            worst = worst.max(self.crash());
        }
        worst
    }

    async fn live(&mut self, worst: Crash, again: bool) -> Crash {
        self.calm();
        self.plan_trouble_while_opening();
        if let Err(error) = self.open().await {
            self.check_open_failed(&error);
            self.calm();
            let opened = self.open().await;
            opened.unwrap_or_else(|error| panic!("open fails after a crash: {error}"));
        }
        self.calm();
        if self.is_catalog_damaged() {
            self.check_without_catalog(worst).await;
            assert!(self.shut_down().await, "it can't be shut down");
            return Crash::None;
        }
        self.check_all(worst).await;
        if again && self.dice.one_in(6) {
            // Nothing is done: what was served must be there after any crash.
            return self.crash();
        }
        self.make_producers();
        self.resume_readers().await;
        if !self.dice.one_in(10) {
            let within = self.dice.pick(&[30, 150, 600]);
            self.plan_death(within);
        }
        self.work().await;
        if !self.is_dead() && self.kind == Kind::Faults && self.dice.one_in(2) {
            self.check_recovers().await;
        }
        if !self.is_dead() && self.dice.one_in(4) && self.shut_down().await {
            // A sync that failed may have been one of the shutdown's: see `crash`.
            let ends_well = self.dice.one_in(2) && !self.hides_a_failed_sync();
            return if ends_well { Crash::None } else { self.crash() };
        }
        self.crash()
    }

    /// Whether it came to its end.
    async fn shut_down(&mut self) -> bool {
        self.note(|| "shutdown".to_owned());
        self.shut = true;
        let broker = self.broker.clone().expect("it is open");
        let done = patiently(broker.shutdown()).await;
        self.settle(5).await;
        match done {
            Ok(()) if !self.is_dead() => {
                // All is durable, whatever was promised.
                if !self.is_troubled(&[]) {
                    self.all_is_durable();
                }
                true
            }
            Ok(()) => false,
            Err(error) => {
                self.excuse("shutting down", &error, &[], 0);
                !self.is_dead()
            }
        }
    }

    /// At the end all is well: a clean shutdown changes nothing.
    async fn finish_well(&mut self, worst: Crash) {
        self.calm();
        let opened = self.open().await;
        opened.unwrap_or_else(|error| panic!("the last open fails: {error}"));
        if self.is_catalog_damaged() {
            return self.check_without_catalog(worst).await;
        }
        self.check_all(worst).await;
        assert!(self.shut_down().await, "the last shutdown fails");
        self.drop_all();
        let opened = self.open().await;
        opened.unwrap_or_else(|error| panic!("open fails after a shutdown: {error}"));
        let report = self.broker().recovery_report().expect("it is on a disk");
        assert!(report.clean_shutdown, "a shutdown is not clean: {report:?}");
        self.check_all(Crash::None).await;
        self.drop_all();
    }

    async fn open(&mut self) -> Result<(), Error> {
        self.opens += 1;
        self.attempts += 1;
        self.opened_at = self.failures();
        self.read_only.clear();
        let defaults = TopicConfig::new().durability(self.offsets);
        let builder = Broker::builder()
            .clock(self.clock.clone())
            .auto_create_topics(false)
            .topic_defaults(defaults)
            .id_seed(self.seed.wrapping_mul(1_000_003).wrapping_add(self.opens));
        let tap = Tap::new(&self.disk, &self.trace, self.lie);
        let opened = builder.open_on(Arc::new(tap)).await;
        self.note(|| format!("opened: {:?}", opened.as_ref().map(|it| it.recovery_report())));
        self.broker = Some(opened?);
        Ok(())
    }

    fn plan_trouble_while_opening(&mut self) {
        if self.kind == Kind::Faults && self.dice.one_in(3) {
            let faults = [Fault::Eio, Fault::ShortWrite, Fault::SyncFailsOnce, Fault::Enospc];
            let within = self.dice.pick(&[10, 60, 200]);
            self.fail_within(within, &faults);
        }
    }

    fn check_open_failed(&self, error: &Error) {
        let explained = self.is_dead() || self.is_troubled(&[]);
        assert!(explained, "open fails without a reason: {error}");
        assert!(!error.to_string().contains("panic"), "open: {error}");
        self.tally.failed_opens.add(u64::from(!self.is_dead()));
    }

    fn plan_death(&mut self, within: u64) {
        let calls = self.dice.below(within);
        self.death = self.disk.calls() + calls;
        self.disk.crash_after(calls);
        self.note(|| format!("dies after {calls} calls"));
    }

    pub(super) fn is_dead(&self) -> bool {
        self.disk.calls() > self.death
    }

    fn crash(&mut self) -> Crash {
        let any = self.dice.pick(&[Crash::Process, Crash::Power]);
        let crash = if self.hides_a_failed_sync() { Crash::Power } else { any };
        self.crashed_at = self.failures();
        let dead = self.is_dead();
        self.tally.crashed(crash, dead);
        self.note(|| format!("crash: {crash:?}, dead already: {dead}"));
        match crash {
            Crash::Power => {
                self.disk.crash_power();
                self.power_went();
            }
            Crash::Process | Crash::None => self.disk.crash_process(),
        }
        self.calm();
        self.is_full = false;
        crash
    }

    fn make_producers(&mut self) {
        let broker = self.broker();
        let linger = std::time::Duration::from_secs(5);
        self.producers = vec![
            broker.producer().acks(Acks::None).build(),
            broker.producer().acks(Acks::Leader).linger(linger).batch_size(400).build(),
            broker.producer().acks(Acks::All).batch_size(600).build(),
        ];
    }

    pub(super) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it is open")
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.wall().as_millis()
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        let text = text();
        self.trace.add(text.as_bytes());
        super::note(text);
    }

    /// Lets everybody else have turns, and takes in what has come of it.
    pub(super) async fn settle(&mut self, turns: usize) {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        self.collect();
    }

    /// All that ends with the process.
    fn drop_all(&mut self) {
        self.ops.clear();
        self.awaited.clear();
        self.producers.clear();
        self.members.clear();
        self.handed_out = HandedOut::default();
        self.readers.iter_mut().for_each(Reader::stop);
        self.broker = None;
    }
}

/// A partition.
pub(super) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition).expect("it is a topic's name")
}

/// Runs a part of a life on a runtime of its own, with which all of its tasks end. It has neither
/// a timer nor other threads: nothing depends on how fast anything is.
fn run<T>(part: impl AsyncFnOnce(&mut World) -> T, world: &mut World) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs nothing");
    let result = runtime.block_on(part(world));
    if world.dice.one_in(2) {
        world.drop_all();
        drop(runtime);
    } else {
        drop(runtime);
        world.drop_all();
    }
    result
}

/// What a future comes to; a panic if it never does.
pub(super) async fn patiently<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..PATIENCE {
        if let Poll::Ready(output) = look(future.as_mut()) {
            return output;
        }
        tokio::task::yield_now().await;
    }
    panic!("it hangs");
}

/// Polls a future once; whoever does so comes again without being woken.
pub(super) fn look<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
