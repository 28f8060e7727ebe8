//! `groups`, and `consume` with one.

use serde_json::json;

use super::{ottla, place, with_input};

#[test]
fn a_groups_life() {
    let (_dir, data) = place();
    life(["-d", &data], "20");
}

/// What becomes of a group in this place, where the times of commits begin like this.
pub(super) fn life(place: [&str; 2], time: &str) {
    let groups = |args: &[&str]| ottla(&[&["groups"], args, &place].concat());
    let consume = |args: &[&str]| {
        ottla(&[&["consume", "orders", "-g", "billing"], &place[..], args].concat()).done()
    };
    let produce = ["produce", "orders", place[0], place[1]];
    with_input(b"a\nb\nc\n", &produce).done();
    assert_eq!(groups(&["list"]).done(), "no groups\n");
    groups(&["describe", "billing"]).fails(&["group \"billing\""]);

    assert_eq!(consume(&["-n", "2"]), "a\nb\n");
    let list = groups(&["list", "--json"]).json();
    let billing = json!({
        "group": "billing", "state": "Empty", "members": 0, "partitions": 1, "lag": 1,
    });
    assert_eq!(list, json!([billing]));
    assert_eq!(consume(&[]), "c\n");
    assert_eq!(consume(&[]), "");
    with_input(b"d\n", &produce).done();
    assert_eq!(consume(&[]), "d\n");

    let described = groups(&["describe", "billing", "--json"]).json();
    let offsets = &described["offsets"][0];
    assert_eq!((&offsets["topic"], &offsets["partition"]), (&json!("orders"), &json!(0)));
    assert_eq!((&offsets["committed"], &offsets["lag"]), (&json!(4), &json!(0)));
    let shown = groups(&["describe", "billing"]).done();
    let row = format!("orders          0          4    4    0  {time}");
    assert!(shown.contains(&row), "{shown}");
    let shown = groups(&["list"]).done();
    assert!(shown.contains("billing  Empty        0           1    0"), "{shown}");

    let reset =
        |args: &[&str]| groups(&[&["reset", "billing", "--topic", "orders"], args].concat());
    let row = |ran: super::Ran| ran.done().lines().nth(1).unwrap().to_owned();
    assert_eq!(row(reset(&["--to", "earliest", "--dry-run"])), "orders          0       4      0");
    assert_eq!(consume(&[]), "");
    assert_eq!(row(reset(&["--to", "2"])), "orders          0       4      2");
    assert_eq!(consume(&[]), "c\nd\n");
    let beyond = reset(&["--to", "99"]);
    assert!(beyond.err.contains("orders-0 has offsets 0 to 4, so it is 4"), "{beyond:#?}");
    assert_eq!(row(beyond), "orders          0       4      4");
    assert_eq!(row(reset(&["--to", "@0"])), "orders          0       4      0");
    assert_eq!(row(reset(&["--to", "latest"])), "orders          0       0      4");
    reset(&["--to", "earliest", "-p", "7"]).fails(&["no partition 7"]);

    let of_topic = groups(&["delete", "billing", "-t", "orders"]).done();
    assert_eq!(of_topic, "billing has no offset in orders-0 any more\n");
    assert_eq!(consume(&["-n", "1"]), "a\n");
    assert_eq!(groups(&["delete", "billing"]).done(), "deleted billing\n");
    groups(&["delete", "billing"]).fails(&["group \"billing\""]);
    assert_eq!(groups(&["list", "--json"]).json(), json!([]));
    // Of a group that is not there.
    let fresh = groups(&["reset", "fresh", "-t", "orders", "--to", "latest"]);
    assert_eq!(row(fresh), "orders          0       -      4");
    assert_eq!(groups(&["list", "--json"]).json()[0]["group"], "fresh");
}
