//! `ottla produce`.

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Read};

use indicatif::ProgressBar;
use ottla::{Client, Compression, Delivery, Producer, Record};
use tokio::sync::mpsc;

use crate::json;
use crate::output::{Done, Failure, Outcome, count, printable_bytes, progress};
use crate::parse::name_and_value;
use crate::place::{NETWORK_TIMEOUT, Place};
use crate::stop::stop_signal;

/// A line longer than this is refused before it is in memory; topics allow 1 MiB by default.
const MAX_LINE: usize = 64 << 20;

/// Records that are on their way at once, besides what the producer's buffer limits.
const UNDER_WAY: usize = 10_000;

/// Lines that have been read, and wait.
const READ_AHEAD: usize = 1024;

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Produce {
    #[command(flatten)]
    place: Place,

    /// The topic, which is created if it is not there
    #[arg(required_unless_present = "json")]
    topic: Option<String>,

    /// Each line is a record as JSON, as consume --json writes it
    #[arg(long)]
    json: bool,

    /// The key of all records
    #[arg(short, long, conflicts_with_all = ["json", "key_separator"])]
    key: Option<String>,

    /// What stands before this on a line is the record's key
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "json",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,

    /// Lines without a value are tombstones: null values, which delete a key of a compacted topic
    #[arg(long, conflicts_with = "json")]
    tombstones: bool,

    /// A header of all records; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = name_and_value)]
    headers: Vec<(String, String)>,

    /// The partition of all records; otherwise by key, or in turn
    #[arg(short, long, value_name = "N")]
    partition: Option<i32>,

    /// How batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, default_value = "none", value_name = "CODEC")]
    compression: Compression,
}

const AFTER: &str = "\
A line is a record's value, without the newline; the last line need not have one. With --json it is
an object such as

  {\"key\":\"alice\",\"value\":\"2 coffees\",\"headers\":[{\"key\":\"shop\",\"value\":\"corner\"}]}

with topic, partition and timestamp (milliseconds since 1970) if you like; bytes that are no text
are {\"base64\":\"AAE=\"}. A topic on the command line counts more than a line's. So a topic is
copied by

  ottla consume -d FROM orders --json | ottla produce -d TO --json

and with -b HOST:PORT instead of -d TO from a directory to brokers. It ends when all records are
acknowledged. At the first that can't be taken it stops, and tells the line.";

/// A line of the input.
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

impl Produce {
    pub(crate) async fn run(self) -> Outcome {
        if io::stdin().is_terminal() {
            eprintln!("ottla: one record a line; ctrl-d ends");
        }
        self.place.make(async |client| self.feed(client).await).await
    }

    async fn feed(&self, client: &Client) -> Outcome {
        let stop = stop_signal()?;
        let mut lines = read_lines();
        let producer = client.producer().compression(self.compression);
        let producer = producer.delivery_timeout(NETWORK_TIMEOUT).build();
        let mut flow = Flow::new(&producer);
        tokio::pin!(stop);
        let outcome = loop {
            let line = tokio::select! {
                biased;
                () = &mut stop => break Err("interrupted".to_owned()),
                line = lines.recv() => line,
            };
            let line = match line {
                None => break Ok(()),
                Some(Ok(line)) => line,
                Some(Err(why)) => break Err(why),
            };
            if let Err(why) = self.take(line, &mut flow).await {
                break Err(why);
            }
        };
        let outcome = match outcome {
            Ok(()) => flow.settle(0).await,
            stopped => stopped,
        };
        flow.end(outcome).await
    }

    async fn take(&self, line: Line, flow: &mut Flow<'_>) -> Result<(), String> {
        let Line { number, bytes } = line;
        let read = bytes.len() as u64 + 1;
        let record = self.record(bytes).map_err(|why| format!("line {number}: {why}"))?;
        flow.send(number, record, read).await
    }

    fn record(&self, line: Vec<u8>) -> Result<Record<'static>, String> {
        let mut record = match (&self.topic, self.json) {
            (topic, true) => json::read(&line, topic.as_deref())?,
            (Some(topic), false) => self.plain(topic.clone(), line)?,
            (None, false) => return Err("no topic was given".to_owned()),
        };
        if self.partition.is_some() {
            record.partition = self.partition;
        }
        for (name, value) in &self.headers {
            record = record.header(name.clone(), value.clone());
        }
        Ok(record)
    }

    fn plain(&self, topic: String, mut line: Vec<u8>) -> Result<Record<'static>, String> {
        let mut record = Record::to(topic);
        if let Some(separator) = &self.key_separator {
            let separator = separator.as_bytes();
            let found = line.windows(separator.len()).position(|it| it == separator);
            let Some(at) = found else {
                return Err(format!("there is no {:?} in it", printable_bytes(separator)));
            };
            let value = line.split_off(at + separator.len());
            line.truncate(at);
            record = record.key(std::mem::replace(&mut line, value));
        } else if let Some(key) = &self.key {
            record = record.key(key.clone());
        }
        match self.tombstones && line.is_empty() {
            true => Ok(record),
            false => Ok(record.value(line)),
        }
    }
}

