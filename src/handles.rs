//! Where handles come from: a broker and a client hand out builders of producers
//! and consumers, and what administrators need.
//!
//! Apart from both sides, so that a producer does not know what a broker is.

use crate::admin::Admin;
use crate::broker::Broker;
use crate::client::Client;
use crate::consumer::ConsumerBuilder;
use crate::producer::ProducerBuilder;

impl Client {
    /// A producer: settings, then `build`.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.transport.clone())
    }

    /// A consumer: settings, then `subscribe` or `assign`.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.transport.clone())
    }

    /// Looks after topics and groups.
    pub fn admin(&self) -> Admin {
        Admin::new(self.transport.clone())
    }
}

impl Broker {
    /// A producer: settings, then `build`.
    pub fn producer(&self) -> ProducerBuilder {
        self.client().producer()
    }

    /// A consumer: settings, then `subscribe` or `assign`.
    pub fn consumer(&self) -> ConsumerBuilder {
        self.client().consumer()
    }

    /// Looks after topics and groups.
    pub fn admin(&self) -> Admin {
        self.client().admin()
    }
}
