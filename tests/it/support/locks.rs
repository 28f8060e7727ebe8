//! A port that speaks TLS and knows one user, and that user's client.

use ottla::security::{ClientTls, Credentials, ServerTls, Users};
use ottla::{Client, ClientBuilder, Listener, ListenerBuilder};

pub(super) async fn put_on(listener: ListenerBuilder, client: ClientBuilder) -> (Listener, Client) {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let users = Users::new();
    users.add("alice", "secret").unwrap();
    let listener = listener.tls(ServerTls::new(&certificate, key).unwrap()).users(users);
    let listener = listener.bind("127.0.0.1:0").await.unwrap();
    let client = client
        .tls(ClientTls::trusting(certificate).unwrap())
        .credentials(Credentials::scram_sha_512("alice", "secret"));
    let client = client.connect(&listener.local_addr().to_string()).await.unwrap();
    (listener, client)
}
