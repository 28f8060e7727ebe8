//! From a frame to its answer: which handler it is for, in which version, and what becomes of one
//! that can't be read.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::connection::Ends;
use super::faults::Fault;
use super::files::{Files, Sending};
use super::frames::Frames;
use super::listener::{Closing, ListenerSettings};
use super::memory::{Claim, Memory};
use super::sessions::Sessions;
use crate::broker::core::Core;
use crate::broker::{BrokerHandle, UserHandle};
use crate::error::Error;
use crate::partition::Partition;
use crate::topic::TopicId;
use crate::wire::alter_configs::AlterConfigsRequest;
use crate::wire::alter_partition_reassignments::AlterPartitionReassignmentsRequest;
use crate::wire::api_versions::ApiVersionsRequest;
use crate::wire::create_acls::CreateAclsRequest;
use crate::wire::create_partitions::CreatePartitionsRequest;
use crate::wire::create_topics::CreateTopicsRequest;
use crate::wire::delete_acls::DeleteAclsRequest;
use crate::wire::delete_groups::DeleteGroupsRequest;
use crate::wire::delete_records::DeleteRecordsRequest;
use crate::wire::delete_topics::DeleteTopicsRequest;
use crate::wire::describe_acls::DescribeAclsRequest;
use crate::wire::describe_cluster::DescribeClusterRequest;
use crate::wire::describe_configs::DescribeConfigsRequest;
use crate::wire::describe_groups::DescribeGroupsRequest;
use crate::wire::describe_log_dirs::DescribeLogDirsRequest;
use crate::wire::fetch::FetchRequest;
use crate::wire::find_coordinator::FindCoordinatorRequest;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::incremental_alter_configs::IncrementalAlterConfigsRequest;
use crate::wire::init_producer_id::InitProducerIdRequest;
use crate::wire::join_group::JoinGroupRequest;
use crate::wire::leave_group::LeaveGroupRequest;
use crate::wire::list_groups::ListGroupsRequest;
use crate::wire::list_offsets::ListOffsetsRequest;
use crate::wire::list_partition_reassignments::ListPartitionReassignmentsRequest;
use crate::wire::metadata::MetadataRequest;
use crate::wire::offset_commit::OffsetCommitRequest;
use crate::wire::offset_delete::OffsetDeleteRequest;
use crate::wire::offset_fetch::OffsetFetchRequest;
use crate::wire::offset_for_leader_epoch::OffsetForLeaderEpochRequest;
use crate::wire::produce::ProduceRequest;
use crate::wire::sasl_authenticate::SaslAuthenticateRequest;
use crate::wire::sasl_handshake::SaslHandshakeRequest;
use crate::wire::sync_group::SyncGroupRequest;
use crate::wire::{
    ApiKey, ErrorCode, Frame, FrameError, Request, RequestHeader, decode_request, encode_response,
};

/// An answer to be written in its turn.
pub(super) type Pending = Pin<Box<dyn Future<Output = Outcome<Frame>> + Send>>;

/// What becomes of a request.
pub(super) enum Outcome<T> {
    Response(T),
    /// With what it needs until it is written.
    Holding(T, Held),
    /// The client wants no answer.
    Silence,
    /// The connection is to end, and why.
    Close(String),
}

/// What an answer holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// For the memory that it takes.
    pub(super) claim: Claim,
    /// What belongs into its gaps, by their ids.
    pub(super) files: Vec<Sending>,
}

/// What all connections of a listener share.
pub(super) struct Server {
    user: Arc<UserHandle>,
    settings: ListenerSettings,
    cluster_id: TopicId,
    pub(super) sessions: Mutex<Sessions>,
    /// Producer ids that were taken from the broker, and not given out yet.
    pub(super) producer_ids: tokio::sync::Mutex<std::ops::Range<i64>>,
    /// For requests that are read, and until they are answered.
    pub(super) requests: Memory,
    /// For answers, until they are written.
    pub(super) answers: Memory,
    /// For what is sent from files.
    pub(super) files: Files,
    /// For large requests.
    pub(super) frames: Frames,
    /// Of who tries a password.
    #[cfg(feature = "tls")]
    pub(super) passwords: Arc<tokio::sync::Semaphore>,
}

