//! A consumer's way to its group's coordinator on the network.
//!
//! Two connections of its own: a rebalance is long in coming, and commits must not wait behind it.
//! While it is a member a task says so every few seconds, whether its consumer is polled or not;
//! what the coordinator answers to that only wakes the consumer, which asks by itself.

mod answers;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Duration, sleep};

use super::cluster::Cluster;
use super::connection::Connection;
use super::errors::of_code;
use super::pool::Pool;
use super::run_on;
use super::settings::{Address, Settings, millis};
use crate::error::{Error, GroupError, Result};
use crate::topic::TopicPartition;
use crate::transport::{
    Commit, CommittedOffset, GroupSession, JoinGroup, Joined, MemberRef, SyncGroup, Synced,
};
use crate::wire::find_coordinator::{FindCoordinatorRequest, FoundCoordinator};
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::wire::{ApiKey, ErrorCode, Request};

/// How long the coordinator waits for word of a member (`session.timeout.ms`).
const SESSION_TIMEOUT: Duration = Duration::from_secs(45);
/// How often it gets word (`heartbeat.interval.ms`).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// From this version on FindCoordinator is about many keys.
const MANY_KEYS: i16 = 4;
/// From this version on LeaveGroup is about many members.
const MANY_MEMBERS: i16 = 3;

/// One consumer's session with its group.
pub(super) struct TcpGroup {
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    cluster: Arc<Cluster>,
    id: String,
    /// Made at the first join, which says what the member calls itself.
    membership: OnceLock<Pool>,
    offsets: Pool,
    coordinator: Mutex<Option<Address>>,
    changed: watch::Sender<u64>,
    beating: Mutex<Option<AbortHandle>>,
    /// Who this is in the group.
    member: Mutex<Option<MemberRef>>,
}

impl TcpGroup {
    pub(super) fn new(cluster: Arc<Cluster>, runtime: Handle, id: &str) -> Self {
        let settings = cluster.settings.clone();
        let shared = Arc::new(Shared {
            membership: OnceLock::new(),
            offsets: Pool::new(settings),
            cluster,
            id: id.to_owned(),
            coordinator: Mutex::default(),
            changed: watch::Sender::new(0),
            beating: Mutex::default(),
            member: Mutex::default(),
        });
        TcpGroup { shared, runtime }
    }

    /// All that the group has committed, whoever asks.
    pub(super) async fn all_committed(&self) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
        let shared = &self.shared;
        let what = format!("looking up offsets of group {:?}", shared.id);
        shared.cluster.until_done(&what, || shared.committed_once(None)).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no one panics with it in hand")
}

impl Shared {
    /// A connection to the coordinator, which is looked for if it is not known.
    async fn connection(&self, pool: &Pool) -> Result<Connection> {
        let known = lock(&self.coordinator).clone();
        let address = match known {
            Some(address) => address,
            None => {
                let found = find_coordinator(&self.cluster, &self.id).await?;
                lock(&self.coordinator).insert(found).clone()
            }
        };
        let connected = pool.get(&address).await;
        if connected.is_err() {
            self.forget_coordinator();
        }
        connected
    }

    fn forget_coordinator(&self) {
        *lock(&self.coordinator) = None;
    }

    /// Asks the coordinator, which may take `longer` by its own rules.
    async fn ask<R: Request>(
        &self,
        pool: &Pool,
        request: &R,
        longer: Duration,
    ) -> Result<R::Response> {
        let connection = self.connection(pool).await?;
        let version = connection.version(R::KEY, i16::MAX)?;
        let answer = connection.start(request, version, longer)?.await_it().await;
        if answer.is_err() {
            self.forget_coordinator();
        }
        answer
    }

