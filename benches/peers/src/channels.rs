//! Channels, which many would take instead: what each has to do in a row in memory.

use tokio::sync::{broadcast, mpsc};

use crate::measure::{Sample, Timer};
use crate::payload;

/// The capacity of every channel.
pub(crate) const CAPACITY: usize = 1024;

/// `tokio::sync::mpsc`, many at once.
pub(crate) async fn mpsc_recv_many(len: usize, count: u64) -> Sample {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(CAPACITY);
    let timer = Timer::start();
    tokio::spawn(async move {
        for number in 0..count {
            sender.send(payload::vec(len, number)).await.expect("the receiver is there");
        }
    });
    let receiving = tokio::spawn(async move {
        let (mut sum, mut taken) = (0_u64, Vec::with_capacity(CAPACITY));
        while receiver.recv_many(&mut taken, CAPACITY).await > 0 {
            sum = taken.drain(..).fold(sum, |sum, it| sum.wrapping_add(payload::sum(&it)));
        }
        sum
    });
    let sum = receiving.await.expect("nothing fails");
    timer.stop(count, sum)
}

/// `tokio::sync::mpsc`, one by one.
pub(crate) async fn mpsc_recv(len: usize, count: u64) -> Sample {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(CAPACITY);
    let timer = Timer::start();
    tokio::spawn(async move {
        for number in 0..count {
            sender.send(payload::vec(len, number)).await.expect("the receiver is there");
        }
    });
    let receiving = tokio::spawn(async move {
        let mut sum = 0_u64;
        while let Some(payload) = receiver.recv().await {
            sum = sum.wrapping_add(payload::sum(&payload));
        }
        sum
    });
    let sum = receiving.await.expect("nothing fails");
    timer.stop(count, sum)
}

pub(crate) async fn flume(len: usize, count: u64) -> Sample {
    let (sender, receiver) = flume::bounded::<Vec<u8>>(CAPACITY);
    let timer = Timer::start();
    tokio::spawn(async move {
        for number in 0..count {
            let sent = sender.send_async(payload::vec(len, number)).await;
            sent.expect("the receiver is there");
        }
    });
    let receiving = tokio::spawn(async move {
        let mut sum = 0_u64;
        while let Ok(payload) = receiver.recv_async().await {
            sum = sum.wrapping_add(payload::sum(&payload));
        }
        sum
    });
    let sum = receiving.await.expect("nothing fails");
    timer.stop(count, sum)
}

pub(crate) async fn kanal(len: usize, count: u64) -> Sample {
    let (sender, receiver) = kanal::bounded_async::<Vec<u8>>(CAPACITY);
    let timer = Timer::start();
    tokio::spawn(async move {
        for number in 0..count {
            sender.send(payload::vec(len, number)).await.expect("the receiver is there");
        }
    });
    let receiving = tokio::spawn(async move {
        let mut sum = 0_u64;
        while let Ok(payload) = receiver.recv().await {
            sum = sum.wrapping_add(payload::sum(&payload));
        }
        sum
    });
    let sum = receiving.await.expect("nothing fails");
    timer.stop(count, sum)
}

/// `async-broadcast`, which waits for the slowest. Payloads are `Bytes`: each receiver has its own
/// handle of the same memory.
pub(crate) async fn async_broadcast(len: usize, count: u64, receivers: usize) -> Sample {
    let (sender, receiver) = async_broadcast::broadcast::<bytes::Bytes>(CAPACITY);
    let handles: Vec<_> = (0..receivers).map(|_| receiver.new_receiver()).collect();
    drop(receiver);
    let timer = Timer::start();
    tokio::spawn(async move {
        for number in 0..count {
            let payload = payload::vec(len, number).into();
            sender.broadcast_direct(payload).await.expect("the receivers are there");
        }
    });
    let receiving = handles.into_iter().map(|mut receiver| {
        tokio::spawn(async move {
            let mut sum = 0_u64;
            while let Ok(payload) = receiver.recv_direct().await {
                sum = sum.wrapping_add(payload::sum(&payload));
            }
            sum
        })
    });
    let sum = the_same(receiving.collect()).await;
    timer.stop(count * receivers as u64, sum)
}

/// `tokio::sync::broadcast`, which loses what a receiver is too slow for. Only what arrived counts
/// for its rate.
pub(crate) async fn broadcast(len: usize, count: u64, receivers: usize) -> Sample {
    let (sender, receiver) = broadcast::channel::<bytes::Bytes>(CAPACITY);
    let handles: Vec<_> = (0..receivers).map(|_| receiver.resubscribe()).collect();
    drop(receiver);
    let timer = Timer::start();
    tokio::spawn(async move {
        for number in 0..count {
            sender.send(payload::vec(len, number).into()).expect("the receivers are there");
            // It never waits, so that nobody else would have his turn.
            tokio::task::consume_budget().await;
        }
    });
    let receiving: Vec<_> =
        handles.into_iter().map(|receiver| tokio::spawn(listen(receiver))).collect();
    let (mut received, mut sum, mut lost) = (0, 0_u64, 0);
    for receiver in receiving {
        let (its, of_it, missed) = receiver.await.expect("nothing fails");
        (received, sum, lost) = (received + its, sum.wrapping_add(of_it), lost + missed);
    }
    timer.stop(received, sum).with("lost", lost as f64 / (count * receivers as u64) as f64)
}

async fn listen(mut receiver: broadcast::Receiver<bytes::Bytes>) -> (u64, u64, u64) {
    use broadcast::error::RecvError;
    let (mut received, mut sum, mut lost) = (0, 0_u64, 0);
    loop {
        match receiver.recv().await {
            Ok(payload) => {
                received += 1;
                sum = sum.wrapping_add(payload::sum(&payload));
            }
            Err(RecvError::Lagged(missed)) => lost += missed,
            Err(RecvError::Closed) => return (received, sum, lost),
        }
    }
}

/// What all of them have summed up.
pub(crate) async fn the_same(receiving: Vec<tokio::task::JoinHandle<u64>>) -> u64 {
    let mut sums = Vec::new();
    for receiver in receiving {
        sums.push(receiver.await.expect("nothing fails"));
    }
    assert!(sums.windows(2).all(|two| two[0] == two[1]), "each has received everything");
    sums[0]
}