/// Records on their way, and what has become of those before.
struct Flow<'a> {
    producer: &'a Producer,
    under_way: VecDeque<(u64, Delivery)>,
    written: u64,
    bar: ProgressBar,
}

impl<'a> Flow<'a> {
    fn new(producer: &'a Producer) -> Self {
        let bar = progress(input_len(), "producing");
        Flow { producer, under_way: VecDeque::new(), written: 0, bar }
    }

    async fn send(&mut self, line: u64, record: Record<'static>, read: u64) -> Result<(), String> {
        let sent = self.producer.enqueue(record).await;
        let delivery = sent.map_err(|error| format!("line {line}: {error}"))?;
        self.under_way.push_back((line, delivery));
        self.bar.inc(read);
        self.settle(UNDER_WAY).await
    }

    /// Waits until no more than `left` are under way.
    async fn settle(&mut self, left: usize) -> Result<(), String> {
        while self.under_way.len() > left {
            let Some((line, delivery)) = self.under_way.pop_front() else { break };
            delivery.await.map_err(|error| format!("line {line}: {error}"))?;
            self.written += 1;
        }
        Ok(())
    }

    /// Says what was written. Where it stopped early, what was on its way counts, if it arrived.
    async fn end(mut self, outcome: Result<(), String>) -> Outcome {
        while let Some((_, delivery)) = self.under_way.pop_front() {
            self.written += u64::from(delivery.await.is_ok());
        }
        self.bar.finish_and_clear();
        let written = count(self.written, "record is written", "records are written");
        match outcome {
            Ok(()) => {
                eprintln!("ottla: {written}");
                Ok(Done::Well)
            }
            Err(why) => Err(Failure::Said(format!("{why}; {written}"))),
        }
    }
}

/// Lines of standard input, read on a thread of their own: nothing else can wait for a terminal.
/// The thread ends with the process.
fn read_lines() -> mpsc::Receiver<Result<Line, String>> {
    let (lines, receiver) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        for number in 1.. {
            let line = match read_line(&mut input) {
                Ok(None) => break,
                Ok(Some(bytes)) => Ok(Line { number, bytes }),
                Err(why) => Err(format!("line {number}: {why}")),
            };
            let is_last = line.is_err();
            if lines.blocking_send(line).is_err() || is_last {
                break;
            }
        }
    });
    receiver
}

fn read_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    let read = input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
    match read.map_err(|error| format!("reading standard input: {error}"))? {
        0 => return Ok(None),
        _ if line.last() == Some(&b'\n') => drop(line.pop()),
        _ if line.len() > MAX_LINE => return Err(format!("it is longer than {MAX_LINE} bytes")),
        _ => {}
    }
    Ok(Some(line))
}

/// How much there is to read, where standard input is a file.
#[cfg(unix)]
fn input_len() -> Option<u64> {
    use std::os::fd::AsFd;
    let input = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let metadata = std::fs::File::from(input).metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
}

#[cfg(not(unix))]
fn input_len() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_all_but_their_newlines() {
        let mut input = io::Cursor::new(b"a\n\nb\r\n\xff".to_vec());
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"a"[..], b"", b"b\r", b"\xff"]);
    }

    #[test]
    fn a_line_has_a_limit() {
        let whole = io::repeat(b'x').take(MAX_LINE as u64).chain(&b"\n"[..]);
        let line = read_line(&mut io::BufReader::new(whole)).unwrap().unwrap();
        assert_eq!(line.len(), MAX_LINE);
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        assert!(read_line(&mut endless).unwrap_err().contains("longer than 67108864 bytes"));
    }
}
