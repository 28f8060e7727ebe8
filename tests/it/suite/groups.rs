//! Consumers that share the work of a topic, and go on where it was left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ottla::{
    Consumer, ConsumerBuilder, Error, GroupError, GroupState, OffsetSpec, Position,
    RebalanceListener, Record, Revoked, Start, Strategy, TopicConfig, TopicPartition,
};

use crate::support::{
    Host, assert_error, at, on_all_backends, send_all, take, take_values, texts, value, within,
};

on_all_backends! {
    everything_can_be_done_from_any_thread,
    a_member_goes_on_where_its_group_has_committed,
    chosen_partitions_begin_where_the_group_has_committed,
    members_share_the_partitions_and_hand_them_over,
    a_member_that_is_dropped_leaves_its_work_to_others,
    every_strategy_shares_everything_once,
    a_topic_created_again_does_not_inherit_offsets,
    a_topic_that_comes_back_wakes_who_waits,
    automatic_commits_cover_what_was_handed_out_before,
    automatic_commits_may_come_at_every_poll,
    chosen_partitions_are_committed_when_closed,
    what_is_committed_for_a_deleted_topic_is_not_kept,
    a_static_member_that_wants_less_gets_less,
    records_are_committed_as_they_are_done,
    latest_means_when_it_subscribed,
    nothing_is_handed_out_before_the_listener_knows,
    settings_may_come_before_the_group,
    a_static_member_can_be_put_out,
    new_partitions_are_shared_out,
    a_member_that_waits_hears_of_new_partitions,
    groups_are_told_of_and_deleted,
    a_consumer_that_is_closed_commits_and_leaves,
    closing_goes_on_with_what_was_begun,
    a_consumer_that_is_closed_while_it_hands_over_finishes_that,
    ; ottla "Kafka lets static members that come back have what they had":
    a_static_member_that_wants_more_gets_it,
    ; local "session timeouts of members on the network go by the broker's clock, heartbeats by the machine's":
    a_member_that_is_away_for_too_long_is_put_out,
    a_member_that_is_not_polled_gives_way_and_comes_back,
    a_member_that_awaits_is_polled,
    a_static_member_that_is_not_polled_keeps_its_place_for_a_session,
    records_of_former_times_are_not_committed,
    members_that_come_and_go_lose_nothing_and_repeat_nothing,
    automatic_commits_come_while_nothing_does,
    offsets_are_forgotten_after_a_week_without_members,
    ; local "a member on the network hears of it with its next heartbeat":
    a_static_member_comes_back_to_its_partitions,
    ; local "a broker does not say what the others offer":
    groups_that_make_no_sense_are_refused,
}

async fn topic(host: &Host, partitions: i32) {
    host.create_topic("t", TopicConfig::new().partitions(partitions)).await.unwrap();
}

async fn produce(host: &Host, partitions: i32, records: usize) {
    let producer = host.client.producer().build();
    for n in 0..records {
        let record = Record::to("t").partition(n as i32 % partitions).value(n.to_string());
        producer.enqueue(record).await.unwrap();
    }
    producer.flush().await;
}

fn member(host: &Host) -> ConsumerBuilder {
    host.client.consumer().group("g")
}

/// Polls the members until each has its share, and nothing is left over.
async fn settle(consumers: &mut [&mut Consumer], partitions: usize) {
    let share = partitions.div_ceil(consumers.len());
    loop {
        for consumer in consumers.iter_mut() {
            assert!(consumer.try_recv().unwrap().is_none(), "there was something to read");
        }
        let owned = consumers.iter().map(|consumer| consumer.assignment().len());
        if owned.clone().sum::<usize>() == partitions && owned.max() <= Some(share) {
            return;
        }
        // What they wait for may be a disk: as long as it takes.
        tokio::task::yield_now().await;
    }
}

async fn everything_can_be_done_from_any_thread(host: Host) {
    topic(&host, 1).await;
    produce(&host, 1, 1).await;
    let builder = member(&host);
    let task = tokio::spawn(async move {
        let mut consumer = builder.subscribe(["t"]).await.unwrap();
        consumer.recv().await.unwrap();
        consumer.commit().await.unwrap();
        consumer.commit_offsets([(at("t", 0), 1)]).await.unwrap();
        assert_eq!(consumer.committed(&[at("t", 0)]).await.unwrap()[&at("t", 0)].offset, 1);
        consumer.close().await.unwrap();
    });
    task.await.unwrap();
    let admin = host.admin();
    let task = tokio::spawn(async move {
        assert_eq!(admin.groups().await.unwrap(), ["g"]);
        admin.describe_group("g").await.unwrap();
        admin.delete_group_offsets("g", &[at("t", 0)]).await.unwrap();
        admin.delete_group("g").await.unwrap();
    });
    task.await.unwrap();
}

