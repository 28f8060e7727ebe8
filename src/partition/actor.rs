//! The actor: gathers what queues up, appends it with one write, makes it durable with one sync,
//! then answers.
//!
//! **Group commit.** After answering `n` records with `q` batches queued, the actor gathers until
//! `n + q` records are there, or none has come for 5 % of the last sync's time, or as long as that
//! sync took. Otherwise senders that wait for each ack split into two cohorts, one queueing while
//! the other is synced, and the group is halved. Batches are taken from their producers only then:
//! up to there they grow.
//!
//! **When it rests.** With nothing to do it leaves the log in the handle, where a sender who waits
//! for the answer can append by itself ([`Partition::append_awaited`]). It still sees to the
//! recovery point, and ends when idle.
//!
//! **Where it blocks.** On storage that may block, an append that [may wait](Log::may_wait) runs on
//! a blocking thread, under the broker's limit; so does everything that is no append.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::log::{Append, AppendError, Appended, Log};
use crate::topic::TopicPartition;

use super::panics::{caught, caught_in, told_by};
use super::{
    BatchMetadata, Command, Completion, ENDED, Inner, Partition, PartitionContext, Place,
    QueuedBatch, Shared,
};

/// The most commands taken at once.
const MAX_GROUP: usize = 1024;
/// What a sync, or a trip to a blocking thread, should be worth: up to here all full batches of a
/// source are taken together. In memory they are taken one by one, while they are in the cache.
const TRIP_BYTES: usize = 1 << 20;
/// How long an actor waits for work before it ends.
const IDLE: Duration = Duration::from_secs(5);
/// While memory is used up: how often to look, besides when told that some was freed. A record that
/// is dropped tells nobody. In the machine's time: a clock moved by hand frees no memory.
const MEMORY_RETRY: Duration = Duration::from_millis(20);

/// The longest that a group is gathered for.
const MAX_PATIENCE: Duration = Duration::from_millis(5);

/// A recovery point on its way to the disk: where it now is, if it was moved.
type Checkpoint = JoinHandle<io::Result<Option<i64>>>;

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Actor {
    at: TopicPartition,
    home: Weak<Inner>,
    context: Arc<PartitionContext>,
    guard: EndGuard,
    /// With the actor, but for while a blocking thread has it, or the handle.
    log: Option<Box<Log>>,
    may_block: bool,
    /// Appends that wait for memory (`Block`), in order. Bounded by the producers' buffers.
    parked: VecDeque<(Append, Completion)>,
    /// An empty group, for its allocations.
    spare: Group,
    /// Whether the bell counts this actor.
    awaits_memory: bool,
    /// Memory freed before the bell knew of this actor was not rung for: one more attempt.
    just_parked: bool,
    /// When to look for memory again, while something is parked.
    retry: Option<Timer>,
    /// Seen up to before the last attempt to append.
    memory_rings: watch::Receiver<u64>,
    checkpoint: Option<Checkpoint>,
    /// Appends to gather before the next group, and for how long at most.
    expected: usize,
    last_sync: Duration,
    idle: Timer,
    /// Whether there was a command since it looked whether it is idle.
    worked: bool,
    /// Where the log ended then.
    last_end: i64,
    /// Why it closes.
    reason: Option<Arc<str>>,
    /// Who waits for its end. Until then it appends what is still coming.
    closing: Vec<oneshot::Sender<Result<()>>>,
    /// Nobody will open the log again: its files are about to be removed.
    is_doomed: bool,
}

/// Tells whoever waits when the task ends without having been asked to.
pub(super) struct EndGuard(Option<Arc<Shared>>);

impl EndGuard {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        EndGuard(Some(shared.clone()))
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.end(ENDED.into());
        }
    }
}

/// Whether the actor goes on.
enum Next {
    Continue,
    End,
}

