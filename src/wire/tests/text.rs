//! What `{:?}` shows of a message, as a tree: both sides name their fields as Kafka does, so that
//! values can be compared by name, whatever the types around them are called.

use std::collections::BTreeMap;

/// A value that was shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    Fields(BTreeMap<String, Shown>),
    List(Vec<Shown>),
    /// A number, a string, `None`, …
    Word(String),
}

impl Shown {
    pub(super) fn of(value: &impl std::fmt::Debug) -> Shown {
        let text = format!("{value:?}");
        let mut rest = text.as_str();
        let shown = parse(&mut rest);
        assert_eq!(rest, "", "not all of it was read: {text}");
        shown
    }

    /// Asserts that all that is here is there as well. The other has fields of later versions, too.
    pub(super) fn is_within(&self, other: &Shown, path: &str) {
        match (self, other) {
            (Shown::Fields(own), Shown::Fields(other)) => {
                for (name, value) in own {
                    let path = format!("{path}.{name}");
                    let theirs = other.get(name).unwrap_or_else(|| panic!("no {path}: {other:?}"));
                    value.is_within(theirs, &path);
                }
            }
            (Shown::List(own), Shown::List(other)) => {
                assert_eq!(own.len(), other.len(), "{path}");
                own.iter().zip(other).for_each(|(own, other)| own.is_within(other, path));
            }
            _ => assert_eq!(self, other, "{path}"),
        }
    }
}

fn parse(rest: &mut &str) -> Shown {
    *rest = rest.trim_start();
    if rest.starts_with('[') {
        *rest = &rest[1..];
        return Shown::List(list(rest, ']'));
    }
    let quoted = rest.trim_start_matches('b').starts_with('"');
    if quoted {
        return Shown::Word(string(rest));
    }
    let end = rest.find([' ', '(', ',', ')', ']', '}', '{']).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    match after.trim_start().chars().next() {
        Some('(') => {
            *rest = &after[1..];
            let mut inner = list(rest, ')');
            assert_eq!(inner.len(), 1, "newtypes only");
            match inner.remove(0) {
                Shown::List(mut pieces) if word == "Records" => pieces.remove(0),
                other => other,
            }
        }
        Some('{') if after.starts_with(" {") || word.is_empty() => {
            *rest = &after.trim_start()[1..];
            Shown::Fields(fields(rest))
        }
        _ => Shown::Word(normal(word)),
    }
}

fn list(rest: &mut &str, end: char) -> Vec<Shown> {
    let mut elements = Vec::new();
    loop {
        *rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix(end) {
            *rest = after;
            return elements;
        }
        elements.push(parse(rest));
    }
}

fn fields(rest: &mut &str) -> BTreeMap<String, Shown> {
    let mut fields = BTreeMap::new();
    loop {
        *rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            *rest = after;
            return fields;
        }
        let (name, after) = rest.split_once(": ").expect("a name and a value");
        *rest = after;
        let value = parse(rest);
        fields.insert(name.to_owned(), value);
    }
}

/// A quoted string, as it stands: both sides escape alike.
fn string(rest: &mut &str) -> String {
    let start = rest.find('"').expect("it is quoted") + 1;
    let mut escaped = false;
    let len = rest[start..].find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    let (text, after) = rest[start..].split_at(len.expect("it ends"));
    *rest = &after[1..];
    text.to_owned()
}

/// Ids are shown in two ways: as 22 characters of base64, and as 32 digits and dashes.
fn normal(word: &str) -> String {
    match crate::topic::TopicId::parse(word) {
        Some(id) => format!("{:032x}", u128::from_be_bytes(id.0)),
        None if word.len() == 36 => word.replace('-', ""),
        None => word.to_owned(),
    }
}