async fn a_member_goes_on_where_its_group_has_committed(host: Host) {
    send_all(&host.client, "t", 0..10).await;
    let mut first = member(&host).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut first, 4).await, texts(0..4));
    first.commit().await.unwrap();
    // Handed out, but not committed.
    assert_eq!(take_values(&mut first, 3).await, texts(4..7));
    let committed = first.committed(&[at("t", 0), at("t", 1)]).await.unwrap();
    assert_eq!(committed.len(), 1);
    assert_eq!(committed[&at("t", 0)].offset, 4);
    let who = first.group_metadata().unwrap();
    assert_eq!((&*who.group, who.generation, who.instance_id), ("g", 1, None));
    drop(first);
    let mut second = member(&host).start(Start::Latest).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut second, 6).await, texts(4..10));
    second.commit_offsets([(at("t", 0), 8)]).await.unwrap();
    drop(second);
    let mut third = member(&host).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut third, 2).await, texts(8..10));
    // Another group begins on its own.
    let mut other = host.client.consumer().group("other").subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut other, 10).await, texts(0..10));
}

async fn chosen_partitions_begin_where_the_group_has_committed(host: Host) {
    topic(&host, 2).await;
    produce(&host, 2, 10).await;
    let assign = || member(&host).assign([at("t", 0), at("t", 1)]);
    let mut consumer = assign().await.unwrap();
    consumer.commit_offsets([(at("t", 0), Position::from(3))]).await.unwrap();
    assert_eq!(consumer.group_metadata().unwrap().generation, -1);
    let again = assign().await.unwrap();
    assert_eq!(again.position(&at("t", 0)).unwrap().offset, 3);
    assert_eq!(again.position(&at("t", 1)).unwrap().offset, 0);
    let missing = consumer.commit_offsets([(at("t", 7), 1)]).await;
    assert_error!(missing, Error::InvalidState(_), "t-7");
    // While members share the group's topics, nobody commits past them.
    let mut sharing = member(&host).subscribe(["t"]).await.unwrap();
    sharing.recv().await.unwrap();
    let refused = consumer.commit().await;
    assert_error!(refused, Error::Group { source: GroupError::UnknownMember { .. }, .. }, "\"g\"");
    sharing.commit().await.unwrap();
}

/// Commits what leaves, and keeps a journal.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl RebalanceListener for Journal {
    async fn assigned(&self, partitions: &[TopicPartition]) {
        self.note("assigned", partitions.iter().map(ToString::to_string));
    }

    async fn revoked(&self, revoked: &Revoked) {
        revoked.commit().await.unwrap();
        let at = |(at, position): (&TopicPartition, Position)| format!("{at}@{}", position.offset);
        self.note("revoked", revoked.positions().map(at));
    }

    async fn lost(&self, partitions: &[TopicPartition]) {
        self.note("lost", partitions.iter().map(ToString::to_string));
    }
}