    /// An error of the group's own, or of its coordinator.
    fn check(
        &self,
        code: ErrorCode,
        what: &str,
        member: &MemberRef,
        generation: i32,
    ) -> Result<()> {
        let group = |source| Err(Error::Group { group: self.id.clone(), source });
        match code {
            ErrorCode::NONE => Ok(()),
            ErrorCode::ILLEGAL_GENERATION => {
                group(GroupError::IllegalGeneration { generation, current: -1 })
            }
            ErrorCode::UNKNOWN_MEMBER_ID => {
                group(GroupError::UnknownMember { member_id: member.member_id.clone() })
            }
            ErrorCode::REBALANCE_IN_PROGRESS => group(GroupError::RebalanceInProgress),
            ErrorCode::FENCED_INSTANCE_ID => {
                let instance_id = member.instance_id.clone().unwrap_or_default();
                group(GroupError::FencedInstanceId { instance_id })
            }
            ErrorCode::INVALID_GROUP_ID => group(GroupError::InvalidGroupId),
            ErrorCode::GROUP_ID_NOT_FOUND => group(GroupError::GroupIdNotFound),
            other => {
                let moved = [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_NOT_AVAILABLE];
                if moved.contains(&other) {
                    self.forget_coordinator();
                }
                Err(of_code(other, format!("{what} group {:?}", self.id), None))
            }
        }
    }

    fn membership(&self) -> &Pool {
        self.membership.get_or_init(|| Pool::new(self.cluster.settings.clone()))
    }

    async fn join_once(&self, request: &JoinGroup, member_id: &Mutex<String>) -> Result<Joined> {
        let pool = self.membership.get_or_init(|| {
            let client_id = request.client_id.clone();
            let settings = Settings { client_id, ..(*self.cluster.settings).clone() };
            Pool::new(Arc::new(settings))
        });
        let member = MemberRef {
            member_id: lock(member_id).clone(),
            instance_id: request.instance_id.clone(),
        };
        let protocols = request.protocols.iter().map(|(name, metadata)| JoinGroupRequestProtocol {
            name: name.clone(),
            metadata: metadata.clone(),
        });
        let asked = JoinGroupRequest {
            group_id: self.id.clone(),
            session_timeout_ms: millis(request.session_timeout.unwrap_or(SESSION_TIMEOUT)),
            rebalance_timeout_ms: millis(request.rebalance_timeout),
            member_id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
            protocol_type: request.protocol_type.clone(),
            protocols: protocols.collect(),
            reason: None,
        };
        let response = self.ask(pool, &asked, request.rebalance_timeout).await?;
        match response.error_code {
            ErrorCode::MEMBER_ID_REQUIRED => {
                lock(member_id).clone_from(&response.member_id);
                let source = GroupError::MemberIdRequired { member_id: response.member_id };
                Err(Error::Group { group: self.id.clone(), source })
            }
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL => {
                let offered = request.protocols.iter().map(|(name, _)| name.clone()).collect();
                let source = GroupError::InconsistentProtocol { offered, allowed: Vec::new() };
                Err(Error::Group { group: self.id.clone(), source })
            }
            error => {
                self.check(error, "joining", &member, -1)?;
                Ok(answers::joined(response, &request.protocol_type))
            }
        }
    }

    async fn sync_once(&self, request: &SyncGroup) -> Result<Synced> {
        let assignments = request.assignments.iter().map(|(member_id, assignment)| {
            let (member_id, assignment) = (member_id.clone(), assignment.clone());
            SyncGroupRequestAssignment { member_id, assignment }
        });
        let asked = SyncGroupRequest {
            group_id: self.id.clone(),
            generation_id: request.generation,
            member_id: request.member.member_id.clone(),
            group_instance_id: request.member.instance_id.clone(),
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol.clone(),
            assignments: assignments.collect(),
        };
        let response = self.ask(self.membership(), &asked, SESSION_TIMEOUT).await?;
        self.check(response.error_code, "syncing with", &request.member, request.generation)?;
        Ok(Synced {
            protocol_type: response.protocol_type.unwrap_or_default(),
            protocol: response.protocol_name.unwrap_or_default(),
            assignment: response.assignment,
        })
    }

