//! Connections to brokers, by the brokers' ids: made when they are needed, and made again, after a
//! pause, when they are lost. Whoever must not wait behind others has a pool of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::settings::{Address, Settings};
use crate::error::Result;
use crate::transport::backoff::Backoff;

/// At most one connection to each broker.
#[derive(Debug)]
pub(super) struct Pool {
    settings: Arc<Settings>,
    places: Mutex<BTreeMap<Address, Arc<Place>>>,
}

/// The place of a connection.
#[derive(Debug)]
struct Place(tokio::sync::Mutex<Held>);

#[derive(Debug)]
struct Held {
    connection: Option<Connection>,
    backoff: Backoff,
    /// When the next attempt may be made.
    not_before: Option<Instant>,
}

impl Pool {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Pool { settings, places: Mutex::default() }
    }

    /// The connection to a broker, made if there is none; one attempt, which others share.
    ///
    /// Cancel safe.
    pub(super) async fn get(&self, address: &Address) -> Result<Connection> {
        let place = self.place(address);
        let mut held = place.0.lock().await;
        if let Some(connection) = held.connection.as_ref().filter(|it| it.is_open()) {
            return Ok(connection.clone());
        }
        if held.connection.take().is_some() {
            let pause = held.backoff.next();
            held.not_before = Some(Instant::now() + pause);
        }
        if let Some(not_before) = held.not_before {
            sleep_until(not_before).await;
        }
        let opened = Connection::open(address, &self.settings).await;
        match &opened {
            Ok(connection) => {
                tracing::debug!(broker = %address, "connected");
                (held.connection, held.not_before) = (Some(connection.clone()), None);
                held.backoff.reset();
            }
            Err(error) => {
                tracing::debug!(%error, "not connected");
                let pause = held.backoff.next();
                held.not_before = Some(Instant::now() + pause);
            }
        }
        opened
    }

    /// One that is open, if there is any.
    pub(super) fn any_open(&self) -> Option<(Address, Connection)> {
        let places = self.places.lock().expect("no one panics with the places in hand");
        places.iter().find_map(|(address, place)| {
            let held = place.0.try_lock().ok()?;
            let connection = held.connection.as_ref().filter(|it| it.is_open())?;
            Some((address.clone(), connection.clone()))
        })
    }

    fn place(&self, address: &Address) -> Arc<Place> {
        let mut places = self.places.lock().expect("no one panics with the places in hand");
        let backoff = Backoff::new(self.settings.reconnect_backoff);
        let empty = || Held { connection: None, backoff, not_before: None };
        let place = places.entry(address.clone());
        place.or_insert_with(|| Arc::new(Place(tokio::sync::Mutex::new(empty())))).clone()
    }
}
