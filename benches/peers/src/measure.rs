//! One row: contenders that do the same work by turns, round after round.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::machine::{self, cpu_seconds};
use crate::report::{Comparison, Report, Verdict};
use crate::show::Show;

/// The conditions that all contenders of a row have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup {
    /// What holds when a record counts as taken.
    pub(crate) durability: &'static str,
    /// Bytes of a record's value.
    pub(crate) record: usize,
    /// How much goes at once.
    pub(crate) batch: &'static str,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
}

/// What one contender did in one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Delivered, where there are consumers; else appended.
    pub(crate) records: u64,
    pub(crate) seconds: f64,
    /// Of the whole process.
    pub(crate) cpu_seconds: f64,
    /// Of all payload bytes that were read.
    pub(crate) sum: u64,
    /// What else it found.
    pub(crate) figures: BTreeMap<&'static str, f64>,
}

impl Sample {
    pub(crate) fn with(mut self, name: &'static str, figure: f64) -> Self {
        self.figures.insert(name, figure);
        self
    }
}

/// Time and CPU since it was made.
pub(crate) struct Timer {
    started: Instant,
    cpu: f64,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Timer { cpu: cpu_seconds(), started: Instant::now() }
    }

    pub(crate) fn stop(self, records: u64, sum: u64) -> Sample {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds() - self.cpu;
        Sample { records, seconds, cpu_seconds, sum, figures: BTreeMap::new() }
    }
}

/// A figure of a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Metric {
    /// Records a second.
    Rate,
    /// Nanoseconds of CPU for a record.
    Cpu,
    /// One that the row names.
    Figure(&'static str, Show),
}

impl Metric {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Metric::Rate => "rate",
            Metric::Cpu => "CPU per record",
            Metric::Figure(name, _) => name,
        }
    }

    pub(crate) fn of(self, sample: &Sample) -> f64 {
        match self {
            Metric::Rate => sample.records as f64 / sample.seconds,
            Metric::Cpu => sample.cpu_seconds * 1e9 / sample.records as f64,
            Metric::Figure(name, _) => sample.figures.get(name).copied().unwrap_or(f64::NAN),
        }
    }

    pub(crate) fn show(self, figure: f64) -> String {
        match self {
            Metric::Rate => Show::Rate.text(figure),
            Metric::Cpu => Show::Nanos.text(figure),
            Metric::Figure(_, show) => show.text(figure),
        }
    }
}

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// The row informs.
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    pub(crate) fn judge(self, figure: f64) -> Verdict {
        match self {
            _ if !figure.is_finite() => Verdict::None,
            Aim::None => Verdict::None,
            Aim::AtLeast(least) if figure >= least => Verdict::Meets,
            Aim::AtMost(most) if figure <= most => Verdict::Meets,
            Aim::AtLeast(_) | Aim::AtMost(_) => Verdict::Below,
        }
    }
}

type Run<'a> = Box<dyn FnMut() -> Sample + 'a>;

/// A row in the making.
pub(crate) struct Row<'a> {
    pub(crate) name: String,
    pub(crate) setup: Setup,
    contenders: Vec<(&'static str, Run<'a>)>,
    /// Of which each contender's line tells, besides rate and CPU.
    pub(crate) figures: Vec<Metric>,
    comparisons: Vec<(Metric, &'static str, Option<&'static str>, Aim)>,
    /// What every contender has to have read in every round.
    sum: Option<u64>,
}

impl<'a> Row<'a> {
    pub(crate) fn new(name: impl Into<String>, setup: Setup) -> Self {
        Row {
            name: name.into(),
            setup,
            contenders: Vec::new(),
            figures: Vec::new(),
            comparisons: Vec::new(),
            sum: None,
        }
    }

    pub(crate) fn contender(
        mut self,
        name: &'static str,
        run: impl FnMut() -> Sample + 'a,
    ) -> Self {
        self.contenders.push((name, Box::new(run)));
        self
    }

    /// Has a further figure told of each contender.
    pub(crate) fn figure(mut self, metric: Metric) -> Self {
        self.figures.push(metric);
        self
    }

    /// Every contender that loses nothing has read just this.
    pub(crate) fn lossless(mut self, sum: u64) -> Self {
        self.sum = Some(sum);
        self
    }

    /// Ours against a peer: the ratio of each round's pair.
    pub(crate) fn compare(
        mut self,
        metric: Metric,
        ours: &'static str,
        peer: &'static str,
        aim: Aim,
    ) -> Self {
        self.comparisons.push((metric, ours, Some(peer), aim));
        self
    }

    /// A figure that has an aim of its own.
    pub(crate) fn aim(mut self, metric: Metric, ours: &'static str, aim: Aim) -> Self {
        self.comparisons.push((metric, ours, None, aim));
        self
    }

    /// Runs it, each contender being the first in its turn, after one round that warms up.
    pub(crate) fn run(mut self, rounds: usize, report: &mut Report) {
        if let Some(only) = &report.only {
            self.contenders.retain(|(name, _)| name.contains(&**only));
            self.comparisons.clear();
        }
        let names: Vec<&'static str> = self.contenders.iter().map(|(name, _)| *name).collect();
        let mut samples: Vec<Vec<Sample>> = names.iter().map(|_| Vec::new()).collect();
        for round in 0..=rounds {
            for turn in 0..names.len() {
                let which = (round + turn) % names.len();
                // One round alone, as `--quick` has it, is no measurement.
                if rounds > 1 {
                    machine::warm_memory();
                }
                let sample = (self.contenders[which].1)();
                let is_lossy = sample.figures.contains_key("lost");
                if let Some(sum) = self.sum
                    && !is_lossy
                {
                    assert_eq!(sample.sum, sum, "{}: every payload byte was read", names[which]);
                }
                if round > 0 {
                    samples[which].push(sample);
                }
            }
        }
        let index = |name| names.iter().position(|it| *it == name).expect("it is a contender");
        let mut comparisons = Vec::new();
        for (metric, ours, peer, aim) in self.comparisons.drain(..) {
            let figures = |name| samples[index(name)].iter().map(move |it| metric.of(it));
            let ratios: Vec<f64> = match peer {
                Some(peer) => figures(ours).zip(figures(peer)).map(|(a, b)| a / b).collect(),
                None => figures(ours).collect(),
            };
            comparisons.push(Comparison { metric, ours, peer, spread: Spread::of(&ratios), aim });
        }
        report.row(&self, &names, &samples, comparisons);
    }
}

/// The median of several rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    pub(crate) fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Spread { median: at(sorted.len() / 2), least: at(0), greatest: at(last) }
    }

    pub(crate) fn text(self, show: impl Fn(f64) -> String) -> String {
        if self.least == self.greatest {
            return show(self.median);
        }
        let Spread { median, least, greatest } = self;
        format!("{} ({} to {})", show(median), show(least), show(greatest))
    }
}