    async fn heartbeat_once(&self, member: &MemberRef, generation: i32) -> Result<()> {
        let request = HeartbeatRequest {
            group_id: self.id.clone(),
            generation_id: generation,
            member_id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
        };
        let response = self.ask(self.membership(), &request, Duration::ZERO).await?;
        self.check(response.error_code, "staying in", member, generation)
    }

    async fn leave_once(&self, member: &MemberRef) -> Result<()> {
        let connection = self.connection(self.membership()).await?;
        let version = connection.version(ApiKey::LeaveGroup, i16::MAX)?;
        let mut request =
            LeaveGroupRequest { group_id: self.id.clone(), ..LeaveGroupRequest::default() };
        match version >= MANY_MEMBERS {
            true => request.members.push(MemberIdentity {
                member_id: member.member_id.clone(),
                group_instance_id: member.instance_id.clone(),
                reason: None,
            }),
            false => request.member_id.clone_from(&member.member_id),
        }
        let response = connection.start(&request, version, Duration::ZERO)?.await_it().await?;
        self.check(response.error_code, "leaving", member, -1)?;
        let first = response.members.first().map_or(ErrorCode::NONE, |it| it.error_code);
        self.check(first, "leaving", member, -1)
    }

    fn stop_beating(&self) {
        if let Some(beating) = lock(&self.beating).take() {
            beating.abort();
        }
    }
}

/// Tells the coordinator that the member is there, until it is told that this is over.
async fn beat(shared: Arc<Shared>, member: MemberRef, generation: i32) {
    loop {
        sleep(HEARTBEAT_INTERVAL).await;
        match shared.heartbeat_once(&member, generation).await {
            Ok(()) => {}
            Err(error @ Error::Group { .. }) => {
                tracing::debug!(group = shared.id, %error, "the generation is over");
                shared.changed.send_modify(|changes| *changes += 1);
                return;
            }
            Err(error) => tracing::debug!(group = shared.id, %error, "no heartbeat"),
        }
    }
}

impl Shared {
    async fn join(&self, request: JoinGroup) -> Result<Joined> {
        self.stop_beating();
        let member_id = Mutex::new(request.member_id.clone());
        let what = format!("joining group {:?}", self.id);
        let patience = request.rebalance_timeout + self.cluster.settings.api_timeout;
        let attempt = || async {
            match self.join_once(&request, &member_id).await {
                // It has an id now, and comes again with it.
                Err(Error::Group { source: GroupError::MemberIdRequired { .. }, .. }) => {
                    self.join_once(&request, &member_id).await
                }
                joined => joined,
            }
        };
        let joined = self.cluster.until_done_within(&what, patience, attempt).await?;
        let (member_id, instance_id) = (joined.member_id.clone(), request.instance_id.clone());
        *lock(&self.member) = Some(MemberRef { member_id, instance_id });
        Ok(joined)
    }

    async fn sync(self: Arc<Self>, request: SyncGroup) -> Result<Synced> {
        let what = format!("syncing with group {:?}", self.id);
        let synced = self.cluster.until_done(&what, || self.sync_once(&request)).await?;
        let beating = beat(self.clone(), request.member, request.generation);
        let beating = tokio::spawn(beating).abort_handle();
        if let Some(former) = lock(&self.beating).replace(beating) {
            former.abort();
        }
        Ok(synced)
    }

    async fn leave(&self, member: MemberRef) -> Result<()> {
        self.stop_beating();
        *lock(&self.member) = None;
        let what = format!("leaving group {:?}", self.id);
        self.cluster.until_done(&what, || self.leave_once(&member)).await
    }
}

#[async_trait]
impl GroupSession for TcpGroup {
    fn client_id(&self) -> String {
        self.shared.cluster.settings.client_id.clone()
    }

    async fn join(&self, request: JoinGroup) -> Result<Joined> {
        let shared = self.shared.clone();
        run_on(&self.runtime, async move { shared.join(request).await }).await
    }

    async fn sync(&self, request: SyncGroup) -> Result<Synced> {
        run_on(&self.runtime, self.shared.clone().sync(request)).await
    }

