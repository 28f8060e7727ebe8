//! From a frame to its answer: which handler it is for, in which version, and what becomes of one
//! that can't be read.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::listener::{Closing, ListenerSettings};
use super::sessions::Sessions;
use crate::broker::core::Core;
use crate::broker::{BrokerHandle, UserHandle};
use crate::error::Error;
use crate::partition::Partition;
use crate::topic::TopicId;
use crate::wire::api_versions::ApiVersionsRequest;
use crate::wire::create_topics::CreateTopicsRequest;
use crate::wire::delete_topics::DeleteTopicsRequest;
use crate::wire::fetch::FetchRequest;
use crate::wire::find_coordinator::FindCoordinatorRequest;
use crate::wire::init_producer_id::InitProducerIdRequest;
use crate::wire::list_offsets::ListOffsetsRequest;
use crate::wire::metadata::MetadataRequest;
use crate::wire::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use crate::wire::produce::ProduceRequest;
use crate::wire::{
    ApiKey, ErrorCode, Frame, FrameError, Request, RequestHeader, decode_request, encode_response,
};

/// An answer to be written in its turn.
pub(super) type Pending = Pin<Box<dyn Future<Output = Outcome<Frame>> + Send>>;

/// What becomes of a request.
pub(super) enum Outcome<T> {
    Response(T),
    /// The client wants no answer.
    Silence,
    /// The connection is to end, and why.
    Close(String),
}

/// What all connections of a listener share.
pub(super) struct Server {
    user: Arc<UserHandle>,
    settings: ListenerSettings,
    cluster_id: TopicId,
    pub(super) sessions: Mutex<Sessions>,
    /// Producer ids that were taken from the broker, and not given out yet.
    pub(super) producer_ids: tokio::sync::Mutex<std::ops::Range<i64>>,
}

impl Server {
    pub(super) fn new(
        user: Arc<UserHandle>,
        settings: ListenerSettings,
        cluster_id: TopicId,
    ) -> Self {
        let (sessions, producer_ids) = (Mutex::default(), tokio::sync::Mutex::default());
        Server { user, settings, cluster_id, sessions, producer_ids }
    }

    pub(super) fn broker(&self) -> &BrokerHandle {
        &self.user
    }

    pub(super) fn core(&self) -> &Core {
        &self.user.core
    }

    pub(super) fn settings(&self) -> &ListenerSettings {
        &self.settings
    }

    /// A partition, by its topic's name.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Result<Partition, Error> {
        self.core().check_open()?;
        let found = self.core().topic(topic);
        let found = found.ok_or_else(|| Error::UnknownTopic { topic: topic.to_owned() })?;
        found.partition(partition).cloned()
    }

    pub(super) fn cluster_id(&self) -> TopicId {
        self.cluster_id
    }
}

/// Who asks.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) server: Arc<Server>,
    /// The address that it has reached.
    address: SocketAddr,
    pub(super) closing: Closing,
    /// How many of its batches wait for their turn to be handed over.
    pub(super) deferred: Arc<AtomicUsize>,
}

/// What to do about a request.
pub(super) enum Answer {
    Pending(Pending),
    /// End the connection, as Kafka does, and why.
    Close(String),
}

/// What each API's file does.
pub(super) trait Handle: Request {
    /// Begins to answer. What is not to wait for requests before this one is done before the
    /// future is polled.
    fn start(
        self,
        client: Client,
        version: i16,
    ) -> impl Future<Output = Outcome<Self::Response>> + Send + 'static;
}

impl Client {
    pub(super) fn new(server: Arc<Server>, address: SocketAddr, closing: Closing) -> Self {
        Client { server, address, closing, deferred: Arc::default() }
    }

    /// Where it is to connect to.
    pub(super) fn advertised(&self) -> (String, i32) {
        match &self.server.settings.advertised {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (self.address.ip().to_string(), i32::from(self.address.port())),
        }
    }

    /// Begins to answer a request.
    pub(super) fn start(&self, frame: Bytes) -> Answer {
        let (header, body) = match RequestHeader::read(&frame) {
            Ok(read) => read,
            Err(error) => {
                return Answer::Close(format!("a request's header is malformed: {error}"));
            }
        };
        drop(frame);
        let (key, version) = (header.api_key, header.version);
        let api = ApiKey::from_number(key);
        let Some(api) = api.filter(|api| api.versions().contains(&version)) else {
            if api == Some(ApiKey::ApiVersions) {
                return answer_unknown_version(header.correlation_id);
            }
            return Answer::Close(format!("unsupported request: api key {key}, version {version}"));
        };
        match api {
            ApiKey::Produce => self.begin::<ProduceRequest>(header, body),
            ApiKey::Fetch => self.begin::<FetchRequest>(header, body),
            ApiKey::ListOffsets => self.begin::<ListOffsetsRequest>(header, body),
            ApiKey::Metadata => self.begin::<MetadataRequest>(header, body),
            ApiKey::FindCoordinator => self.begin::<FindCoordinatorRequest>(header, body),
            ApiKey::ApiVersions => self.begin::<ApiVersionsRequest>(header, body),
            ApiKey::CreateTopics => self.begin::<CreateTopicsRequest>(header, body),
            ApiKey::DeleteTopics => self.begin::<DeleteTopicsRequest>(header, body),
            ApiKey::InitProducerId => self.begin::<InitProducerIdRequest>(header, body),
            ApiKey::OffsetForLeaderEpoch => self.begin::<OffsetForLeaderEpochRequest>(header, body),
        }
    }

    fn begin<R: Handle>(&self, header: RequestHeader, body: Bytes) -> Answer {
        let RequestHeader { version, correlation_id, .. } = header;
        let request = match decode_request::<R>(&body, version) {
            Ok(request) => request,
            Err(error) => {
                let api = R::KEY.name();
                return Answer::Close(format!("a {api} request, version {version}: {error}"));
            }
        };
        drop(body);
        let answer = request.start(self.clone(), version);
        Answer::Pending(Box::pin(async move {
            match answer.await {
                Outcome::Response(response) => {
                    outcome(encode_response::<R>(&response, version, correlation_id))
                }
                Outcome::Silence => Outcome::Silence,
                Outcome::Close(why) => Outcome::Close(why),
            }
        }))
    }
}

/// Whoever asks in a version that is not known here learns which are, in the oldest (KIP-511).
fn answer_unknown_version(correlation_id: i32) -> Answer {
    let response = super::api_versions::response(ErrorCode::UNSUPPORTED_VERSION);
    let frame = encode_response::<ApiVersionsRequest>(&response, 0, correlation_id);
    Answer::Pending(Box::pin(async move { outcome(frame) }))
}

/// An answer that is too long for any frame ends the connection.
fn outcome(frame: Result<Frame, FrameError>) -> Outcome<Frame> {
    match frame {
        Ok(frame) => Outcome::Response(frame),
        Err(error) => Outcome::Close(format!("an answer: {error}")),
    }
}