impl Journal {
    fn note(&self, what: &str, partitions: impl Iterator<Item = String>) {
        let line = format!("{what} {}", partitions.collect::<Vec<_>>().join(" "));
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn members_share_the_partitions_and_hand_them_over(host: Host) {
    topic(&host, 4).await;
    let journals = [Journal::default(), Journal::default()];
    let join = |n: usize| member(&host).rebalance_listener(journals[n].clone()).subscribe(["t"]);
    let mut first = join(0).await.unwrap();
    settle(&mut [&mut first], 4).await;
    assert_eq!(journals[0].lines(), ["assigned t-0 t-1 t-2 t-3"]);
    produce(&host, 4, 8).await;
    take_values(&mut first, 8).await;
    let mut second = join(1).await.unwrap();
    settle(&mut [&mut first, &mut second], 4).await;
    // Where they moved, the second goes on where the first stopped, though it had not committed.
    let lines = journals[0].lines();
    assert!(lines[0].starts_with("revoked ") && lines[0].matches("@2").count() == 2, "{lines:?}");
    produce(&host, 4, 8).await;
    let mut seen = BTreeMap::new();
    for consumer in [&mut first, &mut second] {
        for _ in 0..4 {
            let record = consumer.recv().await.unwrap();
            let twice = seen.insert((record.partition, record.offset), value(&record));
            assert!(twice.is_none(), "{record:?} was handed out twice");
        }
    }
    let offsets: Vec<i64> = seen.keys().map(|(_, offset)| *offset).collect();
    assert_eq!(offsets, [2, 3, 2, 3, 2, 3, 2, 3]);
    second.commit().await.unwrap();
    drop(second);
    settle(&mut [&mut first], 4).await;
    assert_eq!(journals[0].lines().iter().filter(|line| line.contains("t-")).count(), 1);
}

async fn a_member_that_is_dropped_leaves_its_work_to_others(host: Host) {
    topic(&host, 2).await;
    let mut first = member(&host).subscribe(["t"]).await.unwrap();
    let mut second = member(&host).subscribe(["t"]).await.unwrap();
    settle(&mut [&mut first, &mut second], 2).await;
    produce(&host, 2, 10).await;
    second.recv().await.unwrap();
    second.commit().await.unwrap();
    second.recv().await.unwrap();
    drop(second);
    let mut values = take_values(&mut first, 9).await;
    values.sort_by_key(|value| value.parse::<usize>().unwrap());
    // All but the one that was committed.
    assert!(values == texts(1..10) || values == texts([0].into_iter().chain(2..10)), "{values:?}");
}

async fn every_strategy_shares_everything_once(host: Host) {
    topic(&host, 7).await;
    for strategy in Strategy::ALL {
        let join = || {
            let group = host.client.consumer().group(strategy.name());
            group.strategies([strategy]).subscribe(["t"])
        };
        let (mut a, mut b, mut c) =
            (join().await.unwrap(), join().await.unwrap(), join().await.unwrap());
        settle(&mut [&mut a, &mut b, &mut c], 7).await;
        let mut all: Vec<_> = [&a, &b, &c].iter().flat_map(|it| it.assignment()).collect();
        all.sort();
        let expected: Vec<_> = (0..7).map(|partition| at("t", partition)).collect();
        assert_eq!(all, expected, "{strategy:?}");
    }
}

async fn a_member_that_is_away_for_too_long_is_put_out(host: Host) {
    topic(&host, 2).await;
    let journal = Journal::default();
    let minute = Duration::from_secs(60);
    let build = || member(&host).max_poll_interval(minute);
    let mut stuck = build().rebalance_listener(journal.clone()).subscribe(["t"]).await.unwrap();
    settle(&mut [&mut stuck], 2).await;
    produce(&host, 2, 4).await;
    let mut other = build().subscribe(["t"]).await.unwrap();
    // The other waits for the one that does not poll; until its time is over.
    for _ in 0..100 {
        assert!(other.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
    }
    host.clock.advance(minute);
    take_values(&mut other, 4).await;
    let late = stuck.commit().await;
    assert_error!(late, Error::Group { source: GroupError::UnknownMember { .. }, .. }, "no member");
    other.commit().await.unwrap();
    settle(&mut [&mut stuck, &mut other], 2).await;
    let lines = journal.lines();
    assert_eq!(lines[1], "lost t-0 t-1", "{lines:?}");
}

/// Though nothing else happens in the group.
async fn a_member_that_is_not_polled_gives_way_and_comes_back(host: Host) {
    topic(&host, 2).await;
    let (journal, minute) = (Journal::default(), Duration::from_secs(60));
    let build = || member(&host).max_poll_interval(minute);
    let mut stuck = build().rebalance_listener(journal.clone()).subscribe(["t"]).await.unwrap();
    let mut other = build().subscribe(["t"]).await.unwrap();
    settle(&mut [&mut stuck, &mut other], 2).await;
    let generation = other.group_metadata().unwrap().generation;
    for _ in 0..59 {
        assert!(other.try_recv().is_ok());
        host.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(other.group_metadata().unwrap().generation, generation, "there is time left");
    while other.assignment().len() < 2 {
        assert!(other.try_recv().is_ok());
        host.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(stuck.assignment().len(), 1, "it does not know yet");
    let late = stuck.commit().await;
    assert_error!(late, Error::Group { source: GroupError::UnknownMember { .. }, .. }, "no member");
    settle(&mut [&mut stuck, &mut other], 2).await;
    assert_eq!((stuck.assignment().len(), other.assignment().len()), (1, 1));
    assert!(journal.lines().iter().any(|line| line.starts_with("lost t-")));
}

async fn a_member_that_awaits_is_polled(host: Host) {
    topic(&host, 1).await;
    let minute = Duration::from_secs(60);
    let build = || member(&host).max_poll_interval(minute);
    let mut consumer = build().subscribe(["t"]).await.unwrap();
    settle(&mut [&mut consumer], 1).await;
    let generation = consumer.group_metadata().unwrap().generation;
    {
        let mut waits = std::pin::pin!(consumer.recv());
        for _ in 0..300 {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            host.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        send_all(&host.client, "t", 0..1).await;
        assert_eq!(value(&waits.await.unwrap()), "0");
    }
    consumer.commit().await.unwrap();
    assert_eq!(consumer.group_metadata().unwrap().generation, generation);
}

async fn a_static_member_that_is_not_polled_keeps_its_place_for_a_session(host: Host) {
    topic(&host, 1).await;
    let minute = Duration::from_secs(60);
    let build = || member(&host).max_poll_interval(minute);
    let mut fixed = build().group_instance_id("a").subscribe(["t"]).await.unwrap();
    settle(&mut [&mut fixed], 1).await;
    let admin = host.admin();
    let mut seconds = 0;
    while !admin.describe_group("g").await.unwrap().members.is_empty() {
        host.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        seconds += 1;
    }
    assert!((60 + 45..60 + 45 + 20).contains(&seconds), "{seconds}");
    settle(&mut [&mut fixed], 1).await;
    send_all(&host.client, "t", 0..1).await;
    assert_eq!(take_values(&mut fixed, 1).await, ["0"]);
    fixed.commit().await.unwrap();
}

async fn a_topic_created_again_does_not_inherit_offsets(host: Host) {
    send_all(&host.client, "t", 0..5).await;
    let mut consumer = member(&host).subscribe(["t"]).await.unwrap();
    take_values(&mut consumer, 5).await;
    consumer.commit().await.unwrap();
    host.delete_topic("t").await.unwrap();
    assert_error!(consumer.recv().await, Error::UnknownTopic { .. }, "\"t\"");
    send_all(&host.client, "t", 10..13).await;
    assert_eq!(take_values(&mut consumer, 3).await, texts(10..13));
    drop(consumer);
    let mut another = member(&host).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut another, 3).await, texts(10..13));
}

async fn a_topic_that_comes_back_wakes_who_waits(host: Host) {
    topic(&host, 1).await;
    let mut consumer = member(&host).subscribe(["t"]).await.unwrap();
    settle(&mut [&mut consumer], 1).await;
    host.delete_topic("t").await.unwrap();
    assert_error!(consumer.recv().await, Error::UnknownTopic { .. }, "\"t\"");
    while consumer.group_metadata().unwrap().generation < 2 {
        assert!(consumer.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
    }
    let mut settled = 0;
    let mut waits = std::pin::pin!(consumer.recv());
    while settled < 100 {
        let is_stable = host.admin().describe_group("g").await.unwrap().state == GroupState::Stable;
        settled += usize::from(is_stable);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        tokio::task::yield_now().await;
    }
    let (record, ()) = tokio::join!(within(waits), send_all(&host.client, "t", 0..1));
    assert_eq!(value(&record.unwrap()), "0");
}

async fn automatic_commits_cover_what_was_handed_out_before(host: Host) {
    send_all(&host.client, "t", 0..10).await;
    let second = Duration::from_secs(1);
    let mut consumer = member(&host).auto_commit(second).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 3).await, texts(0..3));
    assert_eq!(consumer.committed(&[at("t", 0)]).await.unwrap(), BTreeMap::new());
    host.clock.advance(second);
    assert_eq!(consumer.poll(5).await.unwrap().len(), 5);
    while consumer.committed(&[at("t", 0)]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    // The five are not done as long as they are not followed by another poll.
    assert_eq!(consumer.committed(&[at("t", 0)]).await.unwrap()[&at("t", 0)].offset, 3);
}

/// What was handed out is done when more is waited for, also if no more comes.
async fn automatic_commits_come_while_nothing_does(host: Host) {
    send_all(&host.client, "t", 0..3).await;
    let second = Duration::from_secs(1);
    let mut consumer = member(&host).auto_commit(second).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 3).await, texts(0..3));
    let (admin, at) = (host.admin(), at("t", 0));
    let committing = async {
        while admin.group_offsets("g").await.unwrap().get(&at).is_none_or(|it| it.offset < 3) {
            host.clock.advance(second);
            tokio::task::yield_now().await;
        }
        let first = admin.group_offsets("g").await.unwrap()[&at].timestamp;
        for _ in 0..10 {
            host.clock.advance(second);
            tokio::task::yield_now().await;
        }
        // Nothing is written while nothing changes.
        assert_eq!(admin.group_offsets("g").await.unwrap()[&at].timestamp, first);
        send_all(&host.client, "t", [3]).await;
    };
    let (received, ()) = tokio::join!(consumer.recv(), committing);
    assert_eq!(received.unwrap().offset, 3);
    // Also on a thread without a runtime.
    let clock = host.clock.clone();
    let waiting = std::thread::spawn(move || consumer.recv_blocking().unwrap().offset);
    while admin.group_offsets("g").await.unwrap()[&at].offset < 4 {
        clock.advance(second);
        tokio::task::yield_now().await;
    }
    send_all(&host.client, "t", [4]).await;
    let joined = tokio::task::spawn_blocking(move || waiting.join().unwrap()).await;
    assert_eq!(joined.unwrap(), 4);
}

async fn automatic_commits_may_come_at_every_poll(host: Host) {
    send_all(&host.client, "t", 0..3).await;
    let least = Duration::from_millis(1);
    let mut consumer = member(&host).auto_commit(least).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 3).await, texts(0..3));
    while host.admin().group_offsets("g").await.unwrap().is_empty() {
        host.clock.advance(least);
        assert!(consumer.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
    }
}

async fn chosen_partitions_are_committed_when_closed(host: Host) {
    send_all(&host.client, "t", 0..5).await;
    let never = Duration::from_secs(24 * 3600);
    let mut consumer = member(&host).auto_commit(never).assign([at("t", 0)]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 3).await, texts(0..3));
    consumer.close().await.unwrap();
    assert_eq!(host.admin().group_offsets("g").await.unwrap()[&at("t", 0)].offset, 3);
}

