//! SCRAM against the RFCs' own exchanges, and both ends against each other.

use super::scram::{Hash, ScramClient, ScramServer, Step};
use super::*;

/// RFC 7677, section 3.
#[test]
fn the_exchange_of_rfc_7677() {
    let (mut client, first) =
        ScramClient::start_with(Hash::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO".into());
    assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let answer = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let proof = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                  p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(client.step(answer), Ok(Step::Send(proof.to_vec())));
    let last = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(client.step(last), Ok(Step::Done(())));

    // The other end, with what it would have stored.
    let salt = &[91, 109, 153, 104, 157, 18, 53, 142, 236, 160, 75, 20, 18, 54, 250, 129];
    let (stored_key, server_key) = Hash::Sha256.keys("pencil", salt, 4096);
    let verifier =
        || ScramVerifier { salt: salt.to_vec(), stored_key, server_key, iterations: 4096 };
    let mut server = ScramServer::new(Hash::Sha256);
    let own = || "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
    let find = |user: &str| {
        assert_eq!(user, "user");
        verifier()
    };
    assert_eq!(server.step_with(&first, find, own), Ok(Step::Send(answer.to_vec())));
    match server.step(proof, |_| unreachable!("it is known")) {
        Ok(Step::Done(proved)) => assert_eq!((&*proved.user, &*proved.answer), ("user", &last[..])),
        other => panic!("{other:?}"),
    }
}

/// Both ends of a login: who came in, or whose error it was.
fn meet(users: &Users, hash: Hash, user: &str, password: &str) -> Result<String, String> {
    let (mut client, mut message) = ScramClient::start(hash, user, password);
    let mut server = ScramServer::new(hash);
    loop {
        let step = server.step(&message, |user| users.verifier(hash, user));
        let (answer, came) = match step.map_err(|why| format!("server: {why}"))? {
            Step::Send(answer) => (answer, None),
            Step::Done(proved) => (proved.answer, Some(proved.user)),
        };
        match client.step(&answer).map_err(|why| format!("client: {why}"))? {
            Step::Send(next) => message = next,
            Step::Done(()) => return came.ok_or_else(|| "client: too early".to_owned()),
        }
    }
}

#[test]
fn who_knows_the_password_comes_in() {
    let users = Users::new();
    for (user, password) in
        [("alice", "secret"), ("a=b,c", "=,=2C"), ("Jörg", "pässwörd ½"), ("x", "n,,r=")]
    {
        users.add(user, password).unwrap();
        for hash in [Hash::Sha256, Hash::Sha512] {
            assert_eq!(meet(&users, hash, user, password).as_deref(), Ok(user));
            let wrong = meet(&users, hash, user, "other");
            assert_eq!(wrong, Err("server: wrong user name or password".to_owned()));
            assert_eq!(meet(&users, hash, "nobody", password), wrong, "the same for both");
        }
        assert!(users.accept(user, password));
        assert!(!users.accept(user, "other") && !users.accept("nobody", password));
    }
    assert!(users.remove("alice") && !users.remove("alice"));
    assert!(meet(&users, Hash::Sha256, "alice", "secret").is_err());
    assert_eq!(users.names(), ["Jörg", "a=b,c", "x"]);
}

/// Whoever asks twice gets the same answer for one who does not exist, as for one who does.
#[test]
fn nobody_learns_which_users_exist() {
    let users = Users::new();
    users.add("alice", "secret").unwrap();
    for user in ["alice", "bob"] {
        let [one, other] = [(), ()].map(|()| users.verifier(Hash::Sha512, user).salt);
        assert_eq!(one, other);
        assert_eq!(one.len(), 24);
    }
    let [one, other] = ["bob", "eve"].map(|user| users.verifier(Hash::Sha512, user).salt);
    assert_ne!(one, other);
}

#[test]
fn a_broker_that_does_not_know_the_password_is_no_broker() {
    let users = Users::new();
    users.add("alice", "secret").unwrap();
    let (mut client, first) = ScramClient::start(Hash::Sha512, "alice", "secret");
    let mut server = ScramServer::new(Hash::Sha512);
    let mut forged = users.verifier(Hash::Sha512, "alice");
    forged.server_key[0] ^= 1;
    let Ok(Step::Send(answer)) = server.step(&first, |_| forged) else { panic!("no answer") };
    let Ok(Step::Send(proof)) = client.step(&answer) else { panic!("no proof") };
    let Ok(Step::Done(proved)) = server.step(&proof, |_| unreachable!()) else { panic!() };
    let error = client.step(&proved.answer).unwrap_err();
    assert!(error.contains("impostor"), "{error}");
}

/// As librdkafka before 2.6.1 has it.
#[test]
fn the_own_nonce_may_be_there_twice_and_the_brokers_must() {
    let (users, hash) = (Users::new(), Hash::Sha256);
    users.add("alice", "secret").unwrap();
    let find = |user: &str| users.verifier(hash, user);
    for (nonce, comes_in) in
        [("own-brokers", true), ("ownown-brokers", true), ("own", false), ("own-brokers2", false)]
    {
        let (mut client, first) = ScramClient::start_with(hash, "alice", "secret", "own".into());
        let mut server = ScramServer::new(hash);
        let Ok(Step::Send(answer)) = server.step_with(&first, find, || "-brokers".into()) else {
            panic!("no answer")
        };
        let answer = String::from_utf8(answer).unwrap();
        let verifier = find("alice");
        let proof = client.proof(&answer, nonce, &verifier.salt, verifier.iterations);
        assert_eq!(server.step(&proof, find).is_ok(), comes_in, "{nonce}");
    }
}

#[test]
fn what_is_no_scram_is_refused() {
    let users = Users::new();
    users.add("alice", "secret").unwrap();
    let find = |user: &str| users.verifier(Hash::Sha256, user);
    for message in [
        &b""[..],
        b"n",
        b"n,,",
        b"n,,n=alice",
        b"n,,r=x,n=alice",
        b"n,,n=,r=x",
        b"n,,n=a=2Xb,r=x",
        b"n,,n=a=,r=x",
        b"n,,n=alice,r=",
        b"n,,n=alice,r=a b",
        b"n,a=bob,n=alice,r=x",
        b"p=tls-unique,,n=alice,r=x",
        b"\xff\xfe",
        &[b'x'; 20 << 10],
    ] {
        let refused = ScramServer::new(Hash::Sha256).step(message, find);
        assert!(refused.is_err(), "{}: {refused:?}", message.escape_ascii());
    }
    let first = b"n,a=alice,n=alice,r=x";
    for change in
        ["c=biws,r=x", "c=biws,r=xy,p=AAAA", "c=,r={},p=AAAA", "c=biws,r={},p=AAAA", "p=x"]
    {
        let mut server = ScramServer::new(Hash::Sha256);
        let Ok(Step::Send(answer)) = server.step(first, find) else { panic!("{change}") };
        let nonce = std::str::from_utf8(&answer).unwrap().split(',').next().unwrap();
        let message = change.replace("{}", nonce.strip_prefix("r=").unwrap());
        assert!(server.step(message.as_bytes(), find).is_err(), "{change}");
        let over = server.step(message.as_bytes(), find);
        assert_eq!(over, Err("the exchange is over".to_owned()));
    }
    for answer in [
        "",
        "e=other-error",
        "r=abc,s=AAAA,i=4096",
        "r={},s=AAAA,i=4096",
        "r={}x,s=AA=A,i=4096",
        "r={}x,s=AAAA,i=4095",
        "r={}x,s=AAAA,i=4000000000",
        "r={}x,s=AAAA",
        "v=AAAA",
    ] {
        let (mut client, first) = ScramClient::start(Hash::Sha256, "alice", "secret");
        let first = String::from_utf8(first).unwrap();
        let answer = answer.replace("{}", first.rsplit_once("r=").unwrap().1);
        assert!(client.step(answer.as_bytes()).is_err(), "{answer}");
    }
}

#[test]
fn plain_is_two_words() {
    assert_eq!(plain(b"\0alice\0secret"), Ok(("alice", "secret")));
    assert_eq!(plain(b"alice\0alice\0se cret"), Ok(("alice", "se cret")));
    for message in
        [&b""[..], b"alice", b"\0alice", b"bob\0alice\0x", b"\0\0x", b"\0a\0b\0c", b"\0a\0\xff"]
    {
        assert!(plain(message).is_err(), "{}", message.escape_ascii());
    }
}

#[test]
fn users_are_read_and_written() {
    let users = Users::new();
    users.add("alice", "secret").unwrap();
    users.add("bob", "other").unwrap();
    let text = users.to_string();
    assert_eq!(text.lines().count(), 4);
    assert!(!text.contains("secret"), "{text}");
    let read: Users = format!("# whom we know\n\n{text}").parse().unwrap();
    assert_eq!(read.to_string(), text);
    assert!(read.accept("bob", "other") && !read.accept("bob", "secret"));
    assert_eq!(meet(&read, Hash::Sha256, "alice", "secret").as_deref(), Ok("alice"));

    // As Kafka's own tool prints one.
    let of_kafka = "alice SCRAM-SHA-256 salt=MXh1dDJ6c2Y1c2c=,stored_key=\
        mjY1W+2kqCN9SBn8GO2zGHFGKEqYWEWbUCOgnIw4jEw=,server_key=\
        aV5lwkNTBRNJ9tvUHpZ8U0RbPEpXGcMTXfgFqUyXTzM=,iterations=8192";
    assert_eq!(of_kafka.parse::<Users>().unwrap().names(), ["alice"]);
    for (line, part) in [
        ("alice", "line 1"),
        ("\nalice PLAIN salt=AAAA", "line 2"),
        (&of_kafka.replace("256", "512"), "other verifiers"),
        (&of_kafka.replace("SCRAM-SHA-256", "MD5"), "unknown mechanism"),
        (&of_kafka.replace("8192", "1"), "4096"),
        (&of_kafka.replace("salt=MXh1", "salt=*"), "Base64"),
        (&of_kafka.replace("server_key", "x"), "server_key"),
        (&of_kafka.replace("alice", "\u{7}"), "a name has"),
    ] {
        let error = line.parse::<Users>().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(part), "{line}: {error}");
    }
    assert!(Users::new().add("a b", "x").is_err());
    assert!(Users::new().add("a", "").is_err());
    let shown = format!("{users:?} {:?}", Credentials::plain("alice", "secret"));
    assert!(shown.contains("alice") && !shown.contains("secret"), "{shown}");
}
