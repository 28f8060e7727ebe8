//! Locks on the door: TLS, and how clients say who they are (feature `tls`).
//!
//! | | |
//! |---|---|
//! | [`ClientTls`], [`ServerTls`] | what either end trusts, and shows of itself |
//! | [`Credentials`] | who a client says it is, and how |
//! | [`Users`] | whom a listener believes |
//!
//! ```no_run
//! use ottla::security::{ClientTls, Credentials, ServerTls, Users};
//! use ottla::{Broker, Client};
//!
//! # async fn example() -> ottla::Result<()> {
//! let users = Users::from_file("users.txt")?; // or Users::new(), and Users::add
//! let tls = ServerTls::from_files("server.pem", "server.key")?;
//! let broker = Broker::in_memory().await?;
//! let listener = broker.listener().tls(tls).users(users).bind("0.0.0.0:9093").await?;
//!
//! let client = Client::builder()
//!     .tls(ClientTls::trusting_file("ca.pem")?)
//!     .credentials(Credentials::scram_sha_512("alice", "secret"))
//!     .connect("broker.example:9093")
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! Below them, `scram` is RFC 5802 and RFC 7677 as Kafka has them: in exchanges of text that know
//! no network. The primitives are `ring`'s, TLS is `rustls`.

mod credentials;
mod scram;
mod tls;
mod users;

pub use credentials::{Credentials, Mechanism, ParseMechanismError};
pub use tls::{ClientTls, ServerTls};
pub use users::{ScramVerifier, Users};

pub(crate) use credentials::{Login, plain};
pub(crate) use scram::{ScramServer, Step};
pub(crate) use tls::distrust;

#[cfg(test)]
mod tests;
