//! One partition: the actor that owns its log, and the handle that everybody else holds.
//!
//! The actor is the log's single writer. It is started at the first command, leaves the log in the
//! handle whenever it has nothing to do, and ends when idle. Reads never pass through it: they use
//! the log's shared part, and wait in [`ready`] for the high watermark to rise. Where the log is in
//! the handle, a sender who waits for the answer appends by itself what needs no disk, but for a
//! short write to the page cache: [`Partition::append_awaited`].
//!
//! Invariants:
//! * A command accepted is answered: if the actor's task ends for whatever reason, completions
//!   and answers run with `Closed`.
//! * Appends of one sender are appended, acknowledged and made visible in the order sent.

mod actor;
pub(crate) mod panics;
pub(crate) mod ready;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::Instrument;

use crate::batch::Batch;
use crate::clock::Clock;
use crate::error::{Error, Result};
#[cfg(feature = "tcp")]
use crate::log::FileRange;
use crate::log::{Append, Appended, Hold, Log, LogConfig, LogReader, ReadCursor, ReadError};
use crate::record::{Timestamp, TimestampType};
use crate::topic::TopicPartition;

use actor::Actor;
use panics::{Ended, caught, told_by};
use ready::{ReadyQueue, Waiters};

/// Commands that may wait for one partition's actor.
const MAILBOX: usize = 1024;

/// What all partitions of a broker share.
#[derive(Debug)]
pub(crate) struct PartitionContext {
    /// Where actors run.
    pub(crate) runtime: Handle,
    pub(crate) clock: Clock,
    /// How many calls may wait for the disk at once.
    pub(crate) io: Arc<Semaphore>,
    pub(crate) memory: MemoryBell,
    /// Whether the broker's disk is simulated. Then nothing is left to other threads, not even
    /// what may take long: the same seed has to make the same calls in the same order.
    pub(crate) simulated: bool,
}

impl PartitionContext {
    /// The time of an append, for a log that wants to know it: for its records, or for how young
    /// the bytes in a file are.
    fn time_for(&self, log: &Log) -> Timestamp {
        match log.config().timestamp_type {
            TimestampType::CreateTime if log.is_volatile() => Timestamp::NONE,
            _ => self.clock.wall(),
        }
    }
}

/// Rung when memory may have been freed, for appends that wait for it under `Block`.
#[derive(Debug, Default)]
pub(crate) struct MemoryBell {
    /// How many partitions have appends that wait.
    waiting: AtomicUsize,
    rings: watch::Sender<u64>,
}

impl MemoryBell {
    pub(crate) fn ring(&self) {
        // Either this sees that someone waits, or who begins to wait sees what was freed.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.rings.send_modify(|rings| *rings += 1);
        }
    }
}

/// How far a reader has come, for as long as it reads: under `Block` the memory that it has not
/// passed yet is not freed.
#[derive(Debug)]
pub(crate) struct ReaderPosition {
    position: Arc<AtomicI64>,
    context: Arc<PartitionContext>,
}

impl ReaderPosition {
    pub(crate) fn advance(&self, offset: i64) {
        self.position.store(offset, Ordering::Release);
        self.context.memory.ring();
    }
}

impl Drop for ReaderPosition {
    fn drop(&mut self) {
        self.advance(i64::MAX);
    }
}

/// Records that are kept until they are not needed any more: see [`LogReader::hold`].
#[derive(Debug)]
pub(crate) struct PartitionHold {
    hold: Hold,
    context: Arc<PartitionContext>,
}

impl PartitionHold {
    /// What stands before `offset` is not needed any more.
    pub(crate) fn advance(&self, offset: i64) {
        self.hold.advance(offset);
        self.context.memory.ring();
    }
}

/// A handle to one partition. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Partition(Arc<Inner>);

struct Inner {
    at: TopicPartition,
    /// Whether reads may wait for a disk.
    may_block: bool,
    /// Whether appends wait for readers when memory is used up.
    waits_for_readers: bool,
    reader: LogReader,
    shared: Arc<Shared>,
    place: Mutex<Place>,
    context: Arc<PartitionContext>,
    /// See [`Partition::compacting`].
    compacting: Arc<tokio::sync::Mutex<()>>,
}

/// What the actor and the handles both touch, without keeping each other alive.
#[derive(Debug, Default)]
struct Shared {
    waiters: Waiters,
    /// Set once the partition is closed for good.
    closed: OnceLock<Ended>,
}