/// A consumer that has not heard of it yet may commit.
async fn what_is_committed_for_a_deleted_topic_is_not_kept(host: Host) {
    for topic in ["t", "u"] {
        send_all(&host.client, topic, 0..3).await;
    }
    let mut consumer = member(&host).subscribe(["t", "u"]).await.unwrap();
    take_values(&mut consumer, 6).await;
    host.delete_topic("t").await.unwrap();
    consumer.commit().await.unwrap();
    let left = host.admin().group_offsets("g").await.unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), [&at("u", 0)]);
    // Nor does it replace what is committed for the one that has its name now.
    send_all(&host.client, "t", 0..5).await;
    let mut other = host.client.consumer().group("g").assign([at("t", 0)]).await.unwrap();
    assert_eq!(take_values(&mut other, 1).await, ["0"]);
}

async fn a_static_member_that_wants_more_gets_it(host: Host) {
    topic(&host, 1).await;
    host.create_topic("more", TopicConfig::new()).await.unwrap();
    let fixed = |name: &str| member(&host).group_instance_id(name);
    let mut a = fixed("a").subscribe(["t"]).await.unwrap();
    settle(&mut [&mut a], 1).await;
    drop(a);
    let mut a = fixed("a").subscribe(["t", "more"]).await.unwrap();
    settle(&mut [&mut a], 2).await;
    drop(a);
    let mut a = fixed("a").subscribe(["t"]).await.unwrap();
    settle(&mut [&mut a], 1).await;
}

