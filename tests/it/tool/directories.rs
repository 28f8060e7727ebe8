//! `dump`, `verify` and `repair`; and directories that others use.

use std::fs;
use std::path::{Path, PathBuf};

use ottla::{Broker, Record};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ran, ottla, place, text, with_input};
use crate::golden::golden;
use crate::support::{copy_dir, flip_bit, truncate_file};

fn copy_of(name: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    copy_dir(&golden(name), dir.path());
    dir
}

/// Names and contents of all files.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => all.push((path.clone(), fs::read(&path).unwrap())),
            }
        }
    }
    all.sort();
    all
}

/// The last file of a folder with this extension.
fn last(folder: &Path, extension: &str) -> PathBuf {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|it| it.extension().is_some_and(|e| e == extension)).max().unwrap()
}

#[track_caller]
fn with_losses(ran: Ran) -> String {
    assert_eq!(ran.code, Some(3), "{ran:#?}");
    ran.out
}

#[test]
fn what_is_sound_is_said_to_be() {
    for (name, how) in [
        ("v1", "closed properly"),
        ("v1-killed", "ended without closing it"),
        ("kafka-4.3", "Apache Kafka's"),
    ] {
        let said = ottla(&["verify", text(&golden(name))]).done();
        let verdict = said.lines().last().unwrap();
        assert!(verdict.starts_with("sound: ") && verdict.ends_with(how), "{said}");
    }
    let json = ottla(&["verify", "--json", text(&golden("v1"))]).json();
    assert_eq!((&json["is_sound"], &json["findings"]), (&json!(true), &json!([])));
    let partitions = json["partitions"].as_array().unwrap();
    let of_orders = partitions.iter().filter(|it| it["topic"] == "orders");
    assert_eq!(of_orders.map(|it| it["records"].as_u64().unwrap()).sum::<u64>(), 200);
    assert_eq!(ottla(&["verify", "-q", text(&golden("v1"))]).done().lines().count(), 1);
}

#[test]
fn damage_is_found_shown_and_passed() {
    let dir = copy_of("v1");
    let log = dir.path().join("orders-0/00000000000000000000.log");
    flip_bit(&log, 100);
    let before = contents(dir.path());
    let said = with_losses(ottla(&["verify", text(dir.path())]));
    assert!(said.contains("lost: orders-0/00000000000000000000.log at byte 0"), "{said}");
    assert!(said.lines().last().unwrap().starts_with("records or settings are LOST"), "{said}");
    let json = ottla(&["verify", "--json", text(dir.path())]);
    assert_eq!(json.code, Some(3));
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["findings"][0]["severity"], "lost");

    let shown = with_losses(ottla(&["dump", text(&log)]));
    assert!(shown.lines().nth(1).unwrap().ends_with("its CRC is WRONG"), "{shown}");
    // An open does not look there.
    let shown = ottla(&["repair", "--dry-run", text(dir.path())]).done();
    assert!(shown.contains("; nothing is to be mended"), "{shown}");
    assert_eq!(contents(dir.path()), before, "looking has changed something");

    // Whoever reads is told, and gets the rest.
    let read = ottla(&["consume", "-d", text(dir.path()), "orders", "-p", "0"]);
    assert!(read.err.contains("offsets 3 to 9 of orders-0 are corrupt"), "{read:#?}");
    assert!(with_losses(read).lines().count() > 50);
}

#[test]
fn what_repairing_can_not_bring_back_is_told() {
    let dir = copy_of("v1");
    let log = last(&dir.path().join("orders-0"), "log");
    truncate_file(&log, fs::metadata(&log).unwrap().len() - 3);
    let path = text(dir.path());
    let tells = |said: &str| said.contains("orders-0: offsets ") && said.contains(" are lost\n");
    let dry = with_losses(ottla(&["repair", "--dry-run", path]));
    assert!(tells(&dry), "{dry}");
    // Whoever only looks is told, too.
    assert!(tells(&ottla(&["topics", "list", "-d", path]).err));
    let repaired = with_losses(ottla(&["repair", path]));
    assert!(tells(&repaired), "{repaired}");
}