/// Where the log is.
enum Place {
    /// Here, with no actor.
    Idle(Box<Log>),
    /// Here, while the actor waits for commands. It gets the log in front of the next.
    Resting(Box<Log>, mpsc::Sender<Command>),
    /// With the actor at the other end.
    Running(mpsc::Sender<Command>),
    /// Nowhere: the actor moves between the states, or the partition is closed.
    Gone,
}

/// What the actor is asked to do.
enum Command {
    /// The log, which was in the handle.
    Resume(Box<Log>),
    Append(QueuedBatch),
    /// Anything else: runs on the log, between appends.
    Run(Work),
    /// Makes everything durable, if that is to be kept, and ends.
    Close {
        reason: Arc<str>,
        keeps: bool,
        done: oneshot::Sender<Result<()>>,
    },
}

/// Work on the log; what it panicked with, after those who wait were told.
type Work = Box<dyn FnOnce(&mut Log) -> std::result::Result<(), Arc<str>> + Send>;

/// Where a submitted batch now stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchMetadata {
    pub(crate) base_offset: i64,
    /// The broker's time, if the topic's timestamps are LogAppendTime.
    pub(crate) log_append_time: Option<Timestamp>,
}

/// Records of a batch that were sent on their own, and what became of them.
#[derive(Debug, Clone)]
pub(crate) struct BatchPart {
    pub(crate) records: i32,
    pub(crate) bytes: usize,
    pub(crate) result: Result<BatchMetadata>,
}

impl From<Appended> for BatchMetadata {
    fn from(appended: Appended) -> Self {
        let Appended { base_offset, log_append_time, .. } = appended;
        BatchMetadata { base_offset, log_append_time }
    }
}

/// Where a batch comes from, and where its answer goes. It is taken at the last moment, so that
/// it can be filled for as long as it waits.
pub(crate) trait BatchSource: Send + Sync {
    /// How many records wait: those of the batch, and of what follows it.
    fn records(&self) -> usize;

    /// How many bytes the batch would have if it were taken now.
    fn bytes(&self) -> usize;

    /// Closes the batch and hands it over.
    fn take(&self) -> BytesMut;

    /// Hands over the next batch, if it is full. All that are taken are told their fate.
    fn take_full(&self) -> Option<BytesMut> {
        None
    }

    /// The fate of the oldest batch taken. It comes back, so that its buffer can be used again; its
    /// content is unspecified after a success, and it is empty where it was lost.
    fn complete(self: Arc<Self>, batch: BytesMut, result: Result<BatchMetadata>);

    /// The same, where it was sent in parts: the fate of each, in the order of their records.
    #[cfg_attr(not(feature = "tcp"), expect(dead_code, reason = "a log takes a batch whole"))]
    fn complete_in_parts(self: Arc<Self>, batch: BytesMut, parts: Vec<BatchPart>) {
        // A source that sends no parts is told of the first that failed, or of the first.
        let results = parts.into_iter().map(|part| part.result);
        let result = results.reduce(|told, next| told.and_then(|first| next.map(|_| first)));
        self.complete(batch, result.unwrap_or_else(|| Err(Error::closed(ENDED))));
    }
}

/// What has batches that wait for something else than their turn.
#[async_trait]
pub(crate) trait Buffered: Send + Sync {
    /// Submits them.
    fn submit_all(&self);

    /// Submits them, and waits until the fate of each is known.
    async fn flush(&self);
}

/// A batch that waits to be taken. Dropped, it is taken and fails with `Closed`.
pub(crate) struct QueuedBatch(Option<Arc<dyn BatchSource>>);

impl QueuedBatch {
    pub(crate) fn new(source: Arc<dyn BatchSource>) -> Self {
        QueuedBatch(Some(source))
    }

    fn records(&self) -> usize {
        self.0.as_ref().map_or(0, |source| source.records())
    }

    fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |source| source.bytes())
    }

    pub(crate) fn take(mut self) -> (BytesMut, Completion) {
        // First the answer's owner: should taking panic, the answer is still given.
        let completion = Completion(self.0.take());
        let batch = completion.0.as_ref().map(|source| source.take()).unwrap_or_default();
        (batch, completion)
    }

    pub(crate) fn fail(self, error: Error) {
        let (batch, completion) = self.take();
        completion.run(batch, Err(error));
    }
}

impl Drop for QueuedBatch {
    fn drop(&mut self) {
        if let Some(source) = self.0.take() {
            QueuedBatch::new(source).fail(Error::closed(ENDED));
        }
    }
}

