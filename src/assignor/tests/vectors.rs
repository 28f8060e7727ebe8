//! Replays what the Java client did, line by line: assignments, and the bytes that are sent.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::*;

/// What the Java client did in some hundred groups: see the README beside it.
const VECTORS: &str = include_str!("../../../tests/vectors/assignors/vectors.txt");

/// The part of the file that is being replayed.
struct Replay {
    strategy: Strategy,
    names: Vec<TopicName>,
    /// Of the members of this history, by id.
    assignors: BTreeMap<String, Assignor>,
    leader: Assignor,
    generation: i32,
    counts: Vec<i32>,
    /// Of this round.
    members: Vec<Seen>,
    rounds: usize,
    bytes: usize,
}

struct Seen {
    member: Member,
    /// What Java assigned.
    assigned: Vec<TopicPartition>,
    /// Whether it hears of that.
    hears: bool,
    line: &'static str,
}

impl Replay {
    fn new() -> Self {
        Replay {
            strategy: Strategy::Range,
            names: Vec::new(),
            assignors: BTreeMap::new(),
            leader: Assignor::new(Strategy::Range),
            generation: 0,
            counts: Vec::new(),
            members: Vec::new(),
            rounds: 0,
            bytes: 0,
        }
    }

    fn line(&mut self, line: &'static str) {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["H", strategy, ref names @ ..] => {
                self.strategy = Strategy::from_name(strategy).expect("strategies have our names");
                self.names = names.iter().map(|name| name.parse().expect("is legal")).collect();
                self.assignors.clear();
            }
            ["R", generation, leader, ref counts @ ..] => {
                if leader == "new" {
                    self.leader = Assignor::new(self.strategy);
                }
                self.generation = number(generation);
                self.counts = counts.iter().map(|count| number(count)).collect();
                self.members.clear();
            }
            ["M" | "L", ..] => self.member(line, &fields),
            ["B", sent, received] => self.bytes(sent, received),
            ["C", crc] => self.end_of_round(crc),
            _ => panic!("what is this? {line:?}"),
        }
    }

    fn member(&mut self, line: &'static str, fields: &[&str]) {
        let [kind, id, instance, rack, topics, owned, generation, user_data, assigned] = *fields
        else {
            panic!("not nine fields: {line:?}");
        };
        let assignor = self.assignors.entry(id.to_owned());
        let assignor = assignor.or_insert_with(|| Assignor::new(self.strategy));
        let is_forged = user_data != "*";
        let user_data = match user_data {
            "*" => assignor.user_data(),
            "-" => None,
            hex => Some(from_hex(&hex[1..])),
        };
        let optional = |field: &str| (field != "-").then(|| field.to_owned());
        let mut subscription = Subscription {
            topics: topics[1..].bytes().map(|letter| self.topic(letter).clone()).collect(),
            user_data,
            owned_partitions: self.partitions(owned),
            generation: number(generation),
            rack: optional(rack),
        };
        if !is_forged {
            // It goes to the leader as bytes. One that is made up need not be sorted.
            subscription = Subscription::decode(&subscription.encode()).expect("is what we wrote");
        }
        let member =
            Member { id: id.to_owned(), group_instance_id: optional(instance), subscription };
        let assigned = self.partitions(assigned);
        self.members.push(Seen { member, assigned, hears: kind == "M", line });
    }

    fn topic(&self, letter: u8) -> &TopicName {
        &self.names[usize::from(letter - b'a')]
    }

    /// As the README says: `.a0,1b7`.
    fn partitions(&self, text: &str) -> Vec<TopicPartition> {
        let mut partitions = Vec::new();
        let mut topic = None;
        for numbered in text[1..].split_inclusive(|c: char| c == ',' || c.is_ascii_alphabetic()) {
            let digits = numbered.trim_end_matches(|c: char| !c.is_ascii_digit());
            if let Some(topic) = topic.filter(|_| !digits.is_empty()) {
                let topic = TopicName::clone(topic);
                partitions.push(TopicPartition { topic, partition: number(digits) });
            }
            if let Some(letter @ b'a'..=b'h') = numbered.as_bytes().last() {
                topic = Some(self.topic(*letter));
            }
        }
        partitions
    }

    /// What the member before this line sent and received.
    fn bytes(&mut self, sent: &str, received: &str) {
        let seen = self.members.last().expect("follows a member");
        let (sent, received) = (from_hex(sent), from_hex(received));
        assert_eq!(seen.member.subscription.encode(), sent, "{}", seen.line);
        let mut sorted = seen.member.subscription.clone();
        sorted.topics.sort();
        sorted.owned_partitions.sort();
        assert_eq!(Subscription::decode(&sent), Ok(sorted), "{}", seen.line);

        let assignment = Assignment { partitions: seen.assigned.clone(), user_data: None };
        assert_eq!(assignment.encode(), received, "{}", seen.line);
        assert_eq!(Assignment::decode(&received), Ok(assignment), "{}", seen.line);
        self.bytes += 1;
    }

    fn end_of_round(&mut self, crc: &str) {
        let members: Vec<Member> = self.members.iter().map(|seen| seen.member.clone()).collect();
        let assigned = self.leader.assign(&members, |topic| {
            let at = self.names.iter().position(|name| name == topic);
            at.map_or(0, |at| self.counts[at])
        });
        let mut all_bytes = Vec::new();
        for member in &members {
            for version in 0..=3 {
                all_bytes.extend(member.subscription.encode_version(version));
            }
        }
        for (seen, assigned) in self.members.iter().zip(assigned) {
            let assignment = Assignment { partitions: assigned, user_data: None };
            let received = assignment.encode();
            all_bytes.extend(&received);
            // It stands in the file as a member receives it: topic by topic.
            let assignment = Assignment::decode(&received).expect("is what we wrote");
            assert_eq!(
                assignment.partitions,
                seen.assigned,
                "{} in generation {} of {:?}: {}",
                self.strategy.name(),
                self.generation,
                self.names,
                seen.line
            );
            if seen.hears {
                let assignor = self.assignors.get_mut(&seen.member.id).expect("was made above");
                assignor.on_assignment(&assignment.partitions, self.generation);
            }
        }
        let ours = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &all_bytes);
        assert_eq!(format!("{ours:x}"), crc, "bytes of round {}", self.rounds);
        self.rounds += 1;
    }
}

fn number(field: &str) -> i32 {
    field.parse().unwrap_or_else(|_| panic!("not a number: {field:?}"))
}

fn from_hex(hex: &str) -> Bytes {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("bytes are in hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn the_java_client_would_do_the_same() {
    let mut replay = Replay::new();
    VECTORS.lines().for_each(|line| replay.line(line));
    assert_eq!((replay.rounds, replay.bytes), (931, 165), "the whole file was read");
}
