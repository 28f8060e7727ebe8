//! `ottla consume`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use ottla::{Client, Consumer, Error, RecordRef, Start, Timestamp, TopicPartition};

use crate::json;
use crate::output::{Done, Failure, Outcome};
use crate::parse;
use crate::place::{NETWORK_TIMEOUT, Place, partitions};
use crate::stop::stop_signal;

/// Records that are taken at once.
const POLL: usize = 10_000;

/// How long after the last record the end is looked for again: offsets may have no record (those of
/// transactions' marks, or behind compaction), and nobody is told when they have been passed.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Consume {
    #[command(flatten)]
    place: Place,

    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Only this partition of the topics; may be repeated
    #[arg(short, long = "partition", value_name = "N")]
    partitions: Vec<i32>,

    /// From where in each partition: earliest, an offset, as many records before the end (-10), or
    /// the first record of a time (@2026-11-22T10:00:00Z, or @ and milliseconds since 1970)
    #[arg(short, long, default_value = "earliest", value_name = "WHERE",
          allow_hyphen_values = true, value_parser = From::parse)]
    offset: From,

    /// At most so many records
    #[arg(short = 'n', long, value_name = "N")]
    max: Option<usize>,

    /// Goes on where this group has committed, and commits what was printed
    #[arg(short, long, conflicts_with = "offset")]
    group: Option<String>,

    /// Writes a line of JSON for each record
    #[arg(long)]
    json: bool,

    /// Writes each record like this; see below
    #[arg(short, long, conflicts_with = "json", default_value = "%s\\n", hide_default_value = true,
          value_parser = Format::parse)]
    format: Format,
}

const AFTER: &str = "\
Prints what is there, value by value, and ends. The order is kept within a partition. A format has

  %t topic   %p partition   %o offset   %T timestamp (milliseconds since 1970; -1 for none)
  %k key     %s value       %h headers (name=value, with commas)
  %K, %S     length of the key, of the value; -1 for null
  %%  \\n  \\t  \\r  \\\\";

/// From where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Earliest,
    Offset(i64),
    BeforeEnd(i64),
    Time(Timestamp),
}

impl From {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "earliest" {
            return Ok(From::Earliest);
        }
        if let Some(time) = text.strip_prefix('@') {
            return parse::time(time).map(From::Time);
        }
        match text.parse::<i64>() {
            Ok(offset) if text.starts_with('-') => Ok(From::BeforeEnd(offset.saturating_neg())),
            Ok(offset) => Ok(From::Offset(offset)),
            Err(_) => Err(format!("{text:?} is none of earliest, an offset, -N, @ with a time")),
        }
    }
}

/// What is written of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Of(char),
}

impl Format {
    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, chars.clone().next()) {
                ('%', Some('%')) | ('\\', Some('\\')) => plain.push(c),
                ('\\', Some('n')) => plain.push('\n'),
                ('\\', Some('t')) => plain.push('\t'),
                ('\\', Some('r')) => plain.push('\r'),
                ('%', Some(of)) if "tpoTkshKS".contains(of) => {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    pieces.push(Piece::Of(of));
                }
                ('%' | '\\', next) => {
                    let next = next.map(String::from).unwrap_or_default();
                    return Err(format!("{c}{next} means nothing"));
                }
                _ => {
                    plain.push(c);
                    continue;
                }
            }
            chars.next();
        }
        pieces.push(Piece::Text(plain));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Format(pieces))
    }

    fn write(&self, out: &mut impl Write, record: &RecordRef<'_>) -> io::Result<()> {
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |it| it.len() as i64);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text.as_bytes())?,
                Piece::Of('t') => out.write_all(record.topic.as_str().as_bytes())?,
                Piece::Of('p') => write!(out, "{}", record.partition)?,
                Piece::Of('o') => write!(out, "{}", record.offset)?,
                Piece::Of('T') => write!(out, "{}", record.timestamp)?,
                Piece::Of('k') => out.write_all(record.key.unwrap_or_default())?,
                Piece::Of('s') => out.write_all(record.value.unwrap_or_default())?,
                Piece::Of('K') => write!(out, "{}", len(record.key))?,
                Piece::Of('S') => write!(out, "{}", len(record.value))?,
                Piece::Of(_) => write_headers(out, record)?,
            }
        }
        Ok(())
    }
}

fn write_headers(out: &mut impl Write, record: &RecordRef<'_>) -> io::Result<()> {
    for (i, header) in record.headers().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        write!(out, "{comma}{}=", header.key)?;
        out.write_all(header.value.unwrap_or_default())?;
    }
    Ok(())
}

impl Consume {
    pub(crate) async fn run(self) -> Outcome {
        match self.group {
            Some(_) => self.place.change(async |client| self.print(client).await).await,
            None => self.print(&self.place.read().await?).await,
        }
    }

