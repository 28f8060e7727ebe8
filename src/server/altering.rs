//! Changing settings of topics, whichever request asks for it. Of one resource all changes are
//! made, or none.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::{Client, Server};
use super::configs::{Refusal, TOPIC, Told, Type, check_broker, of_topic, refused};
use crate::broker::FLUSH_MESSAGES;
use crate::topic::TopicName;
use crate::wire::ErrorCode;

/// What is asked for of one resource.
pub(super) struct Wanted {
    pub(super) kind: i8,
    pub(super) name: String,
    pub(super) changes: Vec<(String, Change)>,
    /// Whether whatever is not named goes back to its default.
    pub(super) is_all: bool,
}

/// What is to become of a setting.
pub(super) enum Change {
    Set(Option<String>),
    Unset,
    /// More elements of a list, and fewer.
    Append(Option<String>),
    Subtract(Option<String>),
    Unknown(i8),
}

/// What has become of a resource.
pub(super) struct Altered {
    pub(super) kind: i8,
    pub(super) name: String,
    pub(super) error_code: ErrorCode,
    pub(super) error_message: Option<String>,
}

impl Wanted {
    pub(super) fn refused(self, error_code: ErrorCode, why: String) -> Altered {
        Altered { kind: self.kind, name: self.name, error_code, error_message: Some(why) }
    }
}

/// Changes what can be changed, one resource after another. Only asked, it changes nothing.
pub(super) async fn alter(client: &Client, wanted: Vec<Wanted>, only_ask: bool) -> Vec<Altered> {
    let mut count: BTreeMap<(i8, String), usize> = BTreeMap::new();
    for it in &wanted {
        *count.entry((it.kind, it.name.clone())).or_default() += 1;
    }
    let mut altered = Vec::new();
    for wanted in wanted {
        let done = match count[&(wanted.kind, wanted.name.clone())] {
            1 => alter_one(client, &wanted, only_ask).await,
            _ => {
                let text = "the request names this resource more than once".to_owned();
                Err((ErrorCode::INVALID_REQUEST, text))
            }
        };
        altered.push(match done {
            Ok(()) => {
                let (error_code, error_message) = (ErrorCode::NONE, None);
                Altered { kind: wanted.kind, name: wanted.name, error_code, error_message }
            }
            Err((code, why)) => wanted.refused(code, why),
        });
    }
    altered
}

async fn alter_one(client: &Client, wanted: &Wanted, only_ask: bool) -> Result<(), Refusal> {
    let mut names = BTreeSet::new();
    if let Some((name, _)) = wanted.changes.iter().find(|(name, _)| !names.insert(name)) {
        let text = format!("the request names {name:?} more than once");
        return Err((ErrorCode::INVALID_REQUEST, text));
    }
    if wanted.kind != TOPIC {
        check_broker(client, wanted.kind, &wanted.name)?;
        let text = "a broker's settings are what it was started with".to_owned();
        return Err((ErrorCode::INVALID_REQUEST, text));
    }
    let server = &client.server;
    let present = of_topic(server, &wanted.name).map_err(|error| refused(&error))?;
    let mut changes = Vec::new();
    if wanted.is_all {
        let set = present.iter().filter(|it| it.is_set() && it.name != FLUSH_MESSAGES);
        let others = set.filter(|it| !names.contains(&it.name.to_string()));
        changes.extend(others.map(|it| (it.name.to_string(), None)));
    }
    for (name, change) in &wanted.changes {
        let present = present.iter().find(|it| it.name == *name);
        changes.extend(changed(server, name, change, present)?);
    }
    let topic = TopicName::parse(&wanted.name).map_err(|error| refused(&error.into()))?;
    let altered = server.broker().alter_configs(topic, changes, only_ask).await;
    altered.map_err(|error| refused(&error))
}

/// The setting's new value, if there is anything to be changed.
fn changed(
    server: &Server,
    name: &str,
    change: &Change,
    present: Option<&Told>,
) -> Result<Option<(String, Option<String>)>, Refusal> {
    let invalid = |why: String| (ErrorCode::INVALID_CONFIG, format!("{name}: {why}"));
    let no_value = || (ErrorCode::INVALID_REQUEST, format!("{name}: null is no value"));
    if server.broker().is_of_replicas(name) {
        return Ok(None);
    }
    let value = match change {
        Change::Set(value) => Some(value.clone().ok_or_else(no_value)?.trim().to_owned()),
        Change::Unset => None,
        Change::Append(value) | Change::Subtract(value) => {
            let named = value.as_ref().ok_or_else(no_value)?.split(',').map(str::trim);
            let named: Vec<&str> = named.filter(|it| !it.is_empty()).collect();
            let is_list = present.is_none_or(|it| it.kind == Type::List);
            if !is_list {
                return Err(invalid("it is no list, and only set or deleted".to_owned()));
            }
            let present = present.map_or("", |it| it.value.as_str()).split(',');
            let mut list: Vec<&str> = present.filter(|it| !named.contains(it)).collect();
            if matches!(change, Change::Append(_)) {
                list.extend(named);
            }
            Some(list.join(","))
        }
        Change::Unknown(operation) => {
            let text = format!("{name}: there is no operation {operation}");
            return Err((ErrorCode::INVALID_REQUEST, text));
        }
    };
    if name != FLUSH_MESSAGES {
        return Ok(Some((name.to_owned(), value)));
    }
    // What is promised for a topic is so from its first record on.
    let present = present.map(|it| if it.is_set() { it.value.as_str() } else { "" });
    match present == Some(value.as_deref().unwrap_or_default()) {
        true => Ok(None),
        false => Err(invalid("it is decided when a topic is created".to_owned())),
    }
}