/// Also where the group goes on as if nothing had changed.
async fn a_static_member_that_wants_less_gets_less(host: Host) {
    topic(&host, 1).await;
    host.create_topic("more", TopicConfig::new()).await.unwrap();
    let fixed = || member(&host).group_instance_id("a");
    let mut before = fixed().subscribe(["t", "more"]).await.unwrap();
    settle(&mut [&mut before], 2).await;
    drop(before);
    let mut after = fixed().subscribe(["t"]).await.unwrap();
    settle(&mut [&mut after], 1).await;
    // The group knows, too, or nobody else would get what this one does not read.
    let told = async || host.admin().describe_group("g").await.unwrap().members.remove(0);
    while told().await.assignment != [at("t", 0)] {
        assert!(after.try_recv().unwrap().is_none());
    }
    for topic in ["more", "t"] {
        send_all(&host.client, topic, [topic]).await;
    }
    assert_eq!(take_values(&mut after, 1).await, ["t"]);
}

async fn a_static_member_comes_back_to_its_partitions(host: Host) {
    topic(&host, 2).await;
    let fixed = |name: &str| member(&host).group_instance_id(name).subscribe(["t"]);
    let (mut a, mut b) = (fixed("a").await.unwrap(), fixed("b").await.unwrap());
    settle(&mut [&mut a, &mut b], 2).await;
    let (had, generation) = (a.assignment(), b.group_metadata().unwrap().generation);
    drop(a);
    host.clock.advance(Duration::from_secs(30));
    let mut a = fixed("a").await.unwrap();
    settle(&mut [&mut a, &mut b], 2).await;
    assert_eq!(a.assignment(), had);
    assert_eq!(b.group_metadata().unwrap().generation, generation);
    // A second one of the name fences the first.
    let mut usurper = fixed("a").await.unwrap();
    produce(&host, 2, 4).await;
    take_values(&mut usurper, 2).await;
    let fenced = a.recv().await;
    assert_error!(
        fenced,
        Error::Group { source: GroupError::FencedInstanceId { .. }, .. },
        "\"a\""
    );
    let over = a.commit().await;
    assert_error!(over, Error::InvalidState(_) | Error::Group { .. }, "");
}

async fn groups_that_make_no_sense_are_refused(host: Host) {
    topic(&host, 1).await;
    let nameless = host.client.consumer().group("").subscribe(["t"]).await;
    assert_error!(nameless, Error::Group { source: GroupError::InvalidGroupId, .. }, "not empty");
    let lone = host.client.consumer().auto_commit(Duration::from_secs(1)).subscribe(["t"]).await;
    assert_error!(lone, Error::InvalidState(_), "ConsumerBuilder::group");
    let second = Duration::from_secs(1);
    for (builder, setting) in [
        (member(&host).auto_commit(Duration::ZERO), "auto.commit.interval.ms"),
        (member(&host).max_poll_interval(second / 1001), "max.poll.interval.ms"),
        (member(&host).strategies([]), "partition.assignment.strategy"),
    ] {
        assert_error!(builder.subscribe(["t"]).await, Error::InvalidConfig { .. }, setting);
    }
    let mut free = host.client.consumer().subscribe(["t"]).await.unwrap();
    assert_error!(free.commit().await, Error::InvalidState(_), "no group");
    let mut range = member(&host).strategies([Strategy::Range]).subscribe(["t"]).await.unwrap();
    settle(&mut [&mut range], 1).await;
    let mut sticky = member(&host).strategies([Strategy::Sticky]).subscribe(["t"]).await.unwrap();
    let refused = sticky.recv().await;
    assert_error!(
        refused,
        Error::Group { source: GroupError::InconsistentProtocol { .. }, .. },
        "range",
        "sticky"
    );
}

async fn records_are_committed_as_they_are_done(host: Host) {
    topic(&host, 2).await;
    produce(&host, 2, 20).await;
    let mut consumer = member(&host).subscribe(["t"]).await.unwrap();
    let mut done = consumer.poll(7).await.unwrap();
    while done.len() < 7 {
        done = consumer.poll(7).await.unwrap();
    }
    // Handed out since, and not done.
    take_values(&mut consumer, 5).await;
    consumer.commit_records(&done).await.unwrap();
    let mut ends = [0, 0];
    done.iter().for_each(|it| ends[it.partition as usize] = it.offset + 1);
    let both = [at("t", 0), at("t", 1)];
    let committed = consumer.committed(&both).await.unwrap();
    let offsets = both.clone().map(|at| committed.get(&at).map_or(0, |position| position.offset));
    assert_eq!((offsets, offsets[0] + offsets[1]), (ends, 7));
    drop(consumer);
    let mut next = member(&host).client_id("billing").subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut next, 13).await.len(), 13);
    let told = host.admin().describe_group("g").await.unwrap().members.remove(0);
    assert_eq!(told.client_id, "billing");
    assert!(told.member_id.starts_with("billing-") && told.assignment == both, "{told:?}");
    // What it does not own any more is the next one's to commit.
    let nothing = ottla::Records::default();
    next.commit_records(&nothing).await.unwrap();
    let mut outsider = host.client.consumer().subscribe(["t"]).await.unwrap();
    let records = outsider.poll(1).await.unwrap();
    let refused = outsider.commit_records(&records).await;
    assert_error!(refused, Error::InvalidState(_), "no group");
}

