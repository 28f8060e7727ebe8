//! TLS and SASL, both ends: who comes in, who does not, and what each is told.

use bytes::Bytes;
use ottla::security::{ClientTls, Credentials, Mechanism, ServerTls, Users};
use ottla::wire::api_versions::ApiVersionsRequest;
use ottla::wire::metadata::MetadataRequest;
use ottla::wire::sasl_authenticate::SaslAuthenticateRequest;
use ottla::wire::sasl_handshake::SaslHandshakeRequest;
use ottla::wire::{ErrorCode, Request, decode_response, encode_request};
use ottla::{Broker, Client, ClientBuilder, Error, Listener, ListenerBuilder, Record};
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::impatient;
use crate::support::{assert_error, value, within};

/// An authority of its own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as files have them.
struct Identity {
    chain: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names = names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { chain: certificate.pem(), key: key.serialize_pem() }
    }

    fn local(&self) -> Identity {
        self.sign(&["localhost", "127.0.0.1"], |_| ())
    }
}

impl Identity {
    fn server(&self) -> ServerTls {
        ServerTls::new(&self.chain, &self.key).unwrap()
    }
}

async fn listen(lock: impl FnOnce(ListenerBuilder) -> ListenerBuilder) -> (Broker, Listener) {
    let broker = Broker::in_memory().await.unwrap();
    let listener = lock(broker.listener()).bind("127.0.0.1:0").await.unwrap();
    (broker, listener)
}

async fn connect(builder: ClientBuilder, listener: &Listener) -> ottla::Result<Client> {
    builder.connect(&listener.local_addr().to_string()).await
}

/// Sends a record and reads it.
async fn use_it(client: &Client) {
    let value_of = "2 coffees, and a long story ".repeat(1000);
    client.producer().build().send(Record::to("orders").value(value_of.clone())).await.unwrap();
    let mut consumer = client.consumer().subscribe(["orders"]).await.unwrap();
    assert_eq!(value(&consumer.recv().await.unwrap()), value_of);
}

fn alice() -> Users {
    let users = Users::new();
    users.add("alice", "secret").unwrap();
    users
}