impl Server {
    pub(super) fn new(
        user: Arc<UserHandle>,
        settings: ListenerSettings,
        cluster_id: TopicId,
    ) -> Self {
        Server {
            user,
            cluster_id,
            sessions: Mutex::default(),
            producer_ids: tokio::sync::Mutex::default(),
            requests: Memory::new(settings.queued_max_request_bytes),
            answers: Memory::new(settings.queued_max_response_bytes),
            files: Files::new(),
            frames: Frames::new(),
            #[cfg(feature = "tls")]
            passwords: Arc::new(tokio::sync::Semaphore::new(1)),
            settings,
        }
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
    pub(super) ends: Ends,
    /// What it calls itself, in this request.
    pub(super) id: Option<String>,
    pub(super) closing: Closing,
    /// Whether answers may have gaps for what stands in files.
    pub(super) takes_files: bool,
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
pub(super) trait Handle: Request<Response: Send + 'static> {
    /// Does nothing of it, and says so: this error for all that it names.
    fn refuse(self, client: &Client, version: i16, error: ErrorCode) -> Outcome<Self::Response>;

    /// Begins to answer. What is not to wait for requests before this one is done before the
    /// future is polled.
    fn start(
        self,
        client: Client,
        version: i16,
    ) -> impl Future<Output = Outcome<Self::Response>> + Send + 'static;
}

impl Client {
    pub(super) fn new(
        server: Arc<Server>,
        ends: Ends,
        closing: Closing,
        takes_files: bool,
    ) -> Self {
        Client { server, ends, id: None, closing, takes_files, deferred: Arc::default() }
    }

    /// Where it is to connect to.
    pub(super) fn advertised(&self) -> (String, i32) {
        match &self.server.settings.advertised {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (self.ends.own.ip().to_string(), i32::from(self.ends.own.port())),
        }
    }

    /// Begins to answer a request. What its frame takes is claimed until nothing of it waits here.
    pub(super) fn start(&self, frame: Bytes, claim: Claim) -> Answer {
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
        let RequestHeader { correlation_id, client_id, .. } = header;
        let came = Came { version, correlation_id, client_id, body, claim };
        match api {
            ApiKey::Produce => self.begin::<ProduceRequest>(came),
            ApiKey::Fetch => self.begin::<FetchRequest>(came),
            ApiKey::ListOffsets => self.begin::<ListOffsetsRequest>(came),
            ApiKey::Metadata => self.begin::<MetadataRequest>(came),
            ApiKey::OffsetCommit => self.begin::<OffsetCommitRequest>(came),
            ApiKey::OffsetFetch => self.begin::<OffsetFetchRequest>(came),
            ApiKey::FindCoordinator => self.begin::<FindCoordinatorRequest>(came),
            ApiKey::JoinGroup => self.begin::<JoinGroupRequest>(came),
            ApiKey::Heartbeat => self.begin::<HeartbeatRequest>(came),
            ApiKey::LeaveGroup => self.begin::<LeaveGroupRequest>(came),
            ApiKey::SyncGroup => self.begin::<SyncGroupRequest>(came),
            ApiKey::DescribeGroups => self.begin::<DescribeGroupsRequest>(came),
            ApiKey::ListGroups => self.begin::<ListGroupsRequest>(came),
            ApiKey::SaslHandshake => self.begin::<SaslHandshakeRequest>(came),
            ApiKey::ApiVersions => self.begin::<ApiVersionsRequest>(came),
            ApiKey::CreateTopics => self.begin::<CreateTopicsRequest>(came),
            ApiKey::DeleteTopics => self.begin::<DeleteTopicsRequest>(came),
            ApiKey::DeleteRecords => self.begin::<DeleteRecordsRequest>(came),
            ApiKey::InitProducerId => self.begin::<InitProducerIdRequest>(came),
            ApiKey::OffsetForLeaderEpoch => self.begin::<OffsetForLeaderEpochRequest>(came),
            ApiKey::DescribeAcls => self.begin::<DescribeAclsRequest>(came),
            ApiKey::CreateAcls => self.begin::<CreateAclsRequest>(came),
            ApiKey::DeleteAcls => self.begin::<DeleteAclsRequest>(came),
            ApiKey::DescribeConfigs => self.begin::<DescribeConfigsRequest>(came),
            ApiKey::AlterConfigs => self.begin::<AlterConfigsRequest>(came),
            ApiKey::DescribeLogDirs => self.begin::<DescribeLogDirsRequest>(came),
            ApiKey::SaslAuthenticate => self.begin::<SaslAuthenticateRequest>(came),
            ApiKey::CreatePartitions => self.begin::<CreatePartitionsRequest>(came),
            ApiKey::DeleteGroups => self.begin::<DeleteGroupsRequest>(came),
            ApiKey::IncrementalAlterConfigs => self.begin::<IncrementalAlterConfigsRequest>(came),
            ApiKey::AlterPartitionReassignments => {
                self.begin::<AlterPartitionReassignmentsRequest>(came)
            }
            ApiKey::ListPartitionReassignments => {
                self.begin::<ListPartitionReassignmentsRequest>(came)
            }
            ApiKey::OffsetDelete => self.begin::<OffsetDeleteRequest>(came),
            ApiKey::DescribeCluster => self.begin::<DescribeClusterRequest>(came),
        }
    }