/// What was done of a topic's former life, or before somebody else had the partition, says nothing
/// of what is there now.
async fn records_of_former_times_are_not_committed(host: Host) {
    send_all(&host.client, "t", 0..6).await;
    let mut consumer = member(&host).subscribe(["t"]).await.unwrap();
    let old = consumer.poll(5).await.unwrap();
    assert!(!old.is_empty());
    host.delete_topic("t").await.unwrap();
    send_all(&host.client, "t", 10..18).await;
    while !matches!(consumer.try_recv(), Err(Error::UnknownTopic { .. })) {
        tokio::task::yield_now().await;
    }
    let first = consumer.poll(1).await.unwrap();
    consumer.commit_records(&old).await.unwrap();
    assert!(consumer.committed(&[at("t", 0)]).await.unwrap().is_empty());
    consumer.commit_records(&first).await.unwrap();
    assert_eq!(consumer.committed(&[at("t", 0)]).await.unwrap()[&at("t", 0)].offset, 1);
    // Somebody else has it for a while.
    let mut other = member(&host).subscribe(["t"]).await.unwrap();
    let before = consumer.assignment();
    let stalled = consumer.poll(2).await.unwrap();
    while other.assignment().is_empty() {
        host.clock.advance(Duration::from_secs(60));
        assert!(other.try_recv().unwrap().is_none_or(|it| it.offset >= 1));
        tokio::task::yield_now().await;
    }
    take_values(&mut other, 4).await;
    other.commit().await.unwrap();
    let committed = other.committed(&[at("t", 0)]).await.unwrap()[&at("t", 0)].offset;
    other.close().await.unwrap();
    settle_on(&mut consumer, &before).await;
    consumer.commit_records(&stalled).await.unwrap();
    assert_eq!(consumer.committed(&[at("t", 0)]).await.unwrap()[&at("t", 0)].offset, committed);
}

