//! The queue against a broker that heeds numbers as Kafka's do, over a network that loses requests
//! and answers, and delivers some late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::batch::BatchBuilder;
use crate::transport::BatchSource;

const PATIENCE: Duration = Duration::from_secs(10);
const FRESH: Identity = Identity { id: 7, epoch: 0 };

#[derive(Debug, Clone)]
enum Op {
    /// A producer's batches of so many records: the first is submitted, those behind it are full.
    Submit(Vec<usize>),
    Send,
    /// The oldest request reaches the broker, which does this with it.
    Arrive(Whim),
    /// One of the answers under way comes in.
    Answer(usize),
    /// The connection breaks. So many of the requests on it still reach the broker, some time.
    Break(usize),
    /// The oldest of those does.
    ArriveLate,
    /// So many seconds pass.
    Wait(u64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Whim {
    Take,
    /// It takes it, and says that it is to be sent again: replicas were missing.
    TakeAndDoubt,
    /// It does not lead any more, for the moment.
    Decline,
    /// It never takes it.
    Refuse,
}

fn op() -> impl Strategy<Value = Op> {
    let whim = prop_oneof![
        12 => Just(Whim::Take),
        1 => Just(Whim::TakeAndDoubt),
        1 => Just(Whim::Decline),
        1 => Just(Whim::Refuse),
    ];
    prop_oneof![
        4 => prop::collection::vec(1..3usize, 1..4).prop_map(Op::Submit),
        8 => Just(Op::Send),
        8 => whim.prop_map(Op::Arrive),
        8 => (0..5usize).prop_map(Op::Answer),
        1 => (0..5usize).prop_map(Op::Break),
        1 => Just(Op::ArriveLate),
        1 => (1..8u64).prop_map(Op::Wait),
    ]
}

/// What became of which batch.
type Told = Arc<Mutex<Vec<(u64, Result<i64>)>>>;

/// What a producer has still to send, and what it was told: of the oldest first.
#[derive(Default)]
struct Producer {
    left: Mutex<VecDeque<(u64, BytesMut)>>,
    taken: Mutex<VecDeque<u64>>,
    told: Told,
    submits: Arc<Mutex<Vec<Arc<Producer>>>>,
}

impl BatchSource for Producer {
    fn records(&self) -> usize {
        1
    }

    fn bytes(&self) -> usize {
        1
    }

    fn take(&self) -> BytesMut {
        self.take_full().expect("it was submitted with a batch")
    }

    fn take_full(&self) -> Option<BytesMut> {
        let (tag, batch) = self.left.lock().unwrap().pop_front()?;
        self.taken.lock().unwrap().push_back(tag);
        Some(batch)
    }

    fn complete(self: Arc<Self>, _: BytesMut, result: Result<BatchMetadata>) {
        let tag = self.taken.lock().unwrap().pop_front().expect("a batch was taken");
        self.told.lock().unwrap().push((tag, result.map(|it| it.base_offset)));
        let has_more = !self.left.lock().unwrap().is_empty();
        if has_more && self.taken.lock().unwrap().is_empty() {
            self.submits.lock().unwrap().push(self.clone());
        }
    }
}

fn batch(tag: u64, records: usize) -> BytesMut {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for _ in 0..records {
        let value = tag.to_be_bytes();
        builder.push(0, None, Some(&value), &[]);
    }
    builder.finish()
}

/// The last record's value: only the number of headers comes behind it.
fn tag_of(batch: &[u8]) -> u64 {
    let value = &batch[batch.len() - 9..batch.len() - 1];
    u64::from_be_bytes(value.try_into().unwrap())
}

/// A partition's leader.
struct Broker {
    /// What it has appended; an offset is a place in here.
    log: Vec<u64>,
    epoch: i16,
    next: i32,
    /// The first number, how many, and where, of the last five batches.
    last: VecDeque<(i32, i32, i64)>,
}

impl Broker {
    fn take(&mut self, bytes: &[u8]) -> Fate {
        let header = BatchHeader::parse(bytes).unwrap();
        let (epoch, sequence) = (header.producer_epoch, header.base_sequence);
        if epoch < self.epoch {
            return Fate::Forgotten;
        }
        if epoch > self.epoch {
            if sequence != 0 {
                return Fate::OutOfSequence;
            }
            (self.epoch, self.next) = (epoch, 0);
            self.last.clear();
        }
        let of_it = |it: &&(i32, i32, i64)| (it.0, it.1) == (sequence, header.record_count);
        if let Some((_, _, base_offset)) = self.last.iter().find(of_it) {
            let (base_offset, log_append_time) = (*base_offset, None);
            return Fate::Appended(BatchMetadata { base_offset, log_append_time });
        }
        if sequence != self.next {
            return Fate::OutOfSequence;
        }
        let base_offset = self.log.len() as i64;
        self.log.push(tag_of(bytes));
        self.last.push_back((sequence, header.record_count, base_offset));
        if self.last.len() > MAX_SENT {
            self.last.pop_front();
        }
        self.next = after(sequence, header.record_count);
        Fate::Appended(BatchMetadata { base_offset, log_append_time: None })
    }
}

struct Model {
    queue: Queue,
    broker: Broker,
    now: Instant,
    /// Requests under way, and answers.
    requests: VecDeque<Outgoing>,
    answers: Vec<(u64, u64, Fate)>,
    late: VecDeque<Bytes>,
    tags: u64,
    told: Told,
    submits: Arc<Mutex<Vec<Arc<Producer>>>>,
    /// By the order in which they were taken: whether it is to be sent again.
    taken: Vec<(u64, bool)>,
    /// Under which epoch a batch was sent, and of which the broker may have it unsaid.
    epochs: BTreeMap<u64, i16>,
    in_doubt: BTreeSet<u64>,
    /// Something in doubt went out with new numbers: it may be there twice (KIP-360).
    excused: bool,
}

impl Model {
    fn new(first: i32) -> Self {
        let mut queue = Queue::new(TopicPartition::new("t", 0).unwrap(), TopicId([1; 16]));
        queue.next_sequence = first;
        let broker = Broker { log: Vec::new(), epoch: 0, next: first, last: VecDeque::new() };
        Model {
            queue,
            broker,
            now: Instant::now(),
            requests: VecDeque::new(),
            answers: Vec::new(),
            late: VecDeque::new(),
            tags: 0,
            told: Arc::default(),
            submits: Arc::default(),
            taken: Vec::new(),
            epochs: BTreeMap::new(),
            in_doubt: BTreeSet::new(),
            excused: false,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Submit(batches) => self.submit(&batches),
            Op::Send => drop(self.send()),
            Op::Arrive(whim) => self.arrive(whim),
            Op::Answer(which) => self.answer(which),
            Op::Break(late) => self.break_connection(late),
            Op::ArriveLate => {
                if let Some(bytes) = self.late.pop_front() {
                    self.broker.take(&bytes);
                }
            }
            Op::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.queue.give_up(self.now, "the test waits");
            }
        }
        self.tell();
        assert_eq!(self.queue.in_flight(), self.requests.len() + self.answers.len());
        assert!(self.queue.in_flight() <= MAX_SENT);
    }

    fn submit(&mut self, batches: &[usize]) {
        let mut left = VecDeque::new();
        for records in batches {
            self.tags += 1;
            left.push_back((self.tags, batch(self.tags, *records)));
        }
        let (told, submits) = (self.told.clone(), self.submits.clone());
        let producer = Producer { left: Mutex::new(left), told, submits, ..Producer::default() };
        self.queue.push(QueuedBatch::new(Arc::new(producer)), self.now, PATIENCE);
    }

    /// Whether there was something to send.
    fn send(&mut self) -> bool {
        let may_send = self.queue.may_send();
        let Some(outgoing) = self.queue.next(FRESH).unwrap() else { return false };
        assert!(may_send, "nobody would have asked for it");
        let tag = tag_of(&outgoing.bytes);
        let again = self.taken.iter().any(|(_, waits)| *waits);
        match self.taken.iter().position(|(it, _)| *it == tag) {
            Some(at) => {
                let first = self.taken.iter().position(|(_, waits)| *waits);
                assert_eq!(first, Some(at), "what is sent again goes in its order");
                self.taken[at].1 = false;
            }
            None => {
                assert!(!again, "something new is sent before what is to be sent again");
                self.taken.push((tag, false));
            }
        }
        let epoch = BatchHeader::parse(&outgoing.bytes).unwrap().producer_epoch;
        let former = self.epochs.insert(tag, epoch);
        let is_renumbered = former.is_some_and(|former| former != epoch);
        self.excused |= is_renumbered && self.in_doubt.contains(&tag);
        self.requests.push_back(outgoing);
        true
    }

    fn arrive(&mut self, whim: Whim) {
        let Some(Outgoing { key, bytes }) = self.requests.pop_front() else { return };
        let tag = tag_of(&bytes);
        let fate = match whim {
            Whim::Take => self.broker.take(&bytes),
            Whim::TakeAndDoubt => match self.broker.take(&bytes) {
                Fate::Appended(_) => {
                    self.in_doubt.insert(tag);
                    Fate::Again
                }
                other => other,
            },
            Whim::Decline => Fate::Again,
            Whim::Refuse => Fate::Failed(Error::InvalidState("refused".to_owned())),
        };
        self.answers.push((key, tag, fate));
    }

    fn answer(&mut self, which: usize) {
        if self.answers.is_empty() {
            return;
        }
        let (key, tag, fate) = self.answers.remove(which % self.answers.len());
        let waits = !matches!(fate, Fate::Appended(_) | Fate::Failed(_));
        self.taken.iter_mut().filter(|it| it.0 == tag).for_each(|it| it.1 = waits);
        let appended = matches!(fate, Fate::Appended(_));
        assert_eq!(self.queue.answered(key, fate), !appended);
        assert!(!self.queue.answered(key, Fate::Unknown), "nothing is answered twice");
        if !appended && self.queue.in_flight() > 0 {
            assert!(!self.queue.may_send() && self.queue.next(FRESH).unwrap().is_none());
        }
    }

    fn break_connection(&mut self, late: usize) {
        let requests = std::mem::take(&mut self.requests);
        self.late.extend(requests.iter().take(late).map(|it| it.bytes.clone()));
        let requests = requests.into_iter().map(|it| (it.key, tag_of(&it.bytes)));
        let answers = std::mem::take(&mut self.answers).into_iter().map(|it| (it.0, it.1));
        for (key, tag) in answers.chain(requests).collect::<Vec<_>>() {
            self.in_doubt.insert(tag);
            self.answers.push((key, tag, Fate::Unknown));
        }
        while !self.answers.is_empty() {
            self.answer(0);
        }
    }

    /// Whoever is told submits what it has got since.
    fn tell(&mut self) {
        self.queue.settled().into_iter().for_each(Settled::tell);
        for producer in std::mem::take(&mut *self.submits.lock().unwrap()) {
            self.queue.push(QueuedBatch::new(producer), self.now, PATIENCE);
        }
        let told = self.told.lock().unwrap();
        self.taken.retain(|(tag, _)| told.iter().all(|(it, _)| it != tag));
    }

    /// All goes well from now on.
    fn finish(&mut self) {
        for _ in 0..1000 {
            while self.send() {}
            while !self.requests.is_empty() {
                self.arrive(Whim::Take);
            }
            while !self.answers.is_empty() {
                self.answer(0);
                self.tell();
            }
            if self.queue.is_empty() {
                return;
            }
        }
        panic!("it does not come to an end");
    }

    fn check(&self) {
        let told = self.told.lock().unwrap();
        let tags: BTreeSet<u64> = told.iter().map(|(tag, _)| *tag).collect();
        assert_eq!((tags.len(), told.len()), (self.tags as usize, self.tags as usize), "each once");
        let mut last = -1;
        for (tag, result) in told.iter() {
            let Ok(offset) = result else { continue };
            assert_eq!(self.broker.log[*offset as usize], *tag, "acknowledged and not there");
            assert!(self.excused || *offset > last, "out of order");
            last = *offset;
        }
        let there: BTreeSet<u64> = self.broker.log.iter().copied().collect();
        assert!(self.excused || there.len() == self.broker.log.len(), "{:?}", self.broker.log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_acknowledged_is_there_once_and_in_order(
        ops in prop::collection::vec(op(), 0..120),
        wraps in any::<bool>(),
    ) {
        let mut model = Model::new(if wraps { i32::MAX - 5 } else { 0 });
        ops.into_iter().for_each(|op| model.apply(op));
        model.finish();
        model.check();
    }
}
