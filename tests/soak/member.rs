//! A member of a group: takes records, holds each against what must come, commits, and ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ottla::{
    Broker, Consumer, Error, RebalanceListener, Records, Result, Revoked, Strategy, TopicPartition,
};
use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::producer::value;
use super::random::Random;

/// What a group is.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) strategies: &'static [Strategy],
    pub(crate) ledger: Arc<Ledger>,
}

/// The next offset of each partition of which it was handed out something.
type Places = Arc<Mutex<BTreeMap<TopicPartition, i64>>>;

#[derive(Debug)]
pub(crate) struct Member {
    consumer: Consumer,
    group: Group,
    places: Places,
    automatic: bool,
    random: Random,
}

impl Member {
    pub(crate) async fn join(
        broker: &Broker,
        group: Group,
        topics: &[&str],
        mut random: Random,
    ) -> Result<Self> {
        let places = Places::default();
        let hands_over = random.below(8) > 0;
        let (ledger, of_listener) = (group.ledger.clone(), places.clone());
        let listener = Listener { ledger, places: of_listener, hands_over };
        let automatic = random.below(4) == 0;
        let builder = broker.consumer().group(group.name).rebalance_listener(listener);
        let builder = builder.strategies(group.strategies.iter().copied());
        let builder = match automatic {
            true => builder.auto_commit(Duration::from_millis(random.between(1, 300))),
            false => builder,
        };
        let consumer = builder.subscribe(topics).await?;
        Ok(Member { consumer, group, places, automatic, random })
    }

    /// Consumes until it is told to leave. False if the broker was closed before.
    pub(crate) async fn run(mut self, mut leave: oneshot::Receiver<()>) -> bool {
        match self.consume(&mut leave).await.and(self.commit().await) {
            Ok(()) => self.consumer.close().await.is_ok(),
            Err(Error::Closed { .. }) => false,
            Err(error) => panic!("{}: {error}", self.group.name),
        }
    }

    async fn consume(&mut self, leave: &mut oneshot::Receiver<()>) -> Result<()> {
        let mut until_commit = 1;
        loop {
            let max = self.random.between(1, 600) as usize;
            let records = tokio::select! {
                biased;
                _ = &mut *leave => return Ok(()),
                polled = self.consumer.poll(max) => polled?,
            };
            self.check(&records);
            until_commit -= 1;
            if until_commit == 0 {
                self.commit().await?;
                until_commit = self.random.between(1, 30);
            }
        }
    }

    /// Consumes all that there is; `ends` says how much that is.
    pub(crate) async fn drain(mut self, ends: &BTreeMap<TopicPartition, i64>) -> Result<()> {
        loop {
            let positions = self.consumer.positions();
            let positions = positions.into_iter().map(|(at, position)| (at, position.offset));
            if positions.eq(ends.iter().map(|(at, end)| (at.clone(), *end))) {
                self.commit().await?;
                return self.consumer.close().await;
            }
            // A group that stands at the end already has nothing to hand out: look again.
            let polled = tokio::time::timeout(Duration::from_millis(100), self.consumer.poll(1000));
            if let Ok(records) = polled.await {
                self.check(&records?);
            }
        }
    }

    fn check(&mut self, records: &Records) {
        let mut places = self.places.lock().unwrap();
        let mut runs: BTreeMap<TopicPartition, (i64, i64)> = BTreeMap::new();
        for record in records {
            let (topic, partition) = (record.topic.clone(), record.partition);
            let at = TopicPartition { topic, partition };
            let offset = record.offset;
            let place = places.entry(at.clone()).or_insert_with(|| {
                self.group.ledger.starts(&at, offset);
                offset
            });
            assert_eq!(offset, *place, "{} {at}: out of order", self.group.name);
            let found = record.value.expect("it has a value");
            assert_eq!(found, value(offset, found.len() - 8), "{at}: another record");
            *place += 1;
            runs.entry(at).or_insert((offset, offset)).1 = offset + 1;
        }
        for (at, (from, to)) in runs {
            self.group.ledger.delivered(&at, from, to, self.automatic);
        }
    }

    async fn commit(&mut self) -> Result<()> {
        let positions = self.consumer.positions().into_iter();
        let offsets: Vec<_> = positions.map(|(at, position)| (at, position.offset)).collect();
        self.group.ledger.commits(&offsets);
        self.consumer.commit().await?;
        self.group.ledger.has_committed(&offsets);
        Ok(())
    }
}

struct Listener {
    ledger: Arc<Ledger>,
    places: Places,
    hands_over: bool,
}

#[async_trait]
impl RebalanceListener for Listener {
    async fn revoked(&self, revoked: &Revoked) {
        let positions = revoked.positions().map(|(at, position)| (at.clone(), position.offset));
        let offsets: Vec<_> = positions.collect();
        for (at, _) in &offsets {
            self.places.lock().unwrap().remove(at);
        }
        if !self.hands_over {
            return;
        }
        self.ledger.commits(&offsets);
        match revoked.commit().await {
            Ok(()) => self.ledger.has_committed(&offsets),
            Err(Error::Closed { .. }) => {}
            Err(error) => panic!("what was revoked can't be committed: {error}"),
        }
    }

    async fn lost(&self, partitions: &[TopicPartition]) {
        panic!("{partitions:?} were lost, though their owner was always there");
    }
}
