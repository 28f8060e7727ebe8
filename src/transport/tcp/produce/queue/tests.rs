//! The queue against a broker that heeds numbers as Kafka's do, over a network that loses requests
//! and answers, and delivers some late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::batch::BatchBuilder;
use crate::transport::BatchSource;

const PATIENCE: Duration = Duration::from_secs(10);
const FRESH: ProducerId = ProducerId { id: 7, epoch: 0 };

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
    /// From now on the broker takes batches of so many bytes at most.
    Limit(usize),
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
        4 => prop::collection::vec(1..6usize, 1..4).prop_map(Op::Submit),
        8 => Just(Op::Send),
        8 => whim.prop_map(Op::Arrive),
        8 => (0..5usize).prop_map(Op::Answer),
        1 => (0..5usize).prop_map(Op::Break),
        1 => Just(Op::ArriveLate),
        1 => prop_oneof![Just(61), Just(80), Just(110), Just(usize::MAX)].prop_map(Op::Limit),
        1 => (1..8u64).prop_map(Op::Wait),
    ]
}

/// A batch's number, and which of its records.
type Id = (u64, usize);

/// What became of which record.
type Answers = Arc<Mutex<Vec<(Id, Result<i64>)>>>;

/// What a producer has still to send, and what it was told: of the oldest first.
#[derive(Default)]
struct Producer {
    left: Mutex<VecDeque<(u64, usize)>>,
    taken: Mutex<VecDeque<(u64, usize)>>,
    told: Answers,
    submits: Arc<Mutex<Vec<Arc<Producer>>>>,
}

impl Producer {
    fn complete_with(self: Arc<Self>, results: impl Fn(usize) -> Vec<Result<i64>>) {
        let (tag, records) = self.taken.lock().unwrap().pop_front().expect("a batch was taken");
        let results = results(records);
        assert_eq!(results.len(), records);
        let told = (0..).zip(results).map(|(index, result)| ((tag, index), result));
        self.told.lock().unwrap().extend(told);
        let has_more = !self.left.lock().unwrap().is_empty();
        if has_more && self.taken.lock().unwrap().is_empty() {
            self.submits.lock().unwrap().push(self.clone());
        }
    }
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
        let (tag, records) = self.left.lock().unwrap().pop_front()?;
        self.taken.lock().unwrap().push_back((tag, records));
        Some(batch(tag, records))
    }

    fn complete(self: Arc<Self>, _: BytesMut, result: Result<BatchMetadata>) {
        self.complete_with(|records| offsets(records, &result));
    }

    fn complete_in_parts(self: Arc<Self>, whole: BytesMut, parts: Vec<BatchPart>) {
        assert!(parts.len() > 1);
        let tag = self.taken.lock().unwrap()[0];
        assert_eq!(ids(&whole), (0..tag.1).map(|index| (tag.0, index)).collect::<Vec<_>>());
        self.complete_with(|_| {
            parts.iter().flat_map(|it| offsets(it.records as usize, &it.result)).collect()
        });
    }
}

fn offsets(records: usize, result: &Result<BatchMetadata>) -> Vec<Result<i64>> {
    (0..records as i64).map(|n| result.clone().map(|it| it.base_offset + n)).collect()
}

fn batch(tag: u64, records: usize) -> BytesMut {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for index in 0..records {
        builder.push(0, Some(&tag.to_be_bytes()), Some(&[index as u8]), &[]);
    }
    builder.finish()
}

fn ids(bytes: &[u8]) -> Vec<Id> {
    let batch = Batch::parse(Bytes::copy_from_slice(bytes)).unwrap();
    let id = |view: crate::batch::RecordView<'_>| {
        let tag = u64::from_be_bytes(view.key.unwrap().try_into().unwrap());
        (tag, usize::from(view.value.unwrap()[0]))
    };
    batch.records().map(|view| id(view.unwrap())).collect()
}

/// A partition's leader.
struct Broker {
    /// What it has appended; an offset is a place in here.
    log: Vec<Id>,
    limit: usize,
    /// Of what it knows of the producer: the epoch, and the next number.
    producer: Option<(i16, i32)>,
    /// The first number, how many, and where, of the last five batches.
    last: VecDeque<(i32, i32, i64)>,
}

