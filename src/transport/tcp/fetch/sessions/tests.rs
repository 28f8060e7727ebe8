//! Sessions against a broker that keeps them as Kafka's do, and loses them.

use proptest::prelude::*;

use super::*;

/// What a broker finds a partition by.
type Key = (String, TopicId, i32);

/// A broker with one session at a time.
#[derive(Default)]
struct Broker {
    sessions: i32,
    session: Option<(i32, i32, BTreeMap<Key, FetchPartition>)>,
    /// What the last request has made it look for.
    looked: Vec<(Key, FetchPartition)>,
}

impl Broker {
    /// The error, and the session. By names, ids are not seen, and the other way round.
    fn serve(&mut self, request: &FetchRequest, by_ids: bool, keeps: bool) -> (ErrorCode, i32) {
        let key = |topic: &str, id: TopicId, partition: i32| match by_ids {
            true => (String::new(), id, partition),
            false => (topic.to_owned(), TopicId([0; 16]), partition),
        };
        let asked = request.topics.iter().flat_map(|topic| {
            let key = |it: &FetchPartition| key(&topic.topic, topic.topic_id, it.partition);
            topic.partitions.iter().map(move |it| (key(it), it.clone()))
        });
        if request.session_epoch == FIRST {
            assert!(request.forgotten_topics_data.is_empty());
            self.looked = asked.collect();
            self.sessions += 1;
            let partitions = self.looked.iter().cloned().collect();
            self.session = keeps.then_some((self.sessions, 1, partitions));
            return (ErrorCode::NONE, if keeps { self.sessions } else { 0 });
        }
        let Some((id, epoch, partitions)) = &mut self.session else {
            return (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0);
        };
        if *id != request.session_id {
            return (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0);
        }
        if *epoch != request.session_epoch {
            return (ErrorCode::INVALID_FETCH_SESSION_EPOCH, *id);
        }
        *epoch += 1;
        // As Kafka does: first what is asked for, then what is to be forgotten.
        partitions.extend(asked);
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                let forgotten = partitions.remove(&key(&topic.topic, topic.topic_id, *partition));
                assert!(forgotten.is_some(), "it was not asked for: {topic:?}");
            }
        }
        self.looked = partitions.iter().map(|(key, it)| (key.clone(), it.clone())).collect();
        (ErrorCode::NONE, *id)
    }
}

#[derive(Debug, Clone)]
struct Round {
    /// Topic, its life, partition, offset.
    wanted: Vec<(u8, u8, i32, i64)>,
    by_ids: bool,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// And no session is kept.
    Alone,
    LostOnTheWay,
    AnswerLost,
    /// Before it comes.
    Evicted,
}

fn round() -> impl Strategy<Value = Round> {
    let wanted = prop::collection::vec((0..3u8, 0..2u8, 0..3i32, 0..3i64), 0..8);
    let fate = prop_oneof![
        12 => Just(Fate::Answered),
        1 => Just(Fate::Alone),
        1 => Just(Fate::LostOnTheWay),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Evicted),
    ];
    let by_ids = prop_oneof![9 => Just(true), 1 => Just(false)];
    (wanted, by_ids, fate).prop_map(|(wanted, by_ids, fate)| Round { wanted, by_ids, fate })
}

fn asks(wanted: &[(u8, u8, i32, i64)]) -> Vec<Ask> {
    let all = wanted.iter().map(|(topic, life, partition, fetch_offset)| {
        let at = TopicPartition::new(&format!("t{topic}"), *partition).unwrap();
        let mut id = [*life + 1; 16];
        id[0] = *topic;
        let asked = FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            ..FetchPartition::default()
        };
        (at, (TopicId(id), asked))
    });
    let all: BTreeMap<_, _> = all.collect();
    all.into_iter().map(|(at, (id, asked))| (at, id, asked)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_broker_looks_for_what_is_wanted(rounds in prop::collection::vec(round(), 1..30)) {
        let (mut ours, mut broker) = (Remembered::default(), Broker::default());
        for Round { wanted, by_ids, fate } in rounds {
            let wanted = asks(&wanted);
            let mut request = FetchRequest::default();
            ours.tell(&mut request, wanted.clone(), by_ids);
            prop_assert_eq!(ours.begins(), request.session_epoch == FIRST);
            if fate == Fate::Evicted {
                broker.session = None;
            }
            if fate == Fate::LostOnTheWay {
                ours.lost();
                continue;
            }
            let (error, id) = broker.serve(&request, by_ids, fate != Fate::Alone);
            if fate == Fate::AnswerLost {
                ours.lost();
                continue;
            }
            if error == ErrorCode::NONE {
                let by_key = |(at, id, asked): Ask| match by_ids {
                    true => ((String::new(), id, at.partition), asked),
                    false => ((at.topic.to_string(), TopicId([0; 16]), at.partition), asked),
                };
                let wanted: BTreeMap<_, _> = wanted.into_iter().map(by_key).collect();
                let looked: BTreeMap<_, _> = broker.looked.iter().cloned().collect();
                prop_assert_eq!(looked, wanted);
            }
            ours.answered(error, id);
            // An error is followed by a request that needs no session.
            prop_assert!(error == ErrorCode::NONE || ours.begins());
        }
    }
}

#[test]
fn what_does_not_change_is_not_told_again() {
    let (mut ours, wanted) =
        (Remembered::default(), asks(&[(0, 0, 0, 1), (0, 0, 1, 1), (1, 0, 0, 1)]));
    let mut told = |wanted: &[Ask]| {
        let mut request = FetchRequest::default();
        ours.tell(&mut request, wanted.to_vec(), true);
        ours.answered(ErrorCode::NONE, 7);
        let asked = request.topics.iter().map(|it| it.partitions.len()).sum::<usize>();
        let forgotten =
            request.forgotten_topics_data.iter().map(|it| it.partitions.len()).sum::<usize>();
        (request.session_id, request.session_epoch, asked, forgotten)
    };
    assert_eq!(told(&wanted), (0, 0, 3, 0));
    assert_eq!(told(&wanted), (7, 1, 0, 0));
    let moved = asks(&[(0, 0, 0, 1), (0, 0, 1, 2), (1, 0, 0, 1)]);
    assert_eq!(told(&moved), (7, 2, 1, 0));
    assert_eq!(told(&moved[..1]), (7, 3, 0, 2));
    assert_eq!(told(&moved), (7, 4, 2, 0));
}
