//! A client on the network, where it is not as with a broker of this process: brokers that can't be
//! reached, speak something else, are too old, answer nonsense, or go and come back.

mod admin;
mod anywhere;
pub(crate) mod cluster;
mod epochs;
mod failures;
mod fronts;
#[cfg(feature = "tls")]
mod locked;
mod proxy;
mod replicas;
#[cfg(feature = "tls")]
mod security;
mod sessions;
mod strangers;

use std::time::Duration;

use ottla::{Client, ClientBuilder};

/// A client that gives up soon.
fn impatient() -> ClientBuilder {
    Client::builder()
        .connect_timeout(Duration::from_secs(2))
        .api_timeout(Duration::from_secs(2))
        .topic_timeout(Duration::from_millis(500))
        .metadata_max_age(Duration::from_millis(100))
}
