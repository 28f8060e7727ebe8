//! `serve`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::{command, ended, ottla, place, signal, with_input};

#[cfg(unix)]
#[test]
fn it_serves_says_why_it_ends_a_connection_and_stops_at_a_signal() {
    let (_dir, data) = place();
    with_input(b"a\n", &["produce", "-d", &data, "orders"]).done();
    let mut child = command(&["serve", "--listen", "127.0.0.1:0", "-d", &data, "--log", "debug"])
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect("it says where");
    let mut stranger = TcpStream::connect(address).unwrap();
    stranger.write_all(&[0xff; 64]).unwrap();
    let _ = stranger.read_to_end(&mut Vec::new());
    // Beside it, one can look.
    assert_eq!(ottla(&["consume", "-d", &data, "orders"]).done(), "a\n");
    signal(&child, "-TERM");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.err.contains("DEBUG") && ran.err.contains("negative length"), "{ran:#?}");
    assert!(ottla(&["verify", "-q", &data]).done().contains("closed properly"));
}

#[test]
fn what_it_can_not_serve_it_says() {
    let (_dir, data) = place();
    ottla(&["serve", "--listen", "0.0.0.0:0"]).fails(&["allow_remote_plaintext"]);
    ottla(&["serve", "--listen", "127.0.0.1:0", "--topic-default", "no.such=1"])
        .fails(&["no.such"]);
    std::fs::write(&data, "a file").unwrap();
    ottla(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &data]).fails(&[&data]);
}
