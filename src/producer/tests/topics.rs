//! What a producer knows of topics, and how it learns that it has changed.

use super::*;

#[tokio::test]
async fn an_unknown_topic_is_looked_up_once() {
    let mock = Mock::new(Route::Immediate, 1);
    mock.state().hidden.insert("new".into(), topic("new", 9, 2, 1_000));
    let producer = mock.producer().build();
    let refused = producer.try_send(Record::to("new").value("v")).unwrap_err();
    assert!(matches!(refused.error(), Error::UnknownTopic { topic } if topic == "new"));
    assert_eq!(producer.partitions_for("new").await.unwrap(), 2);
    producer.try_send(refused.into_record().unwrap()).unwrap();
    producer.send(Record::to("new").value("v")).await.unwrap();
}

#[tokio::test]
async fn names_that_are_none_are_refused_with_their_record() {
    let mock = Mock::new(Route::Immediate, 1);
    let producer = mock.producer().build();
    let refused = producer.send(Record::to("a/b").value("v")).await.unwrap_err();
    assert!(matches!(refused.error(), Error::InvalidTopic(_)));
    assert_eq!(refused.into_record(), Some(Record::to("a/b").value("v")));
    let refused = producer.try_send(Record::to("")).unwrap_err();
    assert!(matches!(refused.error(), Error::InvalidTopic(_)));
    let refused = producer.enqueue(Record::to("missing")).await.unwrap_err();
    assert!(matches!(refused.into_error(), Error::UnknownTopic { .. }));
}

#[test]
fn a_topic_created_again_is_another() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    ready(producer.enqueue(record("old"))).unwrap();
    let waiting = ready(producer.enqueue(record("old, too"))).unwrap();
    mock.set_topic(topic("t", 2, 1, 1_000));
    let new = ready(producer.enqueue(record("new"))).unwrap();
    mock.complete_next();
    mock.complete_next();
    assert!(ready(new).is_ok(), "it does not wait behind the old topic's records");
    mock.fail_next(Error::UnknownTopic { topic: "t".into() });
    assert!(ready(waiting).is_err());
    let ids: Vec<_> = mock.state().submitted.iter().map(|(_, id, _)| id.0[0]).collect();
    assert_eq!(ids, [1, 2, 1]);
    assert_eq!(producer.stats().buffered_bytes, 0);
}

#[test]
fn partitions_that_are_added_are_used_and_those_there_keep_their_order() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    let clone = producer.clone();
    ready(producer.enqueue(record("0"))).unwrap();
    ready(clone.enqueue(record("1"))).unwrap();
    mock.set_topic(topic("t", 1, 2, 1_048_588));
    ready(producer.enqueue(record("2"))).unwrap();
    ready(clone.enqueue(record("3"))).unwrap();
    assert_eq!(mock.batch_sizes(), [1], "one batch in flight");
    ready(producer.enqueue(record("v").partition(1))).unwrap();
    assert_eq!(mock.batch_sizes(), [1, 1]);
    mock.complete_all();
    assert_eq!(mock.values(0), ["0", "1", "2", "3"]);
    let mut used: Vec<_> = (0..2)
        .map(|_| {
            let delivery = ready(producer.enqueue(Record::to("t").value("v"))).unwrap();
            mock.complete_all();
            ready(delivery).unwrap().partition
        })
        .collect();
    used.sort_unstable();
    assert_eq!(used, [0, 1]);
}

#[test]
fn topics_that_are_gone_are_forgotten() {
    let mock = Mock::new(Route::Immediate, 1);
    let producer = mock.producer().build();
    for n in 0..2_000 {
        let name = format!("topic-{n}");
        mock.set_topic(topic(&name, 3, 1, 1_000));
        ready(producer.send(Record::to(&*name).value("v"))).unwrap();
        mock.state().known.remove(&name);
    }
    let known = producer.inner.shared.busy().len();
    assert!(known < 600, "{known}");
}

#[test]
fn only_partitions_that_were_used_since_are_asked_by_a_flush() {
    let mock = Mock::new(Route::Hold, 3);
    let producer = mock.producer().build();
    let busy = || {
        let busy = producer.inner.shared.busy();
        let mut numbers: Vec<_> = busy.iter().map(|partition| partition.at().partition).collect();
        numbers.sort_unstable();
        numbers
    };
    let to = |partition| Record::to("t").partition(partition).value("v");
    let first = ready(producer.enqueue(to(2))).unwrap();
    let second = ready(producer.enqueue(to(0))).unwrap();
    let mut flushing = Box::pin(producer.flush());
    assert!(poll_once(flushing.as_mut()).is_none());
    mock.complete_all();
    assert!(poll_once(flushing.as_mut()).is_some());
    assert_eq!(busy(), [0, 2], "nobody has looked at them since");
    ready(producer.flush());
    assert!(busy().is_empty());
    let third = ready(producer.enqueue(to(2))).unwrap();
    assert_eq!(busy(), [2]);
    let mut flushing = Box::pin(producer.flush());
    assert!(poll_once(flushing.as_mut()).is_none(), "it waits for what came after the last one");
    mock.complete_all();
    assert!(poll_once(flushing.as_mut()).is_some());
    [first, second, third].into_iter().for_each(|delivery| drop(ready(delivery).unwrap()));
}