/// Polls until it has these partitions; what it is handed out meanwhile is nothing.
async fn settle_on(consumer: &mut Consumer, partitions: &[TopicPartition]) {
    loop {
        // Whatever it says on the way: that it was put out.
        let handed_out = consumer.try_recv();
        let is_calm = consumer.assignment() == partitions;
        if is_calm && matches!(handed_out, Ok(Some(_))) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn latest_means_when_it_subscribed(host: Host) {
    topic(&host, 2).await;
    produce(&host, 2, 4).await;
    let latest = || member(&host).start(Start::Latest);
    let mut named = latest().subscribe(["t"]).await.unwrap();
    let builder = host.client.consumer().group("h").start(Start::Latest);
    let mut by_pattern = builder.subscribe_pattern("t.*").await.unwrap();
    // Before the first poll; and in what is younger than the subscription.
    produce(&host, 2, 2).await;
    host.admin().create_partitions("t", 3).await.unwrap();
    let producer = host.client.producer().build();
    producer.send(Record::to("t").partition(2).value("2")).await.unwrap();
    for consumer in [&mut named, &mut by_pattern] {
        let mut got = take(consumer, 3).await;
        got.sort_by_key(|it| it.partition);
        let got: Vec<_> = got.iter().map(|it| (it.partition, it.offset)).collect();
        assert_eq!(got, [(0, 2), (1, 2), (2, 0)]);
    }
    send_all(&host.client, "t2", [0]).await;
    assert_eq!(take_values(&mut by_pattern, 1).await, ["0"]);
    host.delete_topic("t").await.unwrap();
    topic(&host, 1).await;
    produce(&host, 1, 1).await;
    assert_error!(named.recv().await, Error::UnknownTopic { .. }, "\"t\"");
    assert_eq!(take_values(&mut named, 1).await, ["0"]);
}

/// Holds every call up until it is let go.
struct Held(Arc<tokio::sync::Semaphore>);

#[async_trait]
impl RebalanceListener for Held {
    async fn assigned(&self, _: &[TopicPartition]) {
        self.0.acquire().await.unwrap().forget();
    }
}

async fn nothing_is_handed_out_before_the_listener_knows(host: Host) {
    topic(&host, 1).await;
    produce(&host, 1, 1).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let builder = member(&host).rebalance_listener(Held(gate.clone()));
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    while consumer.assignment().is_empty() {
        assert!(consumer.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        assert!(consumer.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    assert_eq!(take_values(&mut consumer, 1).await, ["0"]);
}

async fn settings_may_come_before_the_group(host: Host) {
    topic(&host, 1).await;
    let builder = host.client.consumer().group_instance_id("i").client_id("c").group("g");
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    settle(&mut [&mut consumer], 1).await;
    let told = host.admin().describe_group("g").await.unwrap().members.remove(0);
    assert_eq!((told.instance_id.as_deref(), told.client_id.as_str()), (Some("i"), "c"));
    let refused = consumer.commit_offsets([(at("t", 0), -3)]).await;
    assert_error!(refused, Error::InvalidState(_), "offset -3", "t-0");
}

async fn a_static_member_can_be_put_out(host: Host) {
    topic(&host, 1).await;
    produce(&host, 1, 3).await;
    let mut fixed = member(&host).group_instance_id("a").subscribe(["t"]).await.unwrap();
    take_values(&mut fixed, 2).await;
    fixed.commit().await.unwrap();
    fixed.close().await.unwrap();
    let admin = host.admin();
    assert_eq!(admin.group_lag("g").await.unwrap()[&at("t", 0)], 1);
    let used = admin.reset_group_offsets("g", ["t"], OffsetSpec::Earliest).await;
    assert_error!(used, Error::Group { source: GroupError::NonEmptyGroup { members: 1 }, .. });
    let unknown = admin.remove_member("g", "b").await;
    assert_error!(unknown, Error::Group { source: GroupError::UnknownMember { .. }, .. }, "\"b\"");
    admin.remove_member("g", "a").await.unwrap();
    admin.reset_group_offsets("g", ["t"], OffsetSpec::Earliest).await.unwrap();
    assert_eq!(admin.group_lag("g").await.unwrap()[&at("t", 0)], 3);
}

async fn new_partitions_are_shared_out(host: Host) {
    topic(&host, 1).await;
    let (mut a, mut b) = (
        member(&host).subscribe(["t"]).await.unwrap(),
        member(&host).subscribe(["t"]).await.unwrap(),
    );
    settle(&mut [&mut a, &mut b], 1).await;
    host.admin().create_partitions("t", 4).await.unwrap();
    settle(&mut [&mut a, &mut b], 4).await;
}

/// Nothing else wakes it.
async fn a_member_that_waits_hears_of_new_partitions(host: Host) {
    topic(&host, 1).await;
    let mut consumer = member(&host).subscribe(["t"]).await.unwrap();
    settle(&mut [&mut consumer], 1).await;
    let producing = async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        host.admin().create_partitions("t", 2).await.unwrap();
        let producer = host.client.producer().build();
        producer.send(Record::to("t").partition(1).value("there")).await.unwrap();
    };
    let (received, ()) = tokio::join!(consumer.recv(), producing);
    assert_eq!(received.unwrap().partition, 1);
}

async fn groups_are_told_of_and_deleted(host: Host) {
    send_all(&host.client, "t", 0..5).await;
    assert_eq!(host.admin().groups().await.unwrap(), Vec::<String>::new());
    let missing = host.admin().describe_group("g").await;
    let is_missing =
        |error: &Error| matches!(error, Error::Group { source: GroupError::GroupIdNotFound, .. });
    assert!(is_missing(&missing.unwrap_err()));
    let mut consumer = member(&host).subscribe(["t"]).await.unwrap();
    take_values(&mut consumer, 3).await;
    consumer.commit().await.unwrap();
    let told = host.admin().describe_group("g").await.unwrap();
    assert_eq!((told.state, told.members.len()), (GroupState::Stable, 1));
    if let Some(broker) = &host.broker {
        let told = broker.admin().describe_group("g").await.unwrap();
        assert_eq!(told.generation, 1, "which is not told over the network");
    }
    assert_eq!(told.strategy.as_deref(), Some("cooperative-sticky"));
    assert_eq!(told.members[0].member_id, consumer.group_metadata().unwrap().member_id);
    let used = host.admin().delete_group("g").await;
    assert_error!(
        used,
        Error::Group { source: GroupError::NonEmptyGroup { .. }, .. },
        "close its members first (1)"
    );
    let used = host.admin().delete_group_offsets("g", &[at("t", 0)]).await;
    assert_error!(
        used,
        Error::Group { source: GroupError::GroupSubscribedToTopic { .. }, .. },
        "t"
    );
    consumer.close().await.unwrap();
    assert_eq!(host.admin().groups().await.unwrap(), ["g"]);
    host.admin().delete_group_offsets("g", &[at("t", 0), at("t", 1)]).await.unwrap();
    let mut again = member(&host).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut again, 5).await, texts(0..5));
    again.commit().await.unwrap();
    again.close().await.unwrap();
    host.admin().delete_group("g").await.unwrap();
    let mut anew = member(&host).subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut anew, 5).await, texts(0..5));
    assert!(is_missing(&host.admin().delete_group("other").await.unwrap_err()));
    // What they are stored in is nobody's business.
    assert_eq!(host.topics().await.unwrap(), ["t"]);
    let own = "__consumer_offsets";
    assert_error!(host.delete_topic(own).await, Error::InvalidState(_), own);
    assert_error!(host.create_topic(own, TopicConfig::new()).await, Error::InvalidState(_), own);
    let more = host.admin().create_partitions(own, 51).await;
    assert_error!(more, Error::InvalidState(_), own);
}

async fn offsets_are_forgotten_after_a_week_without_members(host: Host) {
    send_all(&host.client, "t", 0..5).await;
    host.create_topic("forever", TopicConfig::new().retention(None)).await.unwrap();
    send_all(&host.client, "forever", 0..5).await;
    let day = Duration::from_secs(24 * 3600);
    let mut kept = host.client.consumer().group("kept").subscribe(["forever"]).await.unwrap();
    take_values(&mut kept, 5).await;
    kept.commit().await.unwrap();
    let mut left = host.client.consumer().group("left").subscribe(["forever"]).await.unwrap();
    take_values(&mut left, 5).await;
    left.commit().await.unwrap();
    left.close().await.unwrap();
    for _ in 0..6 {
        host.clock.advance(day);
        settle(&mut [&mut kept], 1).await;
    }
    assert_eq!(host.admin().groups().await.unwrap(), ["kept", "left"]);
    host.clock.advance(2 * day);
    while host.admin().groups().await.unwrap() != ["kept"] {
        host.clock.advance(Duration::from_secs(6));
        tokio::task::yield_now().await;
    }
    let committed = kept.committed(&[at("forever", 0)]).await.unwrap();
    assert_eq!(committed[&at("forever", 0)].offset, 5);
}