impl Actor {
    pub(super) fn new(partition: &Partition, log: Box<Log>) -> Self {
        let context = partition.0.context.clone();
        Actor {
            at: partition.at().clone(),
            home: Arc::downgrade(&partition.0),
            guard: EndGuard::new(&partition.0.shared),
            may_block: log.may_block(),
            log: Some(log),
            parked: VecDeque::new(),
            spare: Group::default(),
            awaits_memory: false,
            just_parked: false,
            retry: None,
            memory_rings: context.memory.rings.subscribe(),
            checkpoint: None,
            expected: 0,
            last_sync: Duration::ZERO,
            idle: timer(&context, IDLE),
            worked: false,
            last_end: 0,
            reason: None,
            closing: Vec::new(),
            is_doomed: false,
            context,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut taken = Vec::new();
        if let Err(panic) = caught_in(self.serve(&mut commands, &mut taken)).await {
            self.die(&panic);
        }
        refuse_rest(&self.reason(), taken, &mut commands);
    }

    /// Until the end. What is left of `taken` has not been done.
    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>, taken: &mut Vec<Command>) {
        loop {
            if let Next::End = self.wait(commands, taken).await {
                return;
            }
            self.gather(commands, taken).await;
            self.expected = 0;
            if let Next::End = self.work(taken).await {
                return;
            }
            if !self.closing.is_empty() && commands.is_empty() {
                return self.close().await;
            }
            // A queued batch may still grow; what it has now is a fair guess.
            self.expected += commands.len();
        }
    }

    /// Waits for commands, or for memory, or for a checkpoint to end.
    async fn wait(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        taken: &mut Vec<Command>,
    ) -> Next {
        loop {
            let parked = !self.parked.is_empty();
            if std::mem::take(&mut self.just_parked) {
                return Next::Continue;
            }
            self.rest(commands);
            tokio::select! {
                biased;
                n = commands.recv_many(taken, MAX_GROUP) => {
                    self.worked = true;
                    return if n > 0 { Next::Continue } else { self.abandoned().await };
                }
                done = finished(&mut self.checkpoint) => self.checkpoint_done(done),
                // Cannot fail: the context holds the sender.
                _ = self.memory_rings.changed(), if parked => return Next::Continue,
                () = due(&mut self.retry) => {
                    self.retry = Some(self.memory_retry());
                    return Next::Continue;
                }
                () = &mut self.idle => {
                    self.idle = timer(&self.context, IDLE);
                    // If the log is not even in the handle, it is on its way here with a command.
                    if !self.recall() || self.has_worked() || parked || self.checkpoint.is_some() {
                        continue;
                    }
                    if self.start_checkpoint().await {
                        continue;
                    }
                    if self.retire(commands) || self.log.is_none() {
                        return Next::End;
                    }
                }
            }
        }
    }

    /// The log is in an unknown state, and so is not used any more: everybody is told.
    fn die(&mut self, panic: &str) {
        self.log = None;
        // There is one until it is closed.
        let Some(shared) = self.guard.0.take() else { return };
        let reason = shared.panicked(&self.at, panic);
        self.reason = Some(reason.clone());
        self.stop_awaiting_memory();
        for (append, completion) in self.parked.drain(..) {
            completion.run(append.batch, Err(Error::closed(reason.clone())));
        }
        for asked in self.closing.drain(..) {
            // Whoever asked may have gone.
            let _ = asked.send(Err(Error::closed(reason.clone())));
        }
    }

    /// Nobody holds the partition any more, and nobody closed it: the broker was dropped.
    async fn abandoned(&mut self) -> Next {
        self.stop_compaction();
        self.finish_checkpoint().await;
        let closed = self.on_log(true, |log| log.close()).await;
        if let Ok(Err(error)) | Err(error) = closed.map(|r| r.map_err(|e| self.error(e))) {
            tracing::warn!(partition = %self.at, %error, "closing failed");
        }
        Next::End
    }

    /// Whether anything was done since it was last asked.
    fn has_worked(&mut self) -> bool {
        let end = self.log.as_ref().map_or(0, |log| log.log_end_offset());
        let before = std::mem::replace(&mut self.last_end, end);
        std::mem::take(&mut self.worked) || end != before
    }

    /// Leaves the log in the handle until there is a command, if others may append to it.
    fn rest(&mut self, commands: &mpsc::Receiver<Command>) {
        let Some(log) = &self.log else { return };
        let can = self.parked.is_empty() && self.checkpoint.is_none() && self.closing.is_empty();
        if can && !log.config().sync_before_visible && !log.blocks_when_full() {
            self.put_back(commands, Place::Resting);
        }
    }

