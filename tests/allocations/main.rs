//! What reading takes: at most `MAX_GROWTH` times a frame's length, whatever the frame says; and
//! what the hot paths take (`hot`).
//!
//! A binary of its own: the allocator that counts is the whole process's.

#[path = "../it/fuzzed/request/apis.rs"]
mod apis;
#[path = "../it/fuzzed/request/frames.rs"]
mod frames;
mod greed;
mod hot;
#[path = "../it/fuzzed/inputs.rs"]
mod inputs;
mod responses;
#[path = "../it/fuzzed/samples.rs"]
mod samples;
#[path = "../it/support/seed.rs"]
mod seed;

use allocation_counter::measure;
use bytes::Bytes;
use ottla::TopicId;
use ottla::wire::{
    self, ApiKey, MAX_GROWTH, Request, RequestHeader, decode_request, decode_response,
};

use self::apis::for_api;
use self::frames::frames;
use self::inputs::{Dice, kept};
use self::samples::Sample;
use self::seed::{fresh_seed, tell};

/// How often the inputs that are kept are changed.
const MUTATIONS: usize = 10_000;

/// What reading a frame takes at one time, in bytes for each byte of the frame.
fn growth(frame: &Bytes, read: impl FnOnce()) -> f64 {
    let most = measure(read).bytes_max as usize;
    let limit = MAX_GROWTH * frame.len();
    assert!(most <= limit, "{most} bytes, where {limit} are allowed: {frame:02x?}");
    most as f64 / frame.len().max(1) as f64
}

/// As a server reads it.
fn of_request(frame: &Bytes) -> f64 {
    growth(frame, || read_request(frame))
}

fn of_answer(frame: &Bytes, api: ApiKey, version: i16) -> f64 {
    growth(frame, || for_api!(api, read_answer(frame, version)))
}

fn read_request(frame: &Bytes) {
    let Ok((header, body)) = RequestHeader::read(frame) else { return };
    let version = header.version;
    let api = ApiKey::from_number(header.api_key).filter(|api| api.versions().contains(&version));
    if let Some(api) = api {
        for_api!(api, read_body(&header, &body));
    }
}

/// The header lives as long as what was read.
fn read_body<R: Request>(header: &RequestHeader, body: &Bytes) {
    drop(decode_request::<R>(body, header.version));
}

fn read_answer<R: Request>(frame: &Bytes, version: i16) {
    drop(decode_response::<R>(frame, version));
}

/// The frames of the fuzzer's inputs, and of mutations of them.
#[test]
fn inputs_of_the_fuzzer_take_no_more_than_is_allowed() {
    let mut inputs = kept("request");
    inputs.push(Vec::new());
    let fresh = fresh_seed();
    tell(&format!("allocations: {} inputs, seeds 1 and {fresh}\n", inputs.len()));
    let mut worst = 0.0;
    for seed in [1, fresh] {
        let mut dice = Dice::of(seed);
        let mutations = (0..MUTATIONS / 2).map(|_| dice.mutate(&inputs));
        for input in inputs.clone().into_iter().chain(mutations) {
            frames(&input).iter().for_each(|frame| worst = most(worst, frame));
        }
    }
    tell(&format!("allocations: at most {worst:.1} times an input's frame\n"));
}

/// As a request, and as the answer to any.
fn most(worst: f64, frame: &Bytes) -> f64 {
    let answers = ApiKey::ALL.iter().flat_map(|api| api.versions().map(move |it| (*api, it)));
    let answers = answers.map(|(api, version)| of_answer(frame, api, version));
    answers.fold(worst, f64::max).max(of_request(frame))
}

/// Of each kind and version the frame that takes most, as far as one can be found.
#[test]
fn the_greediest_frames_take_no_more_than_is_allowed() {
    let batch = Bytes::from_static(b"batch");
    let requests = samples::requests("t", TopicId([0; 16]), &batch);
    let request = greediest("request", &requests, |frame, _| of_request(frame));
    let answer = greediest("answer", &responses::responses(), |frame, it| {
        of_answer(frame, it.api, it.version)
    });
    // Else it is no search, or the limit says nothing.
    assert!(request.max(answer) * 2.5 > MAX_GROWTH as f64, "{request}, {answer}");
}

fn greediest(what: &str, samples: &[Sample], growth: impl Fn(&Bytes, &Sample) -> f64) -> f64 {
    let mut worst = 0.0_f64;
    for api in ApiKey::ALL {
        let of = samples.iter().filter(|sample| sample.api == *api);
        let found = of.map(|it| (greed::search(it, |frame| growth(frame, it)), it.version));
        let (most, version) = found.max_by(|one, other| one.0.total_cmp(&other.0)).expect("one");
        tell(&format!("allocations: {most:5.1} times {} {what}, version {version}\n", api.name()));
        worst = worst.max(most);
    }
    worst
}