impl Broker {
    fn take(&mut self, bytes: &[u8]) -> Fate {
        let header = BatchHeader::parse(bytes).unwrap();
        let (epoch, sequence) = (header.producer_epoch, header.base_sequence);
        if bytes.len() > self.limit {
            return Fate::TooLarge(Error::InvalidState("too large".to_owned()));
        }
        // Of whom it does not know it takes any number.
        let (known, mut next) = self.producer.unwrap_or((epoch, sequence));
        if epoch < known {
            return Fate::Forgotten;
        }
        if epoch > known {
            if sequence != 0 {
                return Fate::OutOfSequence;
            }
            next = 0;
            self.last.clear();
        }
        let of_it = |it: &&(i32, i32, i64)| (it.0, it.1) == (sequence, header.record_count);
        if let Some((_, _, base_offset)) = self.last.iter().find(of_it) {
            let (base_offset, log_append_time) = (*base_offset, None);
            return Fate::Appended(BatchMetadata { base_offset, log_append_time });
        }
        if sequence != next {
            return Fate::OutOfSequence;
        }
        let base_offset = self.log.len() as i64;
        self.log.extend(ids(bytes));
        self.last.push_back((sequence, header.record_count, base_offset));
        if self.last.len() > MAX_IN_FLIGHT {
            self.last.pop_front();
        }
        self.producer = Some((epoch, after(sequence, header.record_count)));
        Fate::Appended(BatchMetadata { base_offset, log_append_time: None })
    }
}

struct Model {
    queue: Queue,
    broker: Broker,
    now: Instant,
    /// Requests under way, and answers.
    requests: VecDeque<Outgoing>,
    answers: Vec<(Outgoing, Fate)>,
    late: VecDeque<Bytes>,
    tags: u64,
    records: usize,
    told: Answers,
    submits: Arc<Mutex<Vec<Arc<Producer>>>>,
    /// By the order in which they were sent first: whether it is to be sent again.
    sent: Vec<(Id, bool)>,
    /// Under which epoch a record was sent, and of which the broker may have it unsaid.
    epochs: BTreeMap<Id, i16>,
    in_doubt: BTreeSet<Id>,
    /// Something in doubt went out with new numbers: it may be there twice (KIP-360).
    excused: bool,
}