    fn begin<R: Handle>(&self, came: Came) -> Answer {
        let Came { version, correlation_id, client_id, body, claim } = came;
        let request = match decode_request::<R>(&body, version) {
            Ok(request) => request,
            Err(error) => {
                let api = R::KEY.name();
                return Answer::Close(format!("a {api} request, version {version}: {error}"));
            }
        };
        drop(body);
        let Fault { error, delay } = Fault::next(self.server.core(), R::KEY);
        let client = Client { id: client_id, ..self.clone() };
        let answer = match error {
            None => Either::Carried(request.start(client, version)),
            Some(ErrorCode::NETWORK_EXCEPTION) => {
                return Answer::Close("this fault was asked for".to_owned());
            }
            Some(error) => Either::Refused(request.refuse(&client, version, error)),
        };
        // Of batches that were handed over, the partitions take care; of the rest nothing is left.
        let claim = Some(claim).filter(|_| self.deferred.load(Ordering::Acquire) > 0);
        Answer::Pending(Box::pin(async move {
            let answered = match answer {
                Either::Carried(answer) => answer.await,
                Either::Refused(refused) => refused,
            };
            drop(claim);
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            let (response, held) = match answered {
                Outcome::Response(response) => (response, Held::default()),
                Outcome::Holding(response, held) => (response, held),
                Outcome::Silence => return Outcome::Silence,
                Outcome::Close(why) => return Outcome::Close(why),
            };
            outcome(encode_response::<R>(&response, version, correlation_id), held)
        }))
    }
}

/// A request as it came.
struct Came {
    version: i16,
    correlation_id: i32,
    client_id: Option<String>,
    body: Bytes,
    claim: Claim,
}

/// What a request meets.
enum Either<A, R> {
    Carried(A),
    Refused(R),
}

/// Whoever asks in a version that is not known here learns which are, in the oldest (KIP-511).
fn answer_unknown_version(correlation_id: i32) -> Answer {
    let response = super::api_versions::response(ErrorCode::UNSUPPORTED_VERSION);
    let frame = encode_response::<ApiVersionsRequest>(&response, 0, correlation_id);
    Answer::Pending(Box::pin(async move { outcome(frame, Held::default()) }))
}

/// An answer that is too long for any frame ends the connection.
fn outcome(frame: Result<Frame, FrameError>, held: Held) -> Outcome<Frame> {
    match frame {
        Ok(frame) => Outcome::Holding(frame, held),
        Err(error) => Outcome::Close(format!("an answer: {error}")),
    }
}