async fn a_consumer_that_is_closed_commits_and_leaves(host: Host) {
    topic(&host, 2).await;
    produce(&host, 2, 10).await;
    let journal = Journal::default();
    let never = Duration::from_secs(3600);
    let builder = member(&host).auto_commit(never).rebalance_listener(journal.clone());
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    take_values(&mut consumer, 10).await;
    consumer.close().await.unwrap();
    let lines = journal.lines();
    assert_eq!(lines[lines.len() - 1], "revoked t-0@5 t-1@5", "{lines:?}");
    assert_eq!(host.admin().describe_group("g").await.unwrap().state, GroupState::Empty);
    let mut next = member(&host).subscribe(["t"]).await.unwrap();
    settle(&mut [&mut next], 2).await;
    // Without a group, closing is dropping.
    host.client.consumer().subscribe(["t"]).await.unwrap().close().await.unwrap();
}

/// Takes its time.
struct Slow(Journal);

#[async_trait]
impl RebalanceListener for Slow {
    async fn revoked(&self, revoked: &Revoked) {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.0.revoked(revoked).await;
    }
}

async fn closing_goes_on_with_what_was_begun(host: Host) {
    topic(&host, 2).await;
    let journal = Journal::default();
    let eager = || member(&host).strategies([Strategy::Range]);
    let builder = eager().rebalance_listener(Slow(journal.clone()));
    let mut first = builder.subscribe(["t"]).await.unwrap();
    settle(&mut [&mut first], 2).await;
    let mut second = eager().subscribe(["t"]).await.unwrap();
    while !first.assignment().is_empty() {
        assert!(second.try_recv().unwrap().is_none());
        assert!(first.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
    }
    assert_eq!(journal.lines(), Vec::<String>::new(), "it is being told");
    first.close().await.unwrap();
    assert_eq!(journal.lines()[0], "revoked t-0@0 t-1@0");
    settle(&mut [&mut second], 2).await;
}

async fn a_consumer_that_is_closed_while_it_hands_over_finishes_that(host: Host) {
    topic(&host, 1).await;
    produce(&host, 1, 10).await;
    let journal = Journal::default();
    let eager = || member(&host).strategies([Strategy::Range]);
    let build = eager().rebalance_listener(journal.clone());
    let mut first = build.subscribe(["t"]).await.unwrap();
    take_values(&mut first, 10).await;
    let mut second = eager().subscribe(["t"]).await.unwrap();
    while !first.assignment().is_empty() {
        assert!(second.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
        assert!(first.try_recv().unwrap().is_none());
    }
    // Its listener waits for the commit.
    assert_eq!(journal.lines(), ["assigned t-0"]);
    first.close().await.unwrap();
    assert_eq!(journal.lines()[0], "revoked t-0@10");
    produce(&host, 1, 1).await;
    assert_eq!(second.recv().await.unwrap().offset, 10);
}

/// Members that leave as they should: each record is handed out once, in its partition's order.
async fn members_that_come_and_go_lose_nothing_and_repeat_nothing(host: Host) {
    const PARTITIONS: i32 = 6;
    topic(&host, PARTITIONS).await;
    let producer = host.client.producer().build();
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut members: Vec<Consumer> = Vec::new();
    let mut seen: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    let mut produced = 0;
    for step in 0..400 {
        match next(10) {
            0 if members.len() < 5 => {
                let builder = member(&host).rebalance_listener(Journal::default());
                members.push(builder.subscribe(["t"]).await.unwrap());
            }
            1 if members.len() > 1 || step > 350 && !members.is_empty() => {
                let leaving = members.remove(next(members.len() as u64) as usize);
                leaving.close().await.unwrap();
            }
            2..5 => {
                for _ in 0..next(20) {
                    let record = Record::to("t").partition(next(PARTITIONS as u64) as i32);
                    producer.enqueue(record.value(produced.to_string())).await.unwrap();
                    produced += 1;
                }
                producer.flush().await;
            }
            _ => {
                for consumer in &mut members {
                    for _ in 0..next(8) {
                        let Some(record) = consumer.try_recv().unwrap() else { break };
                        seen.entry(record.partition).or_default().push(record.offset);
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    for leaving in members {
        leaving.close().await.unwrap();
    }
    let mut last = member(&host).subscribe(["t"]).await.unwrap();
    while seen.values().map(Vec::len).sum::<usize>() < produced {
        let record = last.recv().await.unwrap();
        seen.entry(record.partition).or_default().push(record.offset);
    }
    for (partition, offsets) in seen {
        assert!(offsets.iter().copied().eq(0..offsets.len() as i64), "t-{partition}: {offsets:?}");
    }
}