    /// Takes the log from the handle, if it rests there. Whether it is here now.
    fn recall(&mut self) -> bool {
        if self.log.is_none()
            && let Some(home) = self.home.upgrade()
        {
            let mut place = home.place();
            match std::mem::replace(&mut *place, Place::Gone) {
                Place::Resting(log, sender) => {
                    self.log = Some(log);
                    *place = Place::Running(sender);
                }
                other => *place = other,
            }
        }
        self.log.is_some()
    }

    /// Puts the log back into the handle for good, if nobody is about to send.
    fn retire(&mut self, commands: &mpsc::Receiver<Command>) -> bool {
        let retired = self.put_back(commands, |log, _| Place::Idle(log));
        if retired {
            self.guard.0 = None;
        }
        retired
    }

    fn put_back(
        &mut self,
        commands: &mpsc::Receiver<Command>,
        how: impl FnOnce(Box<Log>, mpsc::Sender<Command>) -> Place,
    ) -> bool {
        if !commands.is_empty() {
            return false;
        }
        let Some(home) = self.home.upgrade() else { return false };
        let mut place = home.place();
        if !commands.is_empty() || commands.sender_strong_count() > 1 {
            return false;
        }
        let Some(log) = self.log.take() else { return false };
        match std::mem::replace(&mut *place, Place::Gone) {
            Place::Running(sender) => *place = how(log, sender),
            other => (*place, self.log) = (other, Some(log)),
        }
        self.log.is_none()
    }

    /// Waits a moment for the senders that were just answered to come back.
    async fn gather(&mut self, commands: &mut mpsc::Receiver<Command>, taken: &mut Vec<Command>) {
        let longest = self.last_sync.min(MAX_PATIENCE);
        let patience = longest / 20;
        if patience.is_zero() {
            return;
        }
        let count = |taken: &[Command]| taken.iter().map(Command::records).sum::<usize>();
        let mut records = count(taken);
        // The machine's time: tokio's may be paused, and would stay so while this yields.
        let started = std::time::Instant::now();
        let mut grew = started;
        while records < self.expected && grew.elapsed() < patience && started.elapsed() < longest {
            tokio::task::yield_now().await;
            while taken.len() < MAX_GROUP
                && let Ok(command) = commands.try_recv()
            {
                taken.push(command);
            }
            let before = std::mem::replace(&mut records, count(taken));
            if records > before {
                grew = std::time::Instant::now();
            }
        }
    }

    async fn work(&mut self, taken: &mut Vec<Command>) -> Next {
        let mut group = std::mem::take(&mut self.spare);
        if !self.parked.is_empty() {
            self.memory_rings.mark_unchanged();
            self.parked.drain(..).for_each(|(append, completion)| group.push(append, completion));
        }
        taken.reverse();
        while let Some(command) = taken.pop() {
            match command {
                Command::Resume(log) => self.log = Some(log),
                Command::Append(queued) => {
                    group.push_from(queued, if self.may_block { TRIP_BYTES } else { 0 });
                }
                Command::Run(work) => {
                    self.append(std::mem::take(&mut group)).await;
                    match self.on_log(true, work).await {
                        Ok(Ok(())) => self.publish(),
                        Ok(Err(panic)) => self.die(&panic),
                        Err(_) => {}
                    }
                }
                Command::Close { reason, keeps, done } => {
                    self.reason.get_or_insert(reason);
                    self.is_doomed |= !keeps;
                    self.closing.push(done);
                }
            }
        }
        self.append(group).await;
        if self.parked.is_empty() {
            self.stop_awaiting_memory();
        }
        match self.log {
            Some(_) => Next::Continue,
            None => Next::End,
        }
    }

