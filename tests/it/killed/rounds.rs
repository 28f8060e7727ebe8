//! The parent: starts a life, listens, kills it, and looks at what is left.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Add;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ottla::Broker;

use super::Lie;
use super::ledger::Ledger;
use super::script::{End, Script};
use super::view::view;
use crate::support::{Child, runtime, within};

/// How many of the lines heard last are told with what is wrong.
const LATEST: usize = 12;

/// What was done, for whoever wants to know how much was tested.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) kills: u64,
    /// Of them, while it opened, before there was a broker.
    opening: u64,
    /// Of them, before a shutdown that had begun had ended.
    closing: u64,
    closed: u64,
    /// How often the parent opened it.
    visits: u64,
    acks: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { kills, opening, closing, closed, visits, acks } = self;
        write!(f, "{kills} kills ({opening} while opening, {closing} while closing), ")?;
        write!(f, "{closed} closed, {visits} opened by the parent, {acks} records acknowledged")
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            kills: self.kills + other.kills,
            opening: self.opening + other.opening,
            closing: self.closing + other.closing,
            closed: self.closed + other.closed,
            visits: self.visits + other.visits,
            acks: self.acks + other.acks,
        }
    }
}

pub(super) struct Rounds {
    dir: PathBuf,
    script: Script,
    lie: Option<Lie>,
    ledger: Ledger,
    pub(super) tally: Tally,
    /// How long an open took, and a shutdown, when they were last seen to come to their end.
    opening: Duration,
    closing: Duration,
    latest: VecDeque<String>,
}

impl Rounds {
    pub(super) fn new(dir: &Path, script: Script, lie: Option<Lie>) -> Self {
        Rounds {
            dir: dir.to_owned(),
            script,
            lie,
            ledger: Ledger::new(script),
            tally: Tally::default(),
            opening: Duration::from_millis(20),
            closing: Duration::from_millis(20),
            latest: VecDeque::new(),
        }
    }

    /// One life to its end, and then perhaps a visit.
    pub(super) fn live(&mut self, life: u64) -> Result<(), String> {
        let end = self.script.end(life);
        let lived = self.until(life, end);
        let visited = lived.and_then(|()| match self.script.is_visited(life) {
            true => self.visit(),
            false => Ok(()),
        });
        self.tally.acks = self.ledger.acks;
        visited.map_err(|why| {
            let latest: Vec<&str> = self.latest.iter().map(String::as_str).collect();
            format!("life {life}, {end:?}: {why}\nheard last:\n{}", latest.join("\n"))
        })
    }

    fn until(&mut self, life: u64, end: End) -> Result<(), String> {
        let mut child = Child::start_with("killed::child", &self.dir, &self.orders(life));
        let (mut stage, mut since, mut killed) = (String::new(), Instant::now(), false);
        let mut acks = 0;
        while let Some(line) = child.line() {
            self.hear(&line)?;
            match (line.split(' ').next().unwrap_or(&line), end) {
                ("acked", _) => acks += 1,
                ("opened", _) => self.opening = since.elapsed(),
                ("closed", _) => self.closing = since.elapsed(),
                ("opening" | "closing" | "works", _) => since = Instant::now(),
                _ => continue,
            }
            let now = match (line.as_str(), end) {
                ("opening", End::Opening { percent }) => Some(self.opening * percent / 100),
                ("closing", End::Closing { percent, .. }) => Some(self.closing * percent / 100),
                (_, End::Working { acks: enough }) => (acks >= enough).then_some(Duration::ZERO),
                _ => None,
            };
            if let Some(wait) = now.filter(|_| !killed) {
                // There is nothing to be heard meanwhile that could be counted.
                while since.elapsed() < wait {
                    std::hint::spin_loop();
                }
                child.kill();
                killed = true;
            }
            stage = line;
        }
        self.ended(&mut child, end, killed, &stage)
    }

    fn orders(&self, life: u64) -> Vec<(&'static str, String)> {
        let mut orders = vec![
            ("OTTLA_KILLED_SEED", self.script.seed.to_string()),
            ("OTTLA_KILLED_LIFE", life.to_string()),
        ];
        orders.extend(self.lie.map(|lie| ("OTTLA_KILLED_LIE", format!("{lie:?}"))));
        orders
    }

    /// `stage` is the last line that says how far it had come.
    fn ended(
        &mut self,
        child: &mut Child,
        end: End,
        killed: bool,
        stage: &str,
    ) -> Result<(), String> {
        let well = child.ended_well();
        if well != (stage == "closed") && !killed || child.has_failed() {
            return Err(format!("the child has ended by itself, after {stage:?}"));
        }
        if stage == "opening" {
            self.ledger.is_cut_short();
        }
        self.tally.kills += u64::from(killed && !well);
        self.tally.opening += u64::from(stage == "opening");
        self.tally.closing += u64::from(matches!(end, End::Closing { .. }) && stage != "closed");
        self.tally.closed += u64::from(stage == "closed");
        Ok(())
    }

    fn hear(&mut self, line: &str) -> Result<(), String> {
        if self.latest.len() == LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(line.to_owned());
        self.ledger.hear(line)
    }

    /// Opens the directory here, looks at all of it, and closes it.
    pub(super) fn visit(&mut self) -> Result<(), String> {
        self.tally.visits += 1;
        let (script, dir) = (self.script, self.dir.clone());
        let mut lines = vec!["opening".to_owned()];
        runtime().block_on(within(async {
            let broker = Broker::builder().auto_create_topics(false).open(dir).await;
            let broker = broker.map_err(|error| format!("it does not open: {error}"))?;
            view(&broker, script, &mut |line| lines.push(line)).await;
            lines.push("closing".to_owned());
            broker.shutdown().await.map_err(|error| format!("it does not close: {error}"))?;
            lines.push("closed".to_owned());
            Ok::<(), String>(())
        }))?;
        lines.iter().try_for_each(|line| self.hear(line))
    }
}