/// The answer that a taken batch is owed. Dropped, it is `Closed` with an empty batch: a panicking
/// or ended task leaves no one waiting.
pub(crate) struct Completion(Option<Arc<dyn BatchSource>>);

impl Completion {
    /// The next batch of the same source, if it is full already.
    pub(crate) fn take_full(&self) -> Option<(BytesMut, Completion)> {
        let source = self.0.as_ref()?;
        Some((source.take_full()?, Completion(Some(source.clone()))))
    }

    pub(crate) fn run(mut self, batch: BytesMut, result: Result<BatchMetadata>) {
        if let Some(source) = self.0.take() {
            source.complete(batch, result);
        }
    }

    #[cfg(any(test, feature = "tcp"))]
    pub(crate) fn run_in_parts(mut self, batch: BytesMut, parts: Vec<BatchPart>) {
        if let Some(source) = self.0.take() {
            source.complete_in_parts(batch, parts);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(source) = self.0.take() {
            source.complete(BytesMut::new(), Err(Error::closed(ENDED)));
        }
    }
}

/// A batch that is ready when it is queued, for callers that wait for its one answer.
struct OneBatch {
    batch: Mutex<BytesMut>,
    answer: Mutex<Option<oneshot::Sender<Answer>>>,
}

/// What became of a batch, and its bytes, which nobody needs any more.
pub(crate) type Answer = (Result<BatchMetadata>, BytesMut);

impl BatchSource for OneBatch {
    fn records(&self) -> usize {
        1
    }

    fn bytes(&self) -> usize {
        self.batch.lock().expect("no one panics with the batch in hand").len()
    }

    fn take(&self) -> BytesMut {
        std::mem::take(&mut *self.batch.lock().expect("no one panics with the batch in hand"))
    }

    fn complete(self: Arc<Self>, batch: BytesMut, result: Result<BatchMetadata>) {
        let answer = self.answer.lock().expect("no one panics with the answer in hand").take();
        // Whoever asked may have gone.
        answer.map(|answer| answer.send((result, batch)).is_ok());
    }
}

/// A batch on its own, and where its fate is told.
fn one(batch: BytesMut) -> (QueuedBatch, oneshot::Receiver<Answer>) {
    let (answer, answered) = oneshot::channel();
    let one = OneBatch { batch: Mutex::new(batch), answer: Mutex::new(Some(answer)) };
    (QueuedBatch::new(Arc::new(one)), answered)
}

/// Why a task is gone that nobody asked to end.
pub(crate) const ENDED: &str = "the broker's runtime has ended, or one of its tasks has panicked";

impl Partition {
    /// Takes over an opened log.
    pub(crate) fn new(at: TopicPartition, mut log: Log, context: Arc<PartitionContext>) -> Self {
        log.note_time(context.clock.wall());
        Partition(Arc::new(Inner {
            at,
            may_block: log.may_block(),
            waits_for_readers: log.blocks_for_readers(),
            reader: log.reader(),
            shared: Arc::default(),
            place: Mutex::new(Place::Idle(Box::new(log))),
            context,
            compacting: Arc::default(),
        }))
    }

    pub(crate) fn at(&self) -> &TopicPartition {
        &self.0.at
    }

    pub(crate) fn reader(&self) -> &LogReader {
        &self.0.reader
    }

    /// Whether reads may wait for a disk, and so belong on a blocking thread.
    pub(crate) fn may_block(&self) -> bool {
        self.0.may_block
    }

    pub(crate) fn context(&self) -> &PartitionContext {
        &self.0.context
    }

    /// Reads from the cursor on; see [`LogReader::read`].
    pub(crate) fn read(&self, cursor: &mut ReadCursor, max_bytes: usize) -> Result<Vec<Batch>> {
        self.check_open()?;
        let read = caught(|| self.0.reader.read(cursor, max_bytes));
        read.map_err(|panic| self.panicked_reading(&panic))?.map_err(|it| self.read_error(it))
    }

    /// The same, if it can be had without waiting for a disk; see [`LogReader::read_cached`].
    pub(crate) fn read_cached(
        &self,
        cursor: &mut ReadCursor,
        max_bytes: usize,
    ) -> Option<Result<Vec<Batch>>> {
        if let Err(error) = self.check_open() {
            return Some(Err(error));
        }
        match caught(|| self.0.reader.read_cached(cursor, max_bytes)) {
            Ok(read) => Some(read?.map_err(|error| self.read_error(error))),
            Err(panic) => Some(Err(self.panicked_reading(&panic))),
        }
    }

