//! `serve`.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Served, command, ended, ottla, place, with_input};

#[cfg(unix)]
#[test]
fn it_serves_says_why_it_ends_a_connection_and_stops_at_a_signal() {
    let (_dir, data) = place();
    with_input(b"a\n", &["produce", "-d", &data, "orders"]).done();
    let served = Served::start_with(&["-d", &data, "--log", "debug"]);
    let mut stranger = TcpStream::connect(&served.address).unwrap();
    stranger.write_all(&[0xff; 64]).unwrap();
    let _ = stranger.read_to_end(&mut Vec::new());
    // Beside it, one can look.
    assert_eq!(ottla(&["consume", "-d", &data, "orders"]).done(), "a\n");
    let ran = served.stop();
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

/// With users, a certificate, and a client that has to know both.
#[cfg(all(unix, feature = "tls"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_serves_behind_locks_whom_its_users_file_names() {
    use ottla::security::{ClientTls, Credentials};
    use ottla::{Client, Error};

    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (users, chain, key) = (path("users"), path("chain.pem"), path("key.pem"));
    assert_eq!(with_input(b"secret\n", &["users", "add", &users, "alice"]).done(), "");
    assert_eq!(with_input(b"other\n", &["users", "add", &users, "bob"]).done(), "");
    assert_eq!(ottla(&["users", "list", &users]).done(), "alice\nbob\n");
    let kept = std::fs::read_to_string(&users).unwrap();
    assert!(kept.contains("bob SCRAM-SHA-512") && !kept.contains("secret"), "{kept}");
    assert_eq!(ottla(&["users", "remove", &users, "bob"]).done(), "");
    ottla(&["users", "remove", &users, "bob"]).fails(&["bob", &users]);
    with_input(b"\n", &["users", "add", &users, "eve"]).fails(&["eve", "password"]);

    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&chain, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--tls-key", &key];
    assert_eq!(ottla(&args).code, Some(2), "a key has a certificate");
    let locks = ["--users", &users, "--tls-key", &key, "--tls-certificate", &chain];
    let served = Served::start_with(&locks);
    let address = served.address.as_str();
    let tls = ClientTls::trusting(own.cert.pem()).unwrap();
    for (user, password, comes_in) in
        [("alice", "secret", true), ("alice", "other", false), ("bob", "other", false)]
    {
        let credentials = Credentials::scram_sha_512(user, password);
        let client = Client::builder().tls(tls.clone()).credentials(credentials);
        match client.connect(address).await {
            Ok(client) => assert!(comes_in && client.admin().topics().await.unwrap().is_empty()),
            Err(error) => assert!(matches!(error, Error::Authentication { .. }) && !comes_in),
        }
    }
    let keys = ["-b", address, "--tls-ca", &chain, "--user", "alice"];
    let args = [&["topics", "list"][..], &keys].concat();
    let with = |password: &str| {
        let mut command = command(&args);
        ended(command.env("OTTLA_PASSWORD", password).spawn().unwrap())
    };
    with("secret").done();
    with("other").fails(&["authentication failed", "alice"]);
    ended(command(&args).env_remove("OTTLA_PASSWORD").spawn().unwrap()).fails(&["OTTLA_PASSWORD"]);
    let nowhere = ["topics", "list", "-d", "x", "--user", "alice"];
    assert_eq!(ottla(&nowhere).code, Some(2), "a directory knows no users");
    let ran = served.stop();
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.err.contains("has not logged in") && ran.err.contains("wrong user"), "{ran:#?}");
}
