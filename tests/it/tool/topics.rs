//! `topics`.

use serde_json::json;

use super::{ottla, place, with_input};

#[test]
fn a_topics_life() {
    let (_dir, data) = place();
    life(["-d", &data], "power");
}

/// From its creation to its end, and that of another, in this place.
pub(super) fn life(place: [&str; 2], durability: &str) {
    let topics = |args: &[&str]| ottla(&[&["topics"], args, &place].concat());
    assert_eq!(topics(&["create", "orders"]).done(), "created orders with 1 partition\n");
    let create = ["create", "table", "-p", "3", "-c", "cleanup.policy=compact"];
    assert_eq!(topics(&create).done(), "created table with 3 partitions\n");
    topics(&create).fails(&["\"table\" exists already"]);
    let again = topics(&[&create[..], &["--if-not-exists"]].concat());
    assert_eq!(again.done(), "table is there already\n");
    with_input(b"a\nb\n", &["produce", place[0], place[1], "orders"]).done();

    let list = topics(&["list", "--json"]).json();
    assert_eq!(list[0]["topic"], "orders");
    assert_eq!((&list[0]["records"], &list[0]["partitions"]), (&json!(2), &json!(1)));
    assert_eq!((&list[1]["topic"], &list[1]["partitions"]), (&json!("table"), &json!(3)));
    assert_eq!(list[1]["durability"], durability);
    let table = topics(&["list"]).done();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["TOPIC", "PARTITIONS", "RECORDS", "SIZE", "DURABILITY"]);
    let bytes = list[0]["bytes"].to_string();
    assert_eq!(rows[1], ["orders", "1", "2", &bytes, "B", durability]);
    assert_eq!(rows[2], ["table", "3", "0", "0", "B", durability]);

    let altered = topics(&["alter", "orders", "-p", "2", "-c", "retention.ms=5000"]).done();
    assert_eq!(altered, "orders has 2 partitions\norders has retention.ms=5000\n");
    let told = topics(&["describe", "orders"]).done();
    assert!(told.contains("settings:   retention.ms=5000\n"), "{told}");
    let described = topics(&["describe", "orders", "--json"]).json();
    assert_eq!(described["configs"], json!({ "retention.ms": "5000" }));
    assert_eq!(described["partitions"][0]["high_watermark"], 2);
    assert_eq!(described["partitions"][1]["log_end_offset"], 0);
    let unset = topics(&["alter", "orders", "--unset", "retention.ms"]).done();
    assert_eq!(unset, "orders has retention.ms=604800000\n");
    let all = topics(&["describe", "orders", "--configs", "--json"]).json();
    assert_eq!(all["configs"]["retention.ms"], "604800000");
    assert!(topics(&["describe", "orders", "--configs"]).done().contains("max.message.bytes"));

    assert_eq!(topics(&["delete", "orders", "table"]).done(), "deleted orders\ndeleted table\n");
    topics(&["delete", "orders"]).fails(&["unknown topic \"orders\""]);
    assert_eq!(topics(&["delete", "orders", "--if-exists"]).done(), "there is no orders\n");
    assert_eq!(topics(&["list"]).done(), "no topics\n");
    assert_eq!(topics(&["list", "--json"]).json(), json!([]));
}

#[test]
fn records_before_an_offset_go() {
    let (_dir, data) = place();
    with_input(b"a\nb\nc\n", &["produce", "-d", &data, "orders"]).done();
    let delete = |before: &str| {
        let args = ["topics", "delete-records", "-d", &data, "orders", "-p", "0"];
        ottla(&[&args[..], &["--before", before]].concat())
    };
    assert_eq!(delete("2").done(), "orders-0 begins at offset 2\n");
    assert_eq!(ottla(&["consume", "-d", &data, "orders"]).done(), "c\n");
    delete("9").fails(&["offset 9 of orders-0 is out of range", "2 to 3"]);
    assert_eq!(delete("-1").done(), "orders-0 begins at offset 3\n");
}

#[test]
fn what_is_not_allowed_changes_nothing() {
    let (_dir, data) = place();
    let topics = |args: &[&str]| ottla(&[&["topics"], args, &["-d", &data]].concat());
    topics(&["create", "orders", "-c", "retention.ms=soon"]).fails(&["retention.ms"]);
    topics(&["delete", "orders"]).fails(&["no data directory", &data]);
    assert!(!std::path::Path::new(&data).exists());
    topics(&["create", "orders", "-p", "0"]).fails(&["0 partitions"]);
    topics(&["create", "no/topic"]).fails(&["no/topic"]);
    topics(&["create", "orders"]).done();
    topics(&["alter", "orders"]).fails(&["--partitions, --config or --unset"]);
    topics(&["alter", "orders", "-c", "no.such=1"]).fails(&["no.such"]);
    topics(&["alter", "orders", "-p", "1"]).fails(&["1 partitions"]);
    topics(&["alter", "other", "-p", "2"]).fails(&["unknown topic \"other\""]);
    let described = topics(&["describe", "orders", "--json"]).json();
    assert_eq!((&described["configs"], described["partitions"][1].is_null()), (&json!({}), true));
}