    fn changes(&self) -> Result<watch::Receiver<u64>> {
        Ok(self.shared.changed.subscribe())
    }

    fn sleep_until(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (clock, runtime) = (self.shared.cluster.clock.clone(), self.runtime.clone());
        Box::pin(async move {
            let sleeping = async move {
                clock.sleep_until(deadline).await;
                Ok(())
            };
            if run_on(&runtime, sleeping).await.is_err() {
                std::future::pending().await
            }
        })
    }

    fn beside(&self, work: Pin<Box<dyn Future<Output = ()> + Send>>) -> JoinSet<()> {
        let mut running = JoinSet::new();
        running.spawn_on(work, &self.runtime);
        running
    }

    fn fall_silent(&self) {
        self.shared.stop_beating();
    }

    async fn heartbeat(&self, member: MemberRef, generation: i32) -> Result<()> {
        let shared = self.shared.clone();
        run_on(&self.runtime, async move {
            let what = format!("staying in group {:?}", shared.id);
            let attempt = || shared.heartbeat_once(&member, generation);
            shared.cluster.until_done(&what, attempt).await
        })
        .await
    }

    async fn leave(&self, member: MemberRef) -> Result<()> {
        let shared = self.shared.clone();
        run_on(&self.runtime, async move { shared.leave(member).await }).await
    }

    async fn commit(&self, commit: Commit) -> Result<()> {
        let shared = self.shared.clone();
        run_on(&self.runtime, async move {
            let what = format!("committing for group {:?}", shared.id);
            shared.cluster.until_done(&what, || shared.commit_once(&commit)).await
        })
        .await
    }

    async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let (shared, partitions) = (self.shared.clone(), partitions.to_vec());
        run_on(&self.runtime, async move {
            let what = format!("looking up offsets of group {:?}", shared.id);
            shared.cluster.until_done(&what, || shared.committed_once(Some(&partitions))).await
        })
        .await
    }
}

impl Drop for TcpGroup {
    /// The group need not wait for its session to end; but a static member keeps its place.
    fn drop(&mut self) {
        self.shared.stop_beating();
        let member = lock(&self.shared.member).take();
        if let Some(member) = member.filter(|member| member.instance_id.is_none()) {
            let shared = self.shared.clone();
            self.runtime.spawn(async move {
                if let Err(error) = shared.leave_once(&member).await {
                    tracing::debug!(group = shared.id, %error, "left without an answer");
                }
            });
        }
    }
}

impl fmt::Debug for TcpGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpGroup").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

/// Which broker coordinates a group.
pub(super) async fn find_coordinator(cluster: &Cluster, group: &str) -> Result<Address> {
    let connection = cluster.any_broker().await?;
    let version = connection.version(ApiKey::FindCoordinator, i16::MAX)?;
    let mut request = FindCoordinatorRequest::default();
    match version >= MANY_KEYS {
        true => request.coordinator_keys.push(group.to_owned()),
        false => group.clone_into(&mut request.key),
    }
    let response = connection.start(&request, version, Duration::ZERO)?.await_it().await?;
    let found = match version >= MANY_KEYS {
        true => response.coordinators.into_iter().next().unwrap_or_default(),
        false => FoundCoordinator {
            key: group.to_owned(),
            node_id: response.node_id,
            host: response.host,
            port: response.port,
            error_code: response.error_code,
            error_message: response.error_message,
        },
    };
    let what = format!("finding the coordinator of group {group:?}");
    match (found.error_code, u16::try_from(found.port)) {
        (ErrorCode::NONE, Ok(port)) if port > 0 => Ok(Address { host: found.host, port }),
        (ErrorCode::NONE, _) => Err(of_code(ErrorCode::COORDINATOR_NOT_AVAILABLE, what, None)),
        (ErrorCode::INVALID_GROUP_ID, _) => {
            Err(Error::Group { group: group.to_owned(), source: GroupError::InvalidGroupId })
        }
        (error, _) => Err(of_code(error, what, found.error_message.as_deref())),
    }
}