    /// Appends a group, makes it durable if so promised, makes it visible, answers.
    async fn append(&mut self, mut group: Group) {
        if group.appends.is_empty() {
            return;
        }
        let Some(log) = &self.log else { return group.refuse(&self.reason()) };
        let sync = log.config().sync_before_visible;
        let now = self.context.time_for(log);
        let blocking = log.may_wait(group.bytes);
        let started = sync.then(|| self.context.clock.instant());
        let mut appends = std::mem::take(&mut group.appends);
        let work = move |log: &mut Log| {
            log.append(&mut appends, now);
            let synced = if sync { log.sync() } else { Ok(()) };
            (appends, synced)
        };
        let Ok((appends, synced)) = self.on_log(blocking, work).await else {
            return group.refuse(&self.reason());
        };
        if let Some(started) = started {
            self.last_sync = self.context.clock.instant().saturating_sub(started);
        }
        self.publish();
        group.appends = appends;
        group.bytes = 0;
        self.answer(&mut group, synced);
        self.spare = group;
        if self.log.as_ref().is_some_and(|log| log.wants_checkpoint())
            && self.checkpoint.as_ref().is_none_or(JoinHandle::is_finished)
        {
            // While there is always more to append, nobody else looks whether it has ended.
            self.finish_checkpoint().await;
            self.start_checkpoint().await;
        }
    }

    /// Tells each batch of the group its fate, and empties it.
    fn answer(&mut self, group: &mut Group, synced: Result<(), AppendError>) {
        for (mut append, completion) in group.appends.drain(..).zip(group.completions.drain(..)) {
            let result = match append.result.take() {
                Some(Err(error)) if error.waits() => {
                    self.park(append, completion);
                    continue;
                }
                Some(result) => result.and_then(|done| synced.clone().map(|()| done)),
                None => continue,
            };
            self.expected += result.as_ref().map_or(1, Appended::records);
            let result = result.map(BatchMetadata::from).map_err(|error| self.error(error));
            completion.run(append.batch, result);
        }
    }

