//! Groups: what Kafka's tool decodes of `__consumer_offsets` is what our broker knows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ottla::Broker;

use crate::said::{Said, same};

/// Every record is decoded, and the last commit of each group and partition is compared. Returns
/// how many commits there are.
pub async fn check(
    broker: &Broker,
    partition: &Path,
    dirs: &Path,
    said: &Path,
) -> Result<usize, String> {
    let mut logs: Vec<_> = fs::read_dir(partition)
        .map_err(|error| error.to_string())?
        .map(|entry| entry.expect("is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    let mut last = BTreeMap::new();
    for log in logs {
        let log = log.strip_prefix(dirs).expect("it is one of them");
        let said = Said::read(said, log, "offsets")?;
        for line in said.lines.iter().filter(|line| line.starts_with("| offset: ")) {
            let (key, value) = decoded(line).ok_or(format!("not decoded: {line}"))?;
            last.insert(key.to_owned(), value.to_owned());
        }
    }
    let decoded: Vec<String> = last
        .iter()
        .filter(|(key, value)| key.contains(r#""type":"1""#) && *value != "<DELETE>")
        .map(|(key, value)| commit_line(key, value))
        .collect::<Option<_>>()
        .ok_or("a commit lacks a field")?;
    let known = known(broker).await;
    let mut decoded = decoded;
    decoded.sort();
    same(&decoded, &known)?;
    Ok(known.len())
}

/// Key and value of a record, in JSON.
fn decoded(line: &str) -> Option<(&str, &str)> {
    let (_, decoded) = line.split_once("] key: ")?;
    let (key, value) = decoded.split_once(" payload: ")?;
    (key.starts_with('{') && (value.starts_with('{') || value == "<DELETE>"))
        .then_some((key, value))
}

/// Group, topic, partition, offset and leader epoch, as Kafka has read them.
fn commit_line(key: &str, value: &str) -> Option<String> {
    let group = text(key, "group")?;
    let (topic, partition) = (text(key, "topic")?, number(key, "partition")?);
    let (offset, epoch) = (number(value, "offset")?, number(value, "leaderEpoch")?);
    Some(format!("{group} {topic}-{partition} {offset} in epoch {epoch}"))
}

/// The same as our broker has it.
async fn known(broker: &Broker) -> Vec<String> {
    let mut lines = Vec::new();
    for group in broker.admin().groups().await.unwrap() {
        for (at, committed) in broker.admin().group_offsets(&group).await.unwrap() {
            let (offset, epoch) = (committed.offset, committed.leader_epoch);
            lines.push(format!("{group} {at} {offset} in epoch {epoch}"));
        }
    }
    lines.sort();
    lines
}

/// A field's text; ours have nothing that JSON would escape.
fn text<'a>(json: &'a str, field: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{field}\":\""))?;
    rest.split('"').next()
}

fn number<'a>(json: &'a str, field: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{field}\":"))?;
    rest.split([',', '}']).next()
}