    async fn print(&self, client: &Client) -> Outcome {
        let mut consumer = self.consumer(client).await?;
        let outcome = self.print_all(&mut consumer).await;
        // Not what could not be printed.
        if self.group.is_some() && outcome.is_ok() {
            consumer.commit().await?;
        }
        outcome
    }

    async fn consumer(&self, client: &Client) -> Result<Consumer, Failure> {
        let partitions = partitions(client, &self.topics, &self.partitions).await?;
        let start = match self.offset {
            From::Time(time) => Start::Timestamp(time),
            _ => Start::Earliest,
        };
        let builder = client.consumer().start(start);
        if let Some(group) = &self.group {
            return Ok(builder.group(group).assign(partitions).await?);
        }
        let mut consumer = builder.assign(partitions).await?;
        if let From::Offset(_) | From::BeforeEnd(_) = self.offset {
            self.seek(&mut consumer).await?;
        }
        Ok(consumer)
    }

    /// Never out of a partition's range: of several partitions, one can be shorter.
    async fn seek(&self, consumer: &mut Consumer) -> Result<(), Failure> {
        for (at, position) in consumer.positions() {
            let (start, end) = (position.offset, consumer.end_offset(&at).await?);
            let wanted = match self.offset {
                From::Offset(offset) => offset,
                From::BeforeEnd(count) => end.saturating_sub(count),
                From::Earliest | From::Time(_) => continue,
            };
            consumer.seek(&at, wanted.clamp(start, end.max(start)))?;
        }
        Ok(())
    }

    async fn print_all(&self, consumer: &mut Consumer) -> Outcome {
        let stop = stop_signal()?;
        tokio::pin!(stop);
        let ends = ask_for_ends(consumer).await?;
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let mut left = self.max.unwrap_or(usize::MAX);
        let mut losses = false;
        let mut heard = Instant::now();
        while left > 0 && !is_at(consumer, &ends) {
            let records = tokio::select! {
                biased;
                () = &mut stop => break,
                records = consumer.poll(left.min(POLL)) => records,
                () = tokio::time::sleep(LOOK_AGAIN) => {
                    // A consumer waits for brokers for ever; whoever runs this need not.
                    if heard.elapsed() > NETWORK_TIMEOUT {
                        ask_for_ends(consumer).await?;
                        heard = Instant::now();
                    }
                    continue;
                }
            };
            heard = Instant::now();
            match records {
                Ok(records) => {
                    for record in &records {
                        match self.json {
                            true => json::write(&mut out, &record)?,
                            false => self.format.write(&mut out, &record)?,
                        }
                    }
                    left -= records.len();
                }
                // Told, and passed.
                Err(
                    error @ (Error::Corrupt { .. }
                    | Error::Truncated { .. }
                    | Error::OffsetOutOfRange { .. }),
                ) => {
                    out.flush()?;
                    eprintln!("ottla: {error}");
                    losses = true;
                }
                Err(error) => {
                    out.flush()?;
                    return Err(error.into());
                }
            }
        }
        out.flush()?;
        Ok(Done::losing(losses))
    }
}

async fn ask_for_ends(consumer: &mut Consumer) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let mut ends = BTreeMap::new();
    for at in consumer.assignment() {
        ends.insert(at.clone(), consumer.end_offset(&at).await?);
    }
    Ok(ends)
}

fn is_at(consumer: &Consumer, ends: &BTreeMap<TopicPartition, i64>) -> bool {
    ends.iter().all(|(at, end)| consumer.position(at).is_some_and(|it| it.offset >= *end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin() {
        assert_eq!(From::parse("earliest"), Ok(From::Earliest));
        assert_eq!(From::parse("12"), Ok(From::Offset(12)));
        assert_eq!(From::parse("-12"), Ok(From::BeforeEnd(12)));
        assert_eq!(From::parse("-9223372036854775808"), Ok(From::BeforeEnd(i64::MAX)));
        assert_eq!(From::parse("@7"), Ok(From::Time(Timestamp::from_millis(7))));
        for odd in ["", "-", "end", "1.5", "@", "@soon", "99999999999999999999"] {
            assert!(From::parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn formats_are_read_to_their_ends() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let parsed = Format::parse("%t\\t%%%s\\\\%\n").unwrap_err();
        assert_eq!(parsed, "%\n means nothing");
        let parsed = Format::parse("%t\\t%%%s\\\\\\n").unwrap();
        assert_eq!(parsed.0, [Piece::Of('t'), text("\t%"), Piece::Of('s'), text("\\\n")]);
        assert_eq!(Format::parse("a\\"), Err("\\ means nothing".to_owned()));
        assert_eq!(Format::parse("%"), Err("% means nothing".to_owned()));
        assert_eq!(Format::parse(""), Ok(Format(Vec::new())));
    }
}