impl Model {
    fn new(first: i32) -> Self {
        let mut queue = Queue::new(TopicPartition::new("t", 0).unwrap(), TopicId([1; 16]));
        queue.next_sequence = first;
        let (log, last) = (Vec::new(), VecDeque::new());
        Model {
            queue,
            broker: Broker { log, limit: usize::MAX, producer: None, last },
            now: Instant::now(),
            requests: VecDeque::new(),
            answers: Vec::new(),
            late: VecDeque::new(),
            tags: 0,
            records: 0,
            told: Arc::default(),
            submits: Arc::default(),
            sent: Vec::new(),
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
            Op::Limit(bytes) => self.broker.limit = bytes,
            Op::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.queue.give_up(self.now, "the test waits");
            }
        }
        self.tell();
        assert_eq!(self.queue.in_flight(), self.requests.len() + self.answers.len());
        assert!(self.queue.in_flight() <= MAX_IN_FLIGHT);
    }

    fn submit(&mut self, batches: &[usize]) {
        let mut left = VecDeque::new();
        for records in batches {
            self.tags += 1;
            self.records += records;
            left.push_back((self.tags, *records));
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
        let epoch = BatchHeader::parse(&outgoing.bytes).unwrap().producer_epoch;
        for id in ids(&outgoing.bytes) {
            let first = self.sent.iter().position(|(_, waits)| *waits);
            match self.sent.iter().position(|(it, _)| *it == id) {
                Some(at) => {
                    assert_eq!(first, Some(at), "what is sent again goes in its order");
                    self.sent[at].1 = false;
                }
                None => {
                    assert_eq!(first, None, "something new goes before what goes again");
                    self.sent.push((id, false));
                }
            }
            let former = self.epochs.insert(id, epoch);
            let is_renumbered = former.is_some_and(|former| former != epoch);
            self.excused |= is_renumbered && self.in_doubt.contains(&id);
        }
        self.requests.push_back(outgoing);
        true
    }

    fn arrive(&mut self, whim: Whim) {
        let Some(request) = self.requests.pop_front() else { return };
        let fate = match whim {
            Whim::Take => self.broker.take(&request.bytes),
            Whim::TakeAndDoubt => match self.broker.take(&request.bytes) {
                Fate::Appended(_) => {
                    self.in_doubt.extend(ids(&request.bytes));
                    Fate::Again
                }
                other => other,
            },
            Whim::Decline => Fate::Again,
            Whim::Refuse => Fate::Failed(Error::InvalidState("refused".to_owned())),
        };
        self.answers.push((request, fate));
    }

    fn answer(&mut self, which: usize) {
        if self.answers.is_empty() {
            return;
        }
        let (Outgoing { key, bytes }, fate) = self.answers.remove(which % self.answers.len());
        let appended = matches!(fate, Fate::Appended(_));
        let is_final = appended || matches!(fate, Fate::Failed(_));
        let is_too_large = matches!(fate, Fate::TooLarge(_));
        let has_failed = self.queue.answered(key, fate);
        assert!(is_too_large || has_failed != appended);
        // What is too large goes again in parts, or not at all.
        let waits = !(is_final || is_too_large && has_failed);
        let ids = ids(&bytes);
        self.sent.iter_mut().filter(|it| ids.contains(&it.0)).for_each(|it| it.1 = waits);
        assert!(!self.queue.answered(key, Fate::Unknown), "nothing is answered twice");
        if !appended && self.queue.in_flight() > 0 {
            assert!(!self.queue.may_send() && self.queue.next(FRESH).unwrap().is_none());
        }
    }

    fn break_connection(&mut self, late: usize) {
        let requests = std::mem::take(&mut self.requests);
        self.late.extend(requests.iter().take(late).map(|it| it.bytes.clone()));
        let answers = std::mem::take(&mut self.answers).into_iter().map(|(request, _)| request);
        for request in answers.chain(requests).collect::<Vec<_>>() {
            self.in_doubt.extend(ids(&request.bytes));
            self.answers.push((request, Fate::Unknown));
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
        self.sent.retain(|(id, _)| told.iter().all(|(it, _)| it != id));
    }

    /// All goes well from now on.
    fn finish(&mut self) {
        self.broker.limit = usize::MAX;
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
        let ids: BTreeSet<Id> = told.iter().map(|(id, _)| *id).collect();
        assert_eq!((ids.len(), told.len()), (self.records, self.records), "each once");
        let mut last = -1;
        for (id, result) in told.iter() {
            let Ok(offset) = result else { continue };
            assert_eq!(self.broker.log[*offset as usize], *id, "acknowledged and not there");
            assert!(self.excused || *offset > last, "out of order");
            last = *offset;
        }
        let there: BTreeSet<Id> = self.broker.log.iter().copied().collect();
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

/// One batch after another, sent and answered.
struct Sender(Queue);

impl Sender {
    fn new(batches: &[usize]) -> Self {
        let mut queue = Queue::new(TopicPartition::new("t", 0).unwrap(), TopicId([1; 16]));
        for batch in (1..).zip(batches.iter().copied()) {
            let left = Mutex::new(VecDeque::from([batch]));
            let producer = Producer { left, ..Producer::default() };
            queue.push(QueuedBatch::new(Arc::new(producer)), Instant::now(), PATIENCE);
        }
        Sender(queue)
    }

    /// The records of the next batch.
    fn meets(&mut self, fate: Fate) -> Vec<Id> {
        let Outgoing { key, bytes } = self.0.next(FRESH).unwrap().expect("there is a batch");
        self.0.answered(key, fate);
        ids(&bytes)
    }
}

fn too_large() -> Fate {
    Fate::TooLarge(Error::InvalidState("too large".to_owned()))
}

fn appended() -> Fate {
    Fate::Appended(BatchMetadata { base_offset: 0, log_append_time: None })
}

#[test]
fn what_is_too_large_goes_in_parts_and_what_comes_behind_it_does_so_at_once() {
    let mut sender = Sender::new(&[8, 8]);
    assert_eq!(sender.meets(too_large()).len(), 8);
    assert_eq!(sender.meets(too_large()), (0..4).map(|n| (1, n)).collect::<Vec<_>>());
    for part in [0..2, 2..4, 4..6, 6..8] {
        let part: Vec<_> = part.map(|n| (1, n)).collect();
        assert_eq!(sender.meets(appended()), part);
    }
    assert_eq!(sender.0.settled().len(), 1);
    for part in [0..2, 2..4, 4..6, 6..8] {
        let part: Vec<_> = part.map(|n| (2, n)).collect();
        assert_eq!(sender.meets(appended()), part);
    }
    assert_eq!(sender.0.settled().len(), 1);
    assert!(sender.0.is_empty());
}

#[test]
fn a_record_that_is_too_large_fails_alone() {
    let mut sender = Sender::new(&[2]);
    sender.meets(too_large());
    assert_eq!(sender.meets(too_large()), [(1, 0)]);
    assert_eq!(sender.meets(appended()), [(1, 1)]);
    let settled = sender.0.settled();
    let Told::InParts(parts) = &settled[0].fate else { panic!("it went in parts") };
    assert_eq!(parts.iter().map(|it| it.result.is_ok()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn what_may_be_there_does_not_go_in_parts() {
    let mut sender = Sender::new(&[8]);
    sender.meets(Fate::Unknown);
    sender.meets(too_large());
    let settled = sender.0.settled();
    assert!(matches!(settled[0].fate, Told::Whole(Err(_))), "it might have been there twice");
}
