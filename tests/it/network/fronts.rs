//! A cluster that is not there: several addresses before one broker, each of which answers what a
//! test says, and passes on all else.

use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use ottla::wire::api_versions::ApiVersionsRequest;
use ottla::wire::fetch::FetchRequest;
use ottla::wire::list_offsets::ListOffsetsRequest;
use ottla::wire::metadata::{MetadataRequest, MetadataResponseBroker};
use ottla::wire::{
    ApiKey, Frame, Request, RequestHeader, decode_request, decode_response, encode_request,
    encode_response,
};
use ottla::{Broker, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What becomes of a request.
pub(super) enum Fate {
    PassedOn,
    /// This is its answer.
    Answered(Frame),
    /// The connection ends.
    CutOff,
}

/// What a test sees and moves.
#[derive(Debug)]
pub(super) struct View {
    /// Who leads all partitions.
    pub(super) leader: i32,
    pub(super) leader_epoch: i32,
    /// Who is in the metadata.
    pub(super) nodes: Vec<i32>,
    /// The highest version of Fetch.
    pub(super) fetch_version: i16,
    /// How many fetches each has seen.
    pub(super) fetches: [usize; 2],
}

/// Two addresses, 0 and 1, before a broker.
pub(super) struct Fronts {
    pub(super) broker: Broker,
    pub(super) address: String,
    view: Arc<Mutex<View>>,
    _listener: Listener,
    _tasks: JoinSet<()>,
}

impl Fronts {
    pub(super) async fn before<F>(broker: Broker, script: F) -> Fronts
    where
        F: Fn(&View, i32, &RequestHeader, &Bytes) -> Fate + Clone + Send + 'static,
    {
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let (mut ways, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.push(way.local_addr().unwrap().port());
            ways.push(way);
        }
        let view = View {
            leader: 0,
            leader_epoch: 0,
            nodes: vec![0, 1],
            fetch_version: i16::MAX,
            fetches: [0; 2],
        };
        let (view, behind) = (Arc::new(Mutex::new(view)), listener.local_addr());
        let mut tasks = JoinSet::new();
        let address = format!("127.0.0.1:{}", ports[0]);
        for (node, way) in ways.into_iter().enumerate() {
            let (view, script, ports) = (view.clone(), script.clone(), ports.clone());
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = way.accept().await {
                    let behind = TcpStream::connect(behind).await.unwrap();
                    let (view, script, ports) = (view.clone(), script.clone(), ports.clone());
                    let front = Front { node: node as i32, ports, view, client, behind, script };
                    connections.spawn(async move { front.run().await.unwrap_or(()) });
                }
            });
        }
        Fronts { broker, address, view, _listener: listener, _tasks: tasks }
    }

    pub(super) fn view<T>(&self, look: impl FnOnce(&mut View) -> T) -> T {
        look(&mut self.view.lock().unwrap())
    }
}

/// One connection.
struct Front<F> {
    node: i32,
    ports: Vec<u16>,
    view: Arc<Mutex<View>>,
    client: TcpStream,
    behind: TcpStream,
    script: F,
}

impl<F: Fn(&View, i32, &RequestHeader, &Bytes) -> Fate> Front<F> {
    async fn run(mut self) -> std::io::Result<()> {
        loop {
            let frame = read(&mut self.client).await?;
            let (header, body) = RequestHeader::read(&frame).unwrap();
            let api = ApiKey::from_number(header.api_key);
            let fate = {
                let mut view = self.view.lock().unwrap();
                if api == Some(ApiKey::Fetch) {
                    view.fetches[self.node as usize] += 1;
                }
                (self.script)(&view, self.node, &header, &body)
            };
            let answer = match fate {
                Fate::Answered(answer) => bytes_of(answer),
                Fate::CutOff => return Ok(()),
                Fate::PassedOn => {
                    self.behind.write_all(&rewritten(&header, &body, &frame)).await?;
                    let answer = read(&mut self.behind).await?;
                    self.edited(api, &header, answer)
                }
            };
            self.client.write_all(&answer).await?;
        }
    }

    /// An answer of the broker, as that of this cluster.
    fn edited(&self, api: Option<ApiKey>, header: &RequestHeader, answer: Bytes) -> Bytes {
        let view = self.view.lock().unwrap();
        let version = header.version;
        match api {
            Some(ApiKey::ApiVersions) => {
                let (_, mut told) =
                    decode_response::<ApiVersionsRequest>(&answer, version).unwrap();
                let fetch = told.api_keys.iter_mut().find(|it| it.api_key == ApiKey::Fetch as i16);
                let fetch = fetch.unwrap();
                fetch.max_version = fetch.max_version.min(view.fetch_version);
                bytes_of(answered::<ApiVersionsRequest>(header, &told))
            }
            Some(ApiKey::Metadata) => {
                let (_, mut told) = decode_response::<MetadataRequest>(&answer, version).unwrap();
                let nodes = view.nodes.iter().map(|node| MetadataResponseBroker {
                    node_id: *node,
                    host: "127.0.0.1".to_owned(),
                    port: self.ports[*node as usize].into(),
                    rack: None,
                });
                told.brokers = nodes.collect();
                for partition in told.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.leader_id = view.leader;
                    partition.leader_epoch = view.leader_epoch;
                }
                bytes_of(answered::<MetadataRequest>(header, &told))
            }
            _ => [(answer.len() as i32).to_be_bytes().as_slice(), &answer].concat().into(),
        }
    }
}

/// The same request, but for the epoch, which is the cluster's and not the broker's.
fn rewritten(header: &RequestHeader, body: &Bytes, frame: &Bytes) -> Bytes {
    let (version, id) = (header.version, header.correlation_id);
    let encoded = match ApiKey::from_number(header.api_key) {
        Some(ApiKey::Fetch) => {
            let mut request = decode_request::<FetchRequest>(body, version).unwrap();
            let topics = request.topics.iter_mut();
            let all = topics.flat_map(|topic| &mut topic.partitions);
            all.for_each(|partition| partition.current_leader_epoch = -1);
            encode_request(&request, version, id, &None)
        }
        Some(ApiKey::ListOffsets) => {
            let mut request = decode_request::<ListOffsetsRequest>(body, version).unwrap();
            let topics = request.topics.iter_mut();
            let all = topics.flat_map(|topic| &mut topic.partitions);
            all.for_each(|partition| partition.current_leader_epoch = -1);
            encode_request(&request, version, id, &None)
        }
        _ => return [(frame.len() as i32).to_be_bytes().as_slice(), frame].concat().into(),
    };
    bytes_of(encoded.unwrap())
}

/// The answer to a request.
pub(super) fn answered<R: Request>(header: &RequestHeader, response: &R::Response) -> Frame {
    encode_response::<R>(response, header.version, header.correlation_id).unwrap()
}

fn bytes_of(mut frame: Frame) -> Bytes {
    frame.copy_to_bytes(frame.remaining())
}

async fn read(from: &mut TcpStream) -> std::io::Result<Bytes> {
    let mut frame = vec![0; from.read_i32().await? as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame.into())
}