    /// The same as a range of a file; see [`LogReader::locate`].
    #[cfg(feature = "tcp")]
    pub(crate) fn locate(&self, cursor: &mut ReadCursor, max_bytes: usize) -> Option<FileRange> {
        self.check_open().ok()?;
        let now = self.0.context.clock.wall();
        caught(|| self.0.reader.locate(cursor, max_bytes, now)).ok().flatten()
    }

    fn panicked_reading(&self, panic: &str) -> Error {
        Error::closed(format!("{panic}, reading {}", self.0.at))
    }

    fn read_error(&self, error: ReadError) -> Error {
        Error::read(&self.0.at, error)
    }

    /// Fails if the partition was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.0.shared.closed.get() {
            Some(ended) => Err(Error::closed(ended.reason.clone())),
            None => Ok(()),
        }
    }

    /// Pushes `key` to `queue` once a record at `offset` is visible, or the partition is closed.
    /// A second call for the same queue replaces the first.
    pub(crate) fn notify_beyond(&self, offset: i64, queue: &Arc<ReadyQueue>, key: u64) {
        let is_ready =
            || self.0.reader.high_watermark() > offset || self.0.shared.closed.get().is_some();
        self.0.shared.waiters.add(queue, key, offset, is_ready);
    }

    /// Takes back [`Partition::notify_beyond`].
    pub(crate) fn forget(&self, queue: &ReadyQueue, key: u64) {
        self.0.shared.waiters.remove(queue, key);
    }

    /// Makes a reader's place known, if memory is to wait for it.
    pub(crate) fn register(&self, offset: i64) -> Option<ReaderPosition> {
        self.0.waits_for_readers.then(|| ReaderPosition {
            position: self.0.reader.register(offset),
            context: self.0.context.clone(),
        })
    }

    /// Keeps what stands from `offset` on. Appends for which there is no room then wait (`waits`),
    /// or are refused.
    pub(crate) fn hold(&self, offset: i64, waits: bool) -> PartitionHold {
        let hold = self.0.reader.hold(offset, waits);
        PartitionHold { hold, context: self.0.context.clone() }
    }

    /// Hands a batch to the actor. Never waits; its source is told its fate.
    pub(crate) fn append(&self, batch: QueuedBatch) {
        let Err((sender, command)) = self.try_command(Command::Append(batch)) else {
            return;
        };
        // The mailbox is full. Its sender has no other batch of this partition in flight, so
        // waiting in a task of its own keeps the order.
        self.0.context.runtime.spawn(async move {
            // A closed mailbox drops the command, which answers it.
            let _ = sender.send(command).await;
        });
    }

    /// [`Partition::append`] for a batch that the caller waits for. Where the log is in the handle,
    /// it needs no actor for this: the append is shorter than the way to another task and back.
    pub(crate) fn append_awaited(&self, batch: QueuedBatch) {
        if let Err(batch) = self.append_here(batch) {
            self.append(batch);
        }
    }

    /// Appends on this thread, unless the log is elsewhere, or an append might wait.
    fn append_here(&self, batch: QueuedBatch) -> Result<(), QueuedBatch> {
        let mut place = self.0.place();
        let log = match &mut *place {
            // Without an actor nobody makes durable later what can be.
            Place::Idle(log) if log.is_volatile() => log,
            Place::Resting(log, _) => log,
            _ => return Err(batch),
        };
        let is_open = self.0.shared.closed.get().is_none();
        let may_wait = !log.is_volatile() && log.may_wait(batch.bytes());
        let waits = may_wait || log.blocks_when_full() || log.wants_checkpoint();
        if !is_open || waits {
            return Err(batch);
        }
        let (batch, completion) = batch.take();
        let mut append = [Append::new(batch)];
        let time = self.0.context.time_for(log);
        let done = caught(|| {
            log.append(&mut append, time);
            log.publish()
        });
        if done.is_err() {
            // Nobody knows what state it is in.
            *place = Place::Gone;
        }
        // From here on strangers' code runs: wakers, and whoever sends the next batch.
        drop(place);
        let [Append { batch, result }] = append;
        let result = match done {
            Ok(high_watermark) => {
                self.0.shared.waiters.wake_beyond(high_watermark);
                let result = result.expect("every batch of a group gets a result");
                result.map(BatchMetadata::from).map_err(|error| Error::append(&self.0.at, error))
            }
            Err(panic) => Err(Error::closed(self.0.shared.panicked(&self.0.at, &panic))),
        };
        completion.run(batch, result);
        Ok(())
    }

    /// Appends one batch and waits for its fate.
    pub(crate) async fn append_one(&self, batch: BytesMut) -> Result<BatchMetadata> {
        let (batch, answer) = one(batch);
        self.append(batch);
        self.answered(answer).await.0
    }

    /// Hands one batch over, if the actor takes it at once; otherwise it comes back. Its fate is
    /// told by [`Partition::answered`].
    #[cfg(feature = "tcp")]
    pub(crate) fn try_append(
        &self,
        batch: BytesMut,
    ) -> Result<oneshot::Receiver<Answer>, BytesMut> {
        let (batch, answer) = one(batch);
        let Err(batch) = self.append_here(batch) else { return Ok(answer) };
        match self.try_command(Command::Append(batch)) {
            Ok(()) => Ok(answer),
            Err((_, Command::Append(batch))) => Err(batch.take().0),
            Err((_, Command::Resume(_) | Command::Run(_) | Command::Close { .. })) => {
                unreachable!("what comes back is what was sent")
            }
        }
    }

    /// Hands one batch over once the actor takes it.
    #[cfg(feature = "tcp")]
    pub(crate) async fn append_in_turn(&self, batch: BytesMut) -> oneshot::Receiver<Answer> {
        let (batch, answer) = one(batch);
        self.command(Command::Append(batch)).await;
        answer
    }

    /// The fate of a batch that was handed over.
    pub(crate) async fn answered(&self, answer: oneshot::Receiver<Answer>) -> Answer {
        answer.await.unwrap_or_else(|_| (Err(self.why_closed()), BytesMut::new()))
    }

    /// The broker's task is gone: nobody need wait here any more.
    pub(crate) fn abandon(&self) {
        self.0.shared.end(ENDED.into());
    }

    /// Runs `work` on the log, after all that was sent before.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let (shared, at) = (self.0.shared.clone(), self.0.at.clone());
        let command = Command::Run(Box::new(move |log| match caught(|| work(log)) {
            Ok(done) => {
                // Whoever asked may have gone.
                let _ = answer.send(done);
                Ok(())
            }
            Err(panic) => {
                // Before the answer's sender is dropped, which is the answer.
                shared.panicked(&at, &panic);
                Err(panic)
            }
        }));
        self.command(command).await;
        answered.await.map_err(|_| self.why_closed())
    }

    /// Runs what may wait for the disk beside the log, under the broker's limit: reads, say.
    pub(crate) async fn run_beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let ended = |panic| Error::closed(format!("{panic}, beside the log of {}", self.0.at));
        if self.0.context.simulated {
            return caught(work).map_err(ended);
        }
        let (io, runtime) = (self.0.context.io.clone(), self.0.context.runtime.clone());
        // A task of its own, and no longer than the work: with the permit in hand nobody may wait
        // for the log, which may need one too, or not be polled any more.
        let done = runtime.clone().spawn(async move {
            let permit = io.acquire_owned().await;
            let run = runtime.spawn_blocking(move || {
                let _permit = permit;
                work()
            });
            run.await
        });
        done.await.and_then(|done| done).map_err(|error| ended(told_by(error)))
    }

    /// Held by a compaction while it writes beside the log. Whoever removes the log's files waits
    /// for it, after closing the log, which makes the compaction end.
    pub(crate) fn compacting(&self) -> &Arc<tokio::sync::Mutex<()>> {
        &self.0.compacting
    }

    /// Changes the log's settings, after all that was sent before.
    pub(crate) async fn configure(&self, config: LogConfig) -> Result<()> {
        let now = self.0.context.clock.wall();
        let change = move |log: &mut Log| {
            log.configure(config);
            log.note_time(now);
        };
        self.run(change).await
    }

    /// Makes everything durable and ends the actor. What was sent before is done first; what
    /// comes after is answered with `Closed { reason }`.
    pub(crate) async fn close(&self, reason: Arc<str>) -> Result<()> {
        self.end(reason, true).await
    }

    /// [`Partition::close`] for a log that nobody will open again: nothing is written or synced.
    pub(crate) async fn discard(&self, reason: Arc<str>) -> Result<()> {
        self.end(reason, false).await
    }

    async fn end(&self, reason: Arc<str>, keeps: bool) -> Result<()> {
        let (done, closed) = oneshot::channel();
        self.command(Command::Close { reason, keeps, done }).await;
        match closed.await {
            Ok(result) => result,
            // Closed already; or its task has ended, and nobody knows with what on the disk.
            Err(_) => match self.0.shared.closed.get() {
                Some(Ended { is_well: true, .. }) => Ok(()),
                _ => Err(self.why_closed()),
            },
        }
    }

    async fn command(&self, command: Command) {
        if let Err((sender, command)) = self.try_command(command) {
            // A closed mailbox drops the command, which answers it.
            let _ = sender.send(command).await;
        }
    }

    /// Sends without waiting, starting the actor if need be. Gives back what finds no room.
    fn try_command(&self, command: Command) -> Result<(), (mpsc::Sender<Command>, Command)> {
        let mut place = self.0.place();
        let starting = self.start(&mut place);
        let sent = match &*place {
            Place::Running(sender) => sender.try_send(command).map_err(|error| match error {
                mpsc::error::TrySendError::Full(command) => (Some(sender.clone()), command),
                mpsc::error::TrySendError::Closed(command) => (None, command),
            }),
            Place::Idle(_) | Place::Resting(..) | Place::Gone => Err((None, command)),
        };
        // From here on strangers' code runs: subscribers of spans, wakers.
        drop(place);
        if let Some((actor, commands)) = starting {
            let span = tracing::debug_span!("partition", at = %self.0.at);
            self.0.context.runtime.spawn(actor.run(commands).instrument(span));
        }
        match sent {
            Ok(()) => Ok(()),
            Err((Some(sender), command)) => Err((sender, command)),
            Err((None, command)) => {
                self.refuse(command);
                Ok(())
            }
        }
    }

    fn refuse(&self, command: Command) {
        match command {
            Command::Append(batch) => batch.fail(self.why_closed()),
            // Dropping the answer's sender is the answer.
            Command::Resume(_) | Command::Run(_) | Command::Close { .. } => {}
        }
    }

    /// Gives the log to an actor, if it is here: a new one where there is none.
    fn start(&self, place: &mut Place) -> Option<(Actor, mpsc::Receiver<Command>)> {
        match std::mem::replace(place, Place::Gone) {
            Place::Idle(log) => {
                let (sender, commands) = mpsc::channel(MAILBOX);
                *place = Place::Running(sender);
                Some((Actor::new(self, log), commands))
            }
            other => {
                *place = other.resumed();
                None
            }
        }
    }

    fn why_closed(&self) -> Error {
        let ended = self.0.shared.closed.get();
        Error::closed(ended.map_or_else(|| ENDED.into(), |ended| ended.reason.clone()))
    }
}

