//! What producers and consumers are made from, wherever the broker is.

use std::sync::Arc;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::transport::Transport;
use crate::transport::local::LocalTransport;

/// The way to a broker. Cheap to clone.
///
/// A function that takes a `&Client` does not know where the broker is.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) transport: Arc<dyn Transport>,
}

impl Client {
    /// The clock by which producers stamp records.
    pub fn clock(&self) -> &Clock {
        self.transport.clock()
    }
}

impl Broker {
    /// A client of this broker.
    pub fn client(&self) -> Client {
        Client { transport: Arc::new(LocalTransport::new(self.0.clone())) }
    }
}
