//! `produce` and `consume`.

use std::io::{BufRead, BufReader, Write};

use serde_json::{Value, json};

#[cfg(unix)]
use super::{command, ended, signal};
use super::{ottla, place, with_input};

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn lines_go_in_and_come_out() {
    let (_dir, data) = place();
    let made = with_input(b"one\n\ntwo\r\nthree", &["produce", "-d", &data, "orders"]);
    assert!(made.err.contains("new data directory"), "{made:#?}");
    assert!(made.err.contains("4 records are written"), "{made:#?}");
    assert_eq!(made.done(), "");
    assert_eq!(ottla(&["consume", "-d", &data, "orders"]).done(), "one\n\ntwo\r\nthree\n");
    // The name is no slip now.
    let more = with_input(b"four\n", &["produce", "-d", &data, "orders"]);
    assert!(!more.err.contains("new"), "{more:#?}");
    assert!(more.err.contains("1 record is written"), "{more:#?}");
    let all = ottla(&["consume", "-d", &data, "orders", "-f", "%o:%s\\n"]).done();
    assert_eq!(lines(&all), ["0:one", "1:", "2:two\r", "3:three", "4:four"].map(str::trim_end));
}

#[test]
fn keys_headers_and_tombstones() {
    let (_dir, data) = place();
    let orders = ["produce", "-d", &data, "orders"];
    with_input(b"a=>1=>x\nb=>\n", &[&orders[..], &["-K", "=>", "--tombstones"]].concat()).done();
    let extra = ["--key", "c", "-H", "shop=corner", "-H", "a=b=c", "--compression", "none"];
    with_input(b"2\n", &[&orders[..], &extra].concat()).done();
    let all = ottla(&["consume", "-d", &data, "orders", "-f", "%t-%p %K %k %S %s [%h] 100%%\\n"]);
    assert_eq!(
        lines(&all.done()),
        [
            "orders-0 1 a 4 1=>x [] 100%",
            "orders-0 1 b -1  [] 100%",
            "orders-0 1 c 1 2 [shop=corner,a=b=c] 100%",
        ]
    );
}

#[test]
fn a_topic_is_copied_by_json() {
    let (_dir, from) = place();
    let (_other, to) = place();
    copy(["-d", &from], ["-d", &to]);
}

/// Every kind of record, written here, arrives there.
pub(super) fn copy(from: [&str; 2], to: [&str; 2]) {
    let [in_from, in_to] = [from, to].map(|place| {
        move |args: &[&'static str], input: &str| {
            with_input(input.as_bytes(), &[args, &place].concat()).done()
        }
    });
    let base64 = |text: &str| json!({ "base64": text });
    let sent = [
        json!({ "topic": "orders", "partition": 2, "timestamp": 1_700_000_000_123_i64,
            "key": "alice", "value": "grün \u{1}\n\"quoted\"", "headers": [
                { "key": "shop", "value": "corner" }, { "key": "shop", "value": base64("/wA=") },
                { "key": "", "value": null } ] }),
        json!({ "topic": "orders", "partition": 2, "timestamp": 1, "key": base64("wyg="),
            "value": null, "headers": [] }),
        json!({ "topic": "orders", "partition": 0, "timestamp": 2, "key": null, "value": "",
            "headers": [] }),
    ];
    in_from(&["topics", "create", "orders", "-p", "3"], "");
    in_to(&["topics", "create", "orders", "-p", "3"], "");
    let text: String = sent.iter().map(|it| format!("{it}\n")).collect();
    in_from(&["produce", "--json"], &text);

    let first = in_from(&["consume", "orders", "--json"], "");
    let mut read: Vec<Value> =
        first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    read.sort_by_key(|it| (-it["partition"].as_i64().unwrap(), it["offset"].as_i64()));
    for ((read, sent), offset) in read.iter().zip(&sent).zip([0, 1, 0]) {
        let mut expected = sent.clone();
        expected["offset"] = offset.into();
        assert_eq!(*read, expected);
    }

    in_to(&["produce", "--json"], &first);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&in_to(&["consume", "orders", "--json"], "")), sorted(&first));
    // A topic on the command line counts more.
    in_to(&["produce", "copy", "--json", "-p", "0"], &first);
    assert_eq!(lines(&in_to(&["consume", "copy", "--json"], "")).len(), 3);
}

#[test]
fn consuming_begins_and_ends_where_it_is_told() {
    let (_dir, data) = place();
    from_and_to(["-d", &data]);
}