#[tokio::test]
async fn every_mechanism_lets_in_who_knows_the_password() {
    within(async {
        let ca = Authority::new("ca");
        for over_tls in [false, true] {
            let tls = ca.local().server();
            let (_broker, listener) = listen(|it| {
                let it = it.users(alice());
                if over_tls { it.tls(tls) } else { it }
            })
            .await;
            let client = |credentials| {
                let builder = impatient().credentials(credentials);
                match over_tls {
                    true => builder.tls(ClientTls::trusting(ca.pem()).unwrap()),
                    false => builder,
                }
            };
            for mechanism in Mechanism::ALL {
                let good = Credentials::new(*mechanism, "alice", "secret");
                use_it(&connect(client(good), &listener).await.unwrap()).await;
                for (user, password) in [("alice", "other"), ("bob", "secret")] {
                    let bad = Credentials::new(*mechanism, user, password);
                    let refused = connect(client(bad), &listener).await;
                    let error = assert_error!(
                        refused,
                        Error::Authentication { .. },
                        "wrong user name or password",
                        user,
                        mechanism.name(),
                        listener.local_addr().to_string()
                    );
                    assert!(!error.is_retriable());
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_user_added_later_comes_in_and_one_removed_does_not() {
    within(async {
        let users = alice();
        let (_broker, listener) = listen(|it| it.users(users.clone())).await;
        let of = |user: &str| impatient().credentials(Credentials::scram_sha_256(user, "secret"));
        assert_error!(connect(of("bob"), &listener).await, Error::Authentication { .. }, "bob");
        users.add("bob", "secret").unwrap();
        let bob = connect(of("bob"), &listener).await.unwrap();
        users.remove("bob");
        // Of the connection that it has, but for no other.
        bob.admin().topics().await.unwrap();
        let sent = bob.producer().build().send(Record::to("orders").value("x")).await;
        assert_error!(sent, Error::Authentication { .. }, "bob");
        assert_error!(connect(of("bob"), &listener).await, Error::Authentication { .. }, "bob");
    })
    .await
}

#[tokio::test]
async fn a_client_trusts_only_whom_it_is_told_to() {
    within(async {
        let (ca, foreign) = (Authority::new("ca"), Authority::new("foreign"));
        let old = |params: &mut CertificateParams| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        };
        let authority = |params: &mut CertificateParams| {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        };
        let cases = [
            (ca.local(), &ca, None),
            (ca.local(), &foreign, Some("no authority that is trusted")),
            (ca.sign(&["127.0.0.1"], old), &ca, Some("has expired")),
            (ca.sign(&["kafka.example"], |_| ()), &ca, Some("for another name")),
            (ca.sign(&["127.0.0.1"], authority), &ca, Some("an authority's own")),
        ];
        for (identity, trusted, expected) in cases {
            let (_broker, listener) = listen(|it| it.tls(identity.server())).await;
            let tls = ClientTls::trusting(trusted.pem()).unwrap();
            let connected = connect(impatient().tls(tls.clone()), &listener).await;
            match expected {
                None => use_it(&connected.unwrap()).await,
                Some(part) => {
                    let error = assert_error!(connected, Error::Authentication { .. }, part);
                    assert!(!error.is_retriable());
                }
            }
            if expected.is_some_and(|part| part.contains("name")) {
                let tls = tls.server_name("kafka.example").unwrap();
                use_it(&connect(impatient().tls(tls), &listener).await.unwrap()).await;
            }
        }
        // Nobody has signed for this one.
        let (_broker, listener) = listen(|it| it.tls(ca.local().server())).await;
        if let Ok(tls) = ClientTls::system() {
            let refused = connect(impatient().tls(tls), &listener).await;
            assert_error!(refused, Error::Authentication { .. }, "no authority");
        }
    })
    .await
}

#[tokio::test]
async fn certificates_of_clients_are_wanted_where_told_so() {
    within(async {
        let (ca, clients) = (Authority::new("ca"), Authority::new("clients"));
        let tls = ca.local().server().require_clients(clients.pem()).unwrap();
        let (_broker, listener) = listen(|it| it.tls(tls)).await;
        let client = ClientTls::trusting(ca.pem()).unwrap();
        let with = |identity: Identity| {
            impatient().tls(client.clone().identity(&identity.chain, &identity.key).unwrap())
        };
        use_it(&connect(with(clients.sign(&["app"], |_| ())), &listener).await.unwrap()).await;
        let nobody = connect(impatient().tls(client.clone()), &listener).await;
        assert_error!(nobody, Error::Authentication { .. }, "wants a certificate");
        let foreign = connect(with(ca.sign(&["app"], |_| ())), &listener).await;
        assert_error!(foreign, Error::Authentication { .. }, "does not accept");
    })
    .await
}

#[tokio::test]
async fn one_who_speaks_tls_and_one_who_does_not_tell_each_other() {
    within(async {
        let ca = Authority::new("ca");
        let tls = ClientTls::trusting(ca.pem()).unwrap();
        let (_broker, locked) = listen(|it| it.tls(ca.local().server())).await;
        let (_broker, open) = listen(|it| it).await;
        let plaintext = connect(impatient(), &locked).await;
        assert_error!(plaintext, Error::Unreachable { .. }, "expects TLS");
        let encrypted = connect(impatient().tls(tls.clone()), &open).await;
        assert_error!(encrypted, Error::Unreachable { .. }, "TLS");
        // One that answers, in some other way.
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = http.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = http.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let strange = impatient().tls(tls).connect(&address).await;
        assert_error!(strange, Error::Authentication { .. }, "does not speak TLS");
        serving.abort();
    })
    .await
}

#[tokio::test]
async fn credentials_where_none_are_asked_for_and_none_where_they_are() {
    within(async {
        let (_broker, open) = listen(|it| it).await;
        let credentials = Credentials::scram_sha_256("alice", "secret");
        let known = connect(impatient().credentials(credentials), &open).await;
        assert_error!(known, Error::Authentication { .. }, "does not ask who its clients are");
        let (_broker, locked) = listen(|it| it.users(alice())).await;
        let unknown = connect(impatient(), &locked).await;
        assert_error!(unknown, Error::Disconnected { .. }, "closed the connection", "log in");
    })
    .await
}

#[tokio::test]
async fn other_machines_are_served_with_locks_or_when_told_so() {
    let ca = Authority::new("ca");
    let broker = Broker::in_memory().await.unwrap();
    let everywhere = "0.0.0.0:0";
    let tls = || ca.local().server();
    let knowing = || tls().require_clients(ca.pem()).unwrap();
    for (builder, is_served) in [
        (broker.listener(), false),
        (broker.listener().users(alice()), false),
        (broker.listener().tls(tls()), false),
        (broker.listener().tls(tls()).users(alice()), true),
        (broker.listener().tls(knowing()), true),
        (broker.listener().allow_remote_plaintext(), true),
    ] {
        match builder.bind(everywhere).await {
            Ok(_) => assert!(is_served),
            refused => {
                assert!(!is_served);
                assert_error!(refused, Error::InvalidConfig { .. }, "TLS", "allow_remote");
            }
        }
    }
}

/// A connection that speaks for itself.
struct Raw<S>(S);

impl Raw<TcpStream> {
    async fn to(listener: &Listener) -> Self {
        Raw(TcpStream::connect(listener.local_addr()).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    async fn send<R: Request>(&mut self, request: &R, version: i16) {
        let mut frame = encode_request(request, version, 7, &None).unwrap();
        self.0.write_all_buf(&mut frame).await.unwrap();
    }

    /// The answer; `None` if the connection was closed.
    async fn receive<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let len = self.0.read_u32().await.ok()?;
        let mut frame = vec![0; len as usize];
        self.0.read_exact(&mut frame).await.unwrap();
        let (id, response) = decode_response::<R>(&Bytes::from(frame), version).unwrap();
        assert_eq!(id, 7);
        Some(response)
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }
}

fn handshake(mechanism: &str) -> SaslHandshakeRequest {
    SaslHandshakeRequest { mechanism: mechanism.to_owned() }
}

fn message(bytes: &'static [u8]) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest { auth_bytes: Bytes::from_static(bytes) }
}

/// Behind a login that has not come: whatever it is, the connection ends.
#[tokio::test]
async fn a_stranger_can_ask_what_is_served_and_log_in() {
    within(async {
        let (_broker, listener) = listen(|it| it.users(alice())).await;
        let mut raw = Raw::to(&listener).await;
        let unnamed = ApiVersionsRequest::default();
        let named = ApiVersionsRequest {
            client_software_name: "a".to_owned(),
            client_software_version: "1".to_owned(),
        };
        for (request, version, expected) in [
            (&unnamed, 0, ErrorCode::NONE),
            (&unnamed, 3, ErrorCode::INVALID_REQUEST),
            (&named, 4, ErrorCode::NONE),
        ] {
            let told = raw.ask(request, version).await.unwrap();
            assert_eq!(told.error_code, expected);
        }
        assert!(raw.ask(&MetadataRequest::default(), 5).await.is_none());

        let mut raw = Raw::to(&listener).await;
        let told = raw.ask(&handshake("GSSAPI"), 1).await.unwrap();
        assert_eq!(told.error_code, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
        assert_eq!(told.mechanisms, ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]);
        assert!(raw.receive::<SaslHandshakeRequest>(1).await.is_none());

        let mut raw = Raw::to(&listener).await;
        let told = raw.ask(&message(b"\0alice\0secret"), 2).await.unwrap();
        assert_eq!(told.error_code, ErrorCode::ILLEGAL_SASL_STATE);

        let mut raw = Raw::to(&listener).await;
        raw.0.write_all(&(1_u32 << 20).to_be_bytes()).await.unwrap();
        assert_eq!(raw.0.read(&mut [0]).await.unwrap_or(0), 0, "so long is no login");
    })
    .await
}

/// As the listener sees one that comes from another machine.
async fn from_afar(broker: &Broker) -> (DuplexStream, impl Future<Output = ()>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let listener = broker.listener().users(alice());
    let served = listener.serve(far, "192.0.2.1:9092".parse().unwrap());
    (near, async { served.await.unwrap() })
}

#[tokio::test]
async fn a_password_is_not_asked_for_where_others_may_listen() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let (near, served) = from_afar(&broker).await;
        let mut raw = Raw(near);
        let asked = async {
            let told = raw.ask(&handshake("PLAIN"), 1).await.unwrap();
            assert_eq!(told.error_code, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
            assert_eq!(told.mechanisms, ["SCRAM-SHA-512", "SCRAM-SHA-256"]);
        };
        tokio::join!(asked, served);
    })
    .await
}

/// Nobody holds a connection by saying nothing, or little.
#[tokio::test(start_paused = true)]
async fn a_stranger_has_ten_seconds() {
    let broker = Broker::in_memory().await.unwrap();
    for said in [&b""[..], &[0, 0, 0, 9, 0, 17]] {
        let (mut near, served) = from_afar(&broker).await;
        near.write_all(said).await.unwrap();
        let begun = Instant::now();
        served.await;
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}

#[tokio::test]
async fn one_who_has_logged_in_goes_on_at_once_and_does_not_log_in_again() {
    within(async {
        let (_broker, listener) = listen(|it| it.users(alice())).await;
        let mut raw = Raw::to(&listener).await;
        let told = raw.ask(&handshake("PLAIN"), 1).await.unwrap();
        assert_eq!(told.error_code, ErrorCode::NONE);
        // Without waiting for the answer.
        raw.send(&message(b"\0alice\0secret"), 0).await;
        raw.send(&MetadataRequest::default(), 5).await;
        let told = raw.receive::<SaslAuthenticateRequest>(0).await.unwrap();
        assert_eq!((told.error_code, told.session_lifetime_ms), (ErrorCode::NONE, 0));
        let told = raw.receive::<MetadataRequest>(5).await.unwrap();
        assert_eq!(told.brokers.len(), 1);
        let told = raw.ask(&handshake("PLAIN"), 1).await.unwrap();
        assert_eq!(told.error_code, ErrorCode::ILLEGAL_SASL_STATE);
    })
    .await
}

#[test]
fn files_with_nothing_in_them_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let identity = Authority::new("ca").local();
    let (chain, key) = (path("chain.pem", &identity.chain), path("key.pem", &identity.key));
    let empty = path("empty.pem", "");
    ServerTls::from_files(&chain, &key).unwrap();
    let swapped = ServerTls::from_files(&key, &chain);
    assert_error!(swapped, Error::InvalidConfig { .. }, "key.pem");
    let foreign = Authority::new("ca").local();
    let foreign_key = path("foreign.pem", &foreign.key);
    assert_error!(ServerTls::from_files(&chain, &foreign_key), Error::InvalidConfig { .. }, "key");
    assert_error!(ClientTls::trusting_file(&empty), Error::InvalidConfig { .. }, "empty.pem");
    let missing = ClientTls::trusting_file(dir.path().join("none.pem"));
    assert_error!(missing, Error::Io { .. }, "none.pem");
    let users = path("users", "alice SCRAM-SHA-256 nonsense\n");
    assert_error!(Users::from_file(&users), Error::InvalidConfig { .. }, "users", "line 1");
    std::fs::write(&users, alice().to_string()).unwrap();
    assert_eq!(Users::from_file(&users).unwrap().names(), ["alice"]);
}