    fn park(&mut self, append: Append, completion: Completion) {
        if !self.awaits_memory {
            self.awaits_memory = true;
            self.just_parked = true;
            self.retry = Some(self.memory_retry());
            self.context.memory.waiting.fetch_add(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
        self.parked.push_back((append, completion));
    }

    fn stop_awaiting_memory(&mut self) {
        if std::mem::take(&mut self.awaits_memory) {
            self.context.memory.waiting.fetch_sub(1, Ordering::AcqRel);
            self.retry = None;
        }
    }

    fn memory_retry(&self) -> Timer {
        let clock = self.context.clock.clone();
        Box::pin(async move { clock.sleep_for_real(MEMORY_RETRY).await })
    }

    /// Raises the high watermark to what has the promised durability.
    fn publish(&mut self) {
        if let (Some(log), Some(shared)) = (&mut self.log, &self.guard.0) {
            shared.waiters.wake_beyond(log.publish());
        }
    }

    /// Ends, as was asked for.
    async fn close(&mut self) {
        let closed = self.close_log(self.reason()).await;
        for asked in self.closing.drain(..) {
            // Whoever asked may have gone; the work is done all the same.
            let _ = asked.send(closed.clone());
        }
    }

    async fn close_log(&mut self, reason: Arc<str>) -> Result<()> {
        for (append, completion) in self.parked.drain(..) {
            completion.run(append.batch, Err(Error::closed(reason.clone())));
        }
        self.stop_awaiting_memory();
        self.stop_compaction();
        self.finish_checkpoint().await;
        let closed = match self.is_doomed {
            true => Ok(Ok(())),
            false => self.on_log(true, |log| log.close()).await,
        };
        if let Some(shared) = self.guard.0.take() {
            shared.close(reason);
        }
        if let Some(home) = self.home.upgrade() {
            *home.place() = Place::Gone;
        }
        closed?.map_err(|error| self.error(error))
    }

    /// Before the disk is waited for, which a compaction may have for long.
    fn stop_compaction(&self) {
        if let Some(log) = &self.log {
            log.stop_compaction();
        }
    }

    /// Begins to move the recovery point up, while appends go on, if nothing does so already. False
    /// if there is no need.
    async fn start_checkpoint(&mut self) -> bool {
        if self.checkpoint.is_some() {
            return false;
        }
        match self.on_log(true, |log| log.checkpoint()).await {
            Ok(Ok(Some(plan))) => {
                let (io, simulated) = (self.context.io.clone(), self.context.simulated);
                self.checkpoint = Some(self.context.runtime.spawn(async move {
                    if simulated {
                        return plan.run();
                    }
                    let _permit = io.acquire_owned().await;
                    let run = tokio::task::spawn_blocking(move || plan.run());
                    run.await.unwrap_or_else(|error| Err(io::Error::other(error)))
                }));
                true
            }
            Ok(Ok(None)) => false,
            // The log is read-only or gone now, and that is what whoever appends is told.
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// No two may write the recovery point at once.
    async fn finish_checkpoint(&mut self) {
        if let Some(checkpoint) = self.checkpoint.take() {
            self.checkpoint_done(checkpoint.await.unwrap_or_else(|e| Err(io::Error::other(e))));
        }
    }

    fn checkpoint_done(&mut self, done: io::Result<Option<i64>>) {
        self.checkpoint = None;
        if let Some(log) = &mut self.log
            && let Err(error) = log.checkpointed(done)
        {
            tracing::warn!(partition = %self.at, %error, "the recovery point was not moved");
        }
    }

    /// Runs `work` on the log: here, or on a blocking thread if it may wait for a disk.
    async fn on_log<T: Send + 'static>(
        &mut self,
        blocking: bool,
        work: impl FnOnce(&mut Log) -> T + Send + 'static,
    ) -> Result<T> {
        let Some(mut log) = self.log.take() else { return Err(Error::closed(self.reason())) };
        let blocks = blocking && log.may_block();
        let run = move || {
            let result = work(&mut log);
            (log, result)
        };
        let done = match blocks {
            true => {
                // The semaphore is never closed.
                let _permit = self.context.io.acquire().await;
                tokio::task::spawn_blocking(run).await.map_err(told_by)
            }
            false => caught(run),
        };
        match done {
            Ok((log, result)) => {
                self.log = Some(log);
                Ok(result)
            }
            Err(panic) => {
                self.die(&panic);
                Err(Error::closed(self.reason()))
            }
        }
    }

    fn reason(&self) -> Arc<str> {
        self.reason.clone().unwrap_or_else(|| ENDED.into())
    }

    fn error(&self, error: AppendError) -> Error {
        Error::append(&self.at, error)
    }
}

/// Answers what was sent after the end with the reason for it.
fn refuse_rest(reason: &Arc<str>, taken: Vec<Command>, commands: &mut mpsc::Receiver<Command>) {
    commands.close();
    let late = std::iter::from_fn(|| commands.try_recv().ok());
    for command in taken.into_iter().rev().chain(late) {
        // Dropping is the answer for the others.
        if let Command::Append(batch) = command {
            batch.fail(Error::closed(reason.clone()));
        }
    }
}

impl Command {
    fn records(&self) -> usize {
        match self {
            Command::Append(batch) => batch.records(),
            Command::Resume(_) => 0,
            Command::Run(_) | Command::Close { .. } => 1,
        }
    }
}

/// Appends that are written together, each with its completion.
#[derive(Default)]
struct Group {
    appends: Vec<Append>,
    completions: Vec<Completion>,
    bytes: usize,
}

impl Group {
    /// Takes a batch from its source, and the full ones behind it up to a group of `limit` bytes.
    fn push_from(&mut self, queued: QueuedBatch, limit: usize) {
        let mut next = Some(queued.take());
        while let Some((batch, completion)) = next {
            let more = self.bytes + batch.len() < limit;
            next = if more { completion.take_full() } else { None };
            self.push(Append::new(batch), completion);
        }
    }

    /// The batches are lost.
    fn refuse(self, reason: &Arc<str>) {
        for completion in self.completions {
            completion.run(BytesMut::new(), Err(Error::closed(reason.clone())));
        }
    }

    fn push(&mut self, append: Append, completion: Completion) {
        self.bytes += append.batch.len();
        self.appends.push(append);
        self.completions.push(completion);
    }
}

fn timer(context: &PartitionContext, after: Duration) -> Timer {
    let clock = context.clock.clone();
    Box::pin(async move { clock.sleep(after).await })
}

/// The end of a timer; never, if there is none.
async fn due(timer: &mut Option<Timer>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

/// The end of a running checkpoint; never, if none runs.
async fn finished(checkpoint: &mut Option<Checkpoint>) -> io::Result<Option<i64>> {
    match checkpoint {
        Some(running) => running.await.unwrap_or_else(|error| Err(io::Error::other(error))),
        None => std::future::pending().await,
    }
}
