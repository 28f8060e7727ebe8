//! Many threads at once, over a transport that answers from a thread of its own.

use std::thread;

use super::*;

const THREADS: usize = 4;
const RECORDS: usize = 50_000;
const PARTITIONS: usize = 3;

#[test]
fn threads_share_a_producer_and_nothing_is_lost_or_out_of_order() {
    let (sender, submissions) = mpsc::channel();
    let mock = Mock::new(Route::Channel(sender), PARTITIONS as i32);
    let producer = mock.producer().batch_size(4 << 10).buffer_memory(64 << 10).build();
    let completing = thread::spawn({
        let mock = Arc::clone(&mock);
        move || submissions.into_iter().for_each(|submission| mock.accept(submission))
    });
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let producer = &producer;
            scope.spawn(move || produce(producer, thread));
        }
    });
    producer.flush_blocking();
    let stats = producer.stats();
    assert_eq!((stats.records_sent, stats.records_failed), ((THREADS * RECORDS) as u64, 0));
    assert_eq!(stats.buffered_bytes, 0);
    assert!(stats.batches < stats.records_sent, "what queues up is batched");
    for partition in 0..PARTITIONS {
        check_order(&mock.values(partition as i32));
    }
    // Ends the completing thread.
    mock.state().route = Route::Hold;
    completing.join().unwrap();
}

fn produce(producer: &Producer, thread: usize) {
    for n in 0..RECORDS {
        let value = format!("{thread} {n}");
        let record = record(&value).partition((n % PARTITIONS) as i32);
        match n % 1_000 {
            0 => drop(producer.send_blocking(record).unwrap()),
            _ => drop(producer.enqueue_blocking(record).unwrap()),
        }
    }
}

/// Of each thread's records, all that were sent here are here, in order.
fn check_order(values: &[String]) {
    let mut next = [None; THREADS];
    for value in values {
        let (thread, n) = value.split_once(' ').unwrap();
        let (thread, n): (usize, usize) = (thread.parse().unwrap(), n.parse().unwrap());
        let expected = next[thread].unwrap_or(n % PARTITIONS);
        assert_eq!(n, expected, "of thread {thread}");
        next[thread] = Some(n + PARTITIONS);
    }
    assert!(next.iter().all(|next| next.is_some_and(|next| next >= RECORDS)), "{next:?}");
}

#[tokio::test]
async fn tasks_that_await_each_send_share_batches() {
    let (sender, submissions) = mpsc::channel();
    let mock = Mock::new(Route::Channel(sender), 1);
    let producer = mock.producer().build();
    let completing = thread::spawn({
        let mock = Arc::clone(&mock);
        move || submissions.into_iter().for_each(|submission| mock.accept(submission))
    });
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let producer = producer.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    producer.send(record("v")).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = producer.stats();
    assert_eq!((stats.records_sent, stats.buffered_bytes), (10_000, 0));
    mock.state().route = Route::Hold;
    completing.join().unwrap();
}