#[test]
fn a_torn_end_is_repaired_and_that_is_told() {
    let dir = copy_of("v1-killed");
    let log = last(&dir.path().join("orders-0"), "log");
    let len = fs::metadata(&log).unwrap().len();
    truncate_file(&log, len - 3);
    let (path, before) = (text(dir.path()), contents(dir.path()));
    let tells = |said: &str| said.contains("orders-0: ") && said.contains(" cut at offset ");
    let dry = ottla(&["repair", "--dry-run", path]);
    assert!(tells(&dry.out) && dry.out.contains("would be"), "{dry:#?}");
    assert_eq!(contents(dir.path()), before, "a dry run has changed something");
    let json = ottla(&["repair", "--dry-run", "--json", path]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["clean_shutdown"], false);
    let cut = json["partitions"].as_array().unwrap().iter().find(|it| it["cut"] != json!([]));
    assert_eq!(cut.unwrap()["topic"], "orders");
    let repaired = ottla(&["repair", path]);
    assert!(tells(&repaired.out), "{repaired:#?}");
    // Once is enough.
    let again = ottla(&["repair", path]).done();
    assert!(
        !tells(&again) && again.contains("closed it properly; nothing is to be mended"),
        "{again}"
    );
    assert!(ottla(&["verify", path]).done().contains("\nsound: "));
}

#[test]
fn files_are_shown_batch_by_batch() {
    let (_dir, data) = place();
    with_input(b"k:v\x1b[2J\n", &["produce", "-d", &data, "orders", "-K", ":"]).done();
    let folder = format!("{data}/orders-0");
    let shown = ottla(&["dump", &folder]).done();
    let batch = shown.lines().nth(1).unwrap();
    assert!(batch.starts_with("  at 0: offsets 0 to 0, 1 record, "), "{shown}");
    let records = ottla(&["dump", "--records", &folder]).done();
    // A record moves nobody's cursor.
    assert!(records.contains("key \"k\" value \"v\\u{1b}[2J\""), "{records}");
    let json = ottla(&["dump", "-r", "--json", &folder]).done();
    let lines: Vec<Value> = json.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(lines[0]["file"].as_str().unwrap().ends_with(".log"));
    assert_eq!(lines[1]["batch"]["records"][0]["value"], "v\u{1b}[2J");
    assert_eq!(lines[1]["batch"]["is_sound"], true);
    // The broker's own are put into words.
    let catalog = ottla(&["dump", "-r", &format!("{data}/__ottla_catalog-0")]).done();
    assert!(catalog.contains("topic orders: id "), "{catalog}");
    for (ending, word) in [("timeindex", "latest"), ("index", "batch"), ("snapshot", "producer")] {
        let shown = ottla(&["dump", text(&last(&golden("v1").join("orders-0"), ending))]).done();
        assert!(shown.lines().skip(1).all(|line| line.contains(word)), "{shown}");
    }
    ottla(&["dump", text(&golden("v1").join("meta.properties"))]).fails(&["by its name"]);
    ottla(&["dump", "no-such-file"]).fails(&["no-such-file"]);
    ottla(&["verify", "no-such-directory"]).fails(&["no-such-directory"]);
    ottla(&["repair", "no-such-directory"]).fails(&["no data directory no-such-directory"]);
}

#[tokio::test]
async fn beside_a_broker_at_work_one_can_look_and_not_touch() {
    let (_dir, data) = place();
    let broker = Broker::open(&data).await.unwrap();
    broker.producer().build().send(Record::to("orders").value("a")).await.unwrap();
    let (run, pid) = (|args: &[&str]| ottla(args), std::process::id().to_string());
    assert_eq!(run(&["consume", "-d", &data, "orders"]).done(), "a\n");
    assert_eq!(run(&["topics", "list", "-d", &data, "--json"]).json()[0]["records"], 1);
    run(&["groups", "list", "-d", &data]).done();
    run(&["verify", &data]).done();
    run(&["repair", "--dry-run", &data]).done();
    let changes: [&[&str]; 4] = [
        &["produce", "-d", &data, "orders"],
        &["consume", "-d", &data, "orders", "-g", "billing"],
        &["topics", "delete", "-d", &data, "orders"],
        &["repair", &data],
    ];
    for args in changes {
        run(args).fails(&["in use by", &pid]);
    }
    broker.shutdown().await.unwrap();
    assert_eq!(run(&["topics", "delete", "-d", &data, "orders"]).done(), "deleted orders\n");
}