/// Where records of this place are read from, and up to where.
pub(super) fn from_and_to(place: [&str; 2]) {
    ottla(&["topics", "create", place[0], place[1], "orders", "--partitions", "2"]).done();
    let line = |n: i64, partition: i32| {
        let value = n.to_string();
        let it = json!({ "partition": partition, "timestamp": 1000 * n, "value": value });
        format!("{it}\n")
    };
    let input: String = (0..10).map(|n| line(n, 0)).chain((10..13).map(|n| line(n, 1))).collect();
    with_input(input.as_bytes(), &["produce", place[0], place[1], "orders", "--json"]).done();
    let read = |args: &[&str]| {
        let all = ottla(&[&["consume", "orders"], &place[..], args].concat()).done();
        let mut numbers: Vec<i32> = all.lines().map(|line| line.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(read(&[]), Vec::from_iter(0..13));
    assert_eq!(read(&["-p", "1"]), [10, 11, 12]);
    assert_eq!(read(&["-p", "0", "-o", "7"]), [7, 8, 9]);
    // One partition is shorter than that.
    assert_eq!(read(&["-o", "7"]), [7, 8, 9]);
    assert_eq!(read(&["-o", "-2"]), [8, 9, 11, 12]);
    assert_eq!(read(&["-o", "-1000"]).len(), 13);
    assert_eq!(read(&["-o", "@8000"]), [8, 9, 10, 11, 12]);
    assert_eq!(read(&["-o", "@1970-01-01T00:00:12Z"]), [12]);
    assert_eq!(read(&["-p", "0", "-n", "4"]), [0, 1, 2, 3]);
    assert_eq!(read(&["-n", "0"]), [0; 0]);
    let delete = ["topics", "delete-records", "orders", "-p", "0", "--before", "5"];
    ottla(&[&delete[..], &place].concat()).done();
    assert_eq!(read(&["-p", "0"]), [5, 6, 7, 8, 9]);
    assert_eq!(read(&["-p", "0", "-o", "2"]), [5, 6, 7, 8, 9]);
}

#[test]
fn a_line_that_is_not_taken_is_named_and_those_before_it_are_kept() {
    let (_dir, data) = place();
    let produce = |input: &[u8], args: &[&str]| {
        with_input(input, &[&["produce", "-d", &data], args].concat())
    };
    let good = "{\"value\":\"a\"}\n";
    let cases = [
        ("{\"value\": a}\n", "line 3: ", "at column 11"),
        ("{\"value\":\"a\"\n", "line 3: ", "EOF"),
        ("{\"valeu\":\"a\"}\n", "line 3", "valeu"),
        ("{\"value\":7}\n", "line 3", "base64"),
        ("{\"value\":{\"base64\":\"?\"}}\n", "line 3", "no base64"),
        ("{\"value\":\"a\",\"partition\":9}\n", "line 3", "no partition 9"),
        ("{\"value\":\"a\",\"timestamp\":-5}\n", "line 3", "timestamp"),
        ("\n", "line 3", "EOF"),
    ];
    for (bad, line, why) in cases {
        let input = format!("{good}{good}{bad}{good}");
        let ran = produce(input.as_bytes(), &["orders", "--json"]);
        ran.fails(&[line, why, "2 records are written"]);
    }
    assert_eq!(lines(&ottla(&["consume", "-d", &data, "orders"]).done()).len(), 2 * cases.len());
    produce(b"{\"value\":\"a\"}", &["--json"]).fails(&["line 1", "topic"]);
    produce(b"a:1\nb\n", &["keyed", "-K", ":"]).fails(&["line 2", "\":\"", "1 record is written"]);
    produce(b"a\n", &["no/topic"]).fails(&["line 1", "no/topic", "0 records"]);
    let long = [vec![b'x'; 2 << 20], b"\n".to_vec()].concat();
    produce(&long, &["orders"]).fails(&["line 1", "max", "0 records are written"]);
}

#[test]
fn whoever_stops_reading_ends_it_quietly() {
    let (_dir, data) = place();
    let input: String = (0..50_000).map(|n| format!("{n}\n")).collect();
    with_input(input.as_bytes(), &["produce", "-d", &data, "orders"]).done();
    let mut child = super::command(&["consume", "-d", &data, "orders"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    let ran = super::ended(child);
    assert_eq!((line.as_str(), ran.code, ran.err.as_str()), ("0\n", Some(0), ""));
}

#[cfg(unix)]
#[test]
fn what_was_read_before_an_interrupt_is_written() {
    let (_dir, data) = place();
    let mut child = command(&["produce", "-d", &data, "orders"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input: String = (0..2000).map(|n| format!("{n}\n")).collect();
    stdin.write_all(input.as_bytes()).unwrap();
    // Records can be seen before it ends, and so that they are there.
    let seen = || ottla(&["consume", "-d", &data, "orders"]);
    while seen().out.lines().count() < 2000 {
        std::thread::yield_now();
    }
    signal(&child, "-INT");
    ended(child).fails(&["interrupted", "2000 records are written"]);
    drop(stdin);
    assert_eq!(seen().done(), input);
    // It was closed properly.
    assert!(ottla(&["verify", &data]).done().contains("closed properly"));
}

#[test]
fn what_is_not_there_is_said() {
    let (_dir, data) = place();
    ottla(&["consume", "-d", &data, "orders"]).fails(&[&data]);
    assert!(!std::path::Path::new(&data).exists(), "looking has made it");
    ottla(&["topics", "create", "-d", &data, "orders"]).done();
    ottla(&["consume", "-d", &data, "other"]).fails(&["unknown topic \"other\""]);
    ottla(&["consume", "-d", &data, "orders", "-p", "3"]).fails(&["no partition 3"]);
    assert_eq!(ottla(&["consume", "-d", &data, "orders"]).done(), "");
}
