//! A record as JSON: what `consume --json` writes and `produce --json` reads, a line each.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ottla::{Record, RecordRef, Timestamp};
use serde::{Deserialize, Serialize};

/// Bytes: a text where they are one, otherwise `{"base64": "…"}`. Null is null, and not here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
#[serde(expecting = "a key or a value is a text, {\"base64\": \"…\"} or null")]
pub(crate) enum JsonBytes<'a> {
    Text(Cow<'a, str>),
    Binary { base64: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonHeader<'a> {
    pub(crate) key: Cow<'a, str>,
    #[serde(default)]
    pub(crate) value: Option<JsonBytes<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonRecord<'a> {
    pub(crate) topic: Option<Cow<'a, str>>,
    pub(crate) partition: Option<i32>,
    /// Of a record that was read; of one that is written it means nothing.
    pub(crate) offset: Option<i64>,
    /// Milliseconds since 1970; null if it has none.
    pub(crate) timestamp: Option<i64>,
    #[serde(default)]
    pub(crate) key: Option<JsonBytes<'a>>,
    #[serde(default)]
    pub(crate) value: Option<JsonBytes<'a>>,
    #[serde(default)]
    pub(crate) headers: Vec<JsonHeader<'a>>,
}

impl<'a> JsonBytes<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => JsonBytes::Text(text.into()),
            Err(_) => JsonBytes::Binary { base64: STANDARD.encode(bytes) },
        }
    }

    fn into_bytes(self) -> Result<Vec<u8>, String> {
        match self {
            JsonBytes::Text(text) => Ok(text.into_owned().into_bytes()),
            JsonBytes::Binary { base64 } => {
                STANDARD.decode(base64).map_err(|error| format!("it is no base64: {error}"))
            }
        }
    }
}

/// A record as a line.
pub(crate) fn write(out: &mut impl Write, record: &RecordRef<'_>) -> io::Result<()> {
    let headers = record
        .headers()
        .map(|header| JsonHeader { key: header.key, value: header.value.map(JsonBytes::of) });
    let timestamp = (record.timestamp != Timestamp::NONE).then(|| record.timestamp.as_millis());
    let record = JsonRecord {
        topic: Some(record.topic.as_str().into()),
        partition: Some(record.partition),
        offset: Some(record.offset),
        timestamp,
        key: record.key.map(JsonBytes::of),
        value: record.value.map(JsonBytes::of),
        headers: headers.collect(),
    };
    serde_json::to_writer(&mut *out, &record)?;
    out.write_all(b"\n")
}

/// A line as a record; `topic`, where it is given, is where it goes whatever the line says.
pub(crate) fn read(line: &[u8], topic: Option<&str>) -> Result<Record<'static>, String> {
    let json: JsonRecord<'_> = serde_json::from_slice(line)
        // Which line it is, is said by whoever has read it.
        .map_err(|error| error.to_string().replace(" at line 1 column", " at column"))?;
    let topic = match (topic, json.topic) {
        (Some(topic), _) => topic.to_owned(),
        (None, Some(topic)) => topic.into_owned(),
        (None, None) => return Err("it has no \"topic\", and none was given".to_owned()),
    };
    let mut record = Record::to(topic);
    record.partition = json.partition;
    record.timestamp = json.timestamp.map(Timestamp::from_millis);
    if let Some(key) = json.key {
        record = record.key(key.into_bytes()?);
    }
    if let Some(value) = json.value {
        record = record.value(value.into_bytes()?);
    }
    for JsonHeader { key, value } in json.headers {
        let key = key.into_owned();
        record = match value {
            Some(value) => record.header(key, value.into_bytes()?),
            None => record.null_header(key),
        };
    }
    Ok(record)
}