impl Inner {
    /// Should taking a batch have panicked under this lock, the log has not seen anything of it.
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The same, but with the log no longer at rest.
    fn resumed(self) -> Self {
        match self {
            Place::Resting(log, sender) => {
                // There is room: nobody has sent anything since it rests. If the actor is gone with
                // its runtime, the partition has ended, and nobody can make use of the log.
                let _ = sender.try_send(Command::Resume(log));
                Place::Running(sender)
            }
            other => other,
        }
    }
}

/// The actor closes a log that nobody has closed.
impl Drop for Inner {
    fn drop(&mut self) {
        let place = self.place.get_mut().unwrap_or_else(PoisonError::into_inner);
        *place = std::mem::replace(place, Place::Gone).resumed();
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({})", self.0.at)
    }
}

impl Shared {
    /// Nothing will be appended any more, and all is well: says so to whoever waits.
    fn close(&self, reason: Arc<str>) {
        self.set(Ended { reason, is_well: true });
    }

    /// As [`Shared::close`], but nobody has closed the log.
    fn end(&self, reason: Arc<str>) {
        self.set(Ended { reason, is_well: false });
    }

    /// As [`Shared::end`], and why: the log is in an unknown state, and so is not used any more.
    fn panicked(&self, at: &TopicPartition, panic: &str) -> Arc<str> {
        tracing::error!(partition = %at, panic, "writing to the partition has panicked");
        let reason = format!("{at} has ended by {panic}; opening the broker again recovers it");
        self.end(reason.as_str().into());
        reason.into()
    }

    fn set(&self, ended: Ended) {
        // The first reason stays.
        let _ = self.closed.set(ended);
        self.waiters.wake_all();
    }
}

#[cfg(test)]
mod tests;
