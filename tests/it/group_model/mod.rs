//! Random lives of consumer groups against a model of what they were handed out and have committed.
//!
//! Members join, leave, die, stall and come back, while records are produced, offsets committed,
//! time passes and the broker is opened again, after shutdowns and crashes. At every moment:
//!
//! * no partition is with two members of a group, and once it has settled each has its owner;
//! * what a member is handed out has no gap and begins where the group has committed;
//! * what a member hands over, by its listener, by committing automatically or by closing, is
//!   committed before the next one begins: no record comes twice that was committed;
//! * a member can always commit, and nobody else;
//! * what is committed is what somebody has committed last, over restarts too.
//!
//! At the end each group has been handed out every record. `PROPTEST_CASES` sets the number of
//! cases. All runs on one thread, where only a poll moves a member: nothing depends on timing.

mod ledger;
mod member;
mod script;
mod world;

use ottla::Durability;
use ottla::storage::SimDisk;
use proptest::prelude::*;

use self::script::{Script, script};
use self::world::{Place, World};
use crate::support::within;

fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|it| it.parse().ok());
    let cases = asked.unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn play(place: Place, script: &Script) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(within(World::play(place, script)));
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn in_memory(script in script()) {
        play(Place::Memory, &script);
    }

    #[test]
    fn on_a_simulated_disk(script in script(), seed: u64, power: bool) {
        let durability = if power { Durability::Power } else { Durability::Process };
        play(Place::Sim(SimDisk::new(seed), durability), &script);
    }
}
