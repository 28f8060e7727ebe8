//! Where `fuzz/corpus/request` begins: whoever changes the wire writes the seeds anew.
//!
//!     cargo test --all-features --test it -- --ignored fuzzed::seeds
//!
//! * A request of each kind: in its oldest version and its newest, in the first flexible one and in
//!   the one before.
//! * What a broker answers to the newest.
//! * Connections of a few requests that have to do with each other.
//! * What no client should send: the requests of `port::hostile`.

use std::fs;

use bytes::Bytes;
use ottla::batch::{Compression, compress};
use ottla::wire::fetch::{FetchRequest, FetchTopic};
use ottla::wire::metadata::MetadataRequest;
use ottla::wire::produce::ProduceRequest;
use ottla::wire::{ApiKey, RequestHeader, decode_request, decode_response};

use super::inputs::package;
use super::request::frames::BETWEEN;
use super::request::served::{Broker, TOPIC, batch, encoded, fetch, in_no_time, produce};
use super::samples::{Sample, requests};

type Seed = (String, Vec<u8>);

#[test]
#[ignore = "writes files of the repository"]
fn seeds_are_written() {
    let folder = package().join("fuzz/corpus/request");
    fs::create_dir_all(&folder).unwrap();
    let topic_id = in_no_time(async { Broker::start().await.0.describe_topic(TOPIC).unwrap().id });
    let samples = requests(TOPIC, topic_id, &batch(&["a", "b"]));
    for (name, bytes) in single(&samples).into_iter().chain(connections(&samples)).chain(hostile())
    {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Requests alone, and answers.
fn single(samples: &[Sample]) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for Sample { api, version, frame } in samples {
        let (oldest, newest) = api.versions().into_inner();
        let turns = *version > oldest && api.is_flexible(*version) != api.is_flexible(version - 1);
        let before = *version < newest && api.is_flexible(*version) != api.is_flexible(version + 1);
        let name = format!("{}-{version}", api.name());
        if *version == newest {
            let answers = in_no_time(async {
                Broker::start().await.serve(std::slice::from_ref(frame)).await
            });
            seeds.push((format!("{name}-answer"), answers[0].to_vec()));
        }
        if *version == oldest || *version == newest || turns || before {
            seeds.push((name, frame.to_vec()));
        }
    }
    seeds
}

/// A few requests, one after the other.
fn connections(samples: &[Sample]) -> Vec<Seed> {
    let newest = |api: ApiKey| {
        let mut of = samples.iter().filter(|sample| sample.api == api);
        of.next_back().expect("there is one of each").frame.clone()
    };
    let seed = |name: &str, frames: &[Bytes]| (name.to_owned(), frames.join(BETWEEN));
    let own = |records: Bytes, acks: i16, version: i16| {
        encoded(&ProduceRequest { acks, ..produce(TOPIC, records) }, version)
    };
    let mut seeds = vec![
        seed("all-of-them", &ApiKey::ALL.iter().map(|api| newest(*api)).collect::<Vec<_>>()),
        seed("silence", &[own(batch(&["a"]), 0, 11), newest(ApiKey::Metadata)]),
        seed("creation", &[encoded(&MetadataRequest::default(), 0), newest(ApiKey::CreateTopics)]),
        seed("session", &session(&newest(ApiKey::Produce), &newest(ApiKey::Fetch))),
    ];
    for codec in Compression::ALL {
        if let Ok(records) = compress(&batch(&["aaaaaaaaaaaaaaaa", "b"]), codec) {
            let read = encoded(&fetch(TOPIC), 12);
            seeds.push(seed(&format!("with-{codec}"), &[own(records.freeze(), 1, 7), read]));
        }
    }
    seeds
}

/// A session: an answer says its id, which is the same each time.
fn session(produce: &Bytes, first: &Bytes) -> Vec<Bytes> {
    let version = *ApiKey::Fetch.versions().end();
    let (_, body) = RequestHeader::read(first).unwrap();
    let request = decode_request::<FetchRequest>(&body, version).unwrap();
    let frames = [produce.clone(), first.clone()];
    let answers = in_no_time(async { Broker::start().await.serve(&frames).await });
    let (_, answer) = decode_response::<FetchRequest>(&answers[1], version).unwrap();
    assert_ne!(answer.session_id, 0);
    let next = |session_epoch: i32, topics: &[FetchTopic]| {
        let (session_id, topics) = (answer.session_id, topics.to_vec());
        let next = FetchRequest { session_id, session_epoch, topics, ..request.clone() };
        encoded(&next, version)
    };
    let [one, other, last] = [next(1, &[]), next(2, &request.topics), next(-1, &[])];
    vec![produce.clone(), first.clone(), one, produce.clone(), other, last]
}

fn hostile() -> Vec<Seed> {
    let frames = crate::port::malformed().into_iter().enumerate();
    frames.map(|(index, frame)| (format!("malformed-{index:02}"), frame)).collect()
}
