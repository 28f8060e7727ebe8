//! `--bootstrap`: what is done in a directory, done over the network.

use std::net::TcpListener;

use super::{Served, groups, ottla, place, records, topics, with_input};

#[test]
fn a_topics_life() {
    topics::life(Served::start().place(), "process");
}

#[test]
fn a_groups_life() {
    groups::life(Served::start().place(), "-");
}

#[test]
fn a_topic_is_copied_by_json() {
    let (served, other) = (Served::start(), Served::start());
    records::copy(served.place(), other.place());
}

#[test]
fn a_directory_is_copied_to_brokers() {
    let (_dir, data) = place();
    records::copy(["-d", &data], Served::start().place());
}

#[test]
fn consuming_begins_and_ends_where_it_is_told() {
    records::from_and_to(Served::start().place());
}

#[test]
fn durability_is_what_the_brokers_say_or_what_is_asked_for() {
    let served = Served::start();
    let topics = |args: &[&str]| ottla(&[&["topics"], args, &served.place()].concat());
    topics(&["create", "usual"]).done();
    topics(&["create", "synced", "--durability", "power"]).done();
    let promised =
        |topic: &str| topics(&["describe", topic, "--json"]).json()["durability"].clone();
    assert_eq!([promised("usual"), promised("synced")], ["process", "power"]);
}

#[test]
fn what_nobody_tells_is_left_open() {
    let served = Served::start();
    let at = served.place();
    with_input(b"a\n", &["produce", at[0], at[1], "orders"]).done();
    ottla(&["consume", at[0], at[1], "orders", "-g", "billing"]).done();
    let topic = ottla(&["topics", "describe", at[0], at[1], "orders", "--json"]).json();
    assert!(topic["partitions"][0]["segments"].is_null(), "{topic}");
    assert!(topic["partitions"][0]["bytes"].is_u64(), "{topic}");
    let group = ottla(&["groups", "describe", at[0], at[1], "billing", "--json"]).json();
    assert!(group["offsets"][0]["timestamp"].is_null(), "{group}");
}

#[test]
fn brokers_that_can_not_be_reached_are_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let commands: [&[&str]; 6] = [
        &["topics", "list"],
        &["topics", "create", "orders"],
        &["produce", "orders"],
        &["consume", "orders"],
        &["consume", "orders", "-g", "billing"],
        &["groups", "list"],
    ];
    for args in commands {
        let ran = ottla(&[args, &["--bootstrap", &address]].concat());
        ran.fails(&["no broker can be reached", &address]);
    }
    ottla(&["topics", "list", "-b", "kafka://a"]).fails(&["bootstrap.servers", "host:port"]);
    // Takes the connection, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    ottla(&["topics", "list", "-b", &address]).fails(&[&address, "no connection within 5s"]);
}
