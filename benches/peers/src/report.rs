//! What is printed, and what is kept of it for `--json` and `--markdown`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::measure::{Aim, Metric, Row, Sample, Setup, Spread};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    None,
    Meets,
    Below,
}

impl Verdict {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Verdict::None => "",
            Verdict::Meets => "meets aim",
            Verdict::Below => "below aim",
        }
    }
}

/// Ours and a peer, or ours and an aim.
pub(crate) struct Comparison {
    pub(crate) metric: Metric,
    pub(crate) ours: &'static str,
    pub(crate) peer: Option<&'static str>,
    /// Of the ratios, or without a peer of the figures.
    pub(crate) spread: Spread,
    pub(crate) aim: Aim,
}

impl Comparison {
    fn show(&self, figure: f64) -> String {
        match self.peer {
            _ if !figure.is_finite() => "-".to_owned(),
            Some(_) => format!("{figure:.2}x"),
            None => self.metric.show(figure),
        }
    }

    fn what(&self) -> String {
        match self.peer {
            Some(peer) => format!("{}, {} / {peer}", self.metric.name(), self.ours),
            None => format!("{}, {}", self.metric.name(), self.ours),
        }
    }

    fn aim(&self) -> String {
        match self.aim {
            Aim::None => "no aim".to_owned(),
            Aim::AtLeast(least) => format!("at least {}", self.show(least)),
            Aim::AtMost(most) => format!("at most {}", self.show(most)),
        }
    }

    fn verdict(&self) -> Verdict {
        self.aim.judge(self.spread.median)
    }
}

#[derive(Serialize)]
struct KeptRow {
    name: String,
    setup: String,
    rounds: usize,
    contenders: Vec<KeptContender>,
    comparisons: Vec<KeptComparison>,
}

#[derive(Serialize)]
struct KeptContender {
    name: String,
    records: u64,
    sum: String,
    rate: Spread,
    cpu_nanos_per_record: Spread,
    figures: Vec<(String, Spread)>,
}

#[derive(Serialize)]
struct KeptComparison {
    what: String,
    is_ratio: bool,
    spread: Spread,
    text: String,
    aim: String,
    verdict: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Report {
    machine: String,
    run: String,
    command: String,
    rows: Vec<KeptRow>,
    met: usize,
    below: Vec<String>,
    left_out: Vec<String>,
    /// What contenders that are to run have in their names.
    #[serde(skip)]
    pub(crate) only: Option<String>,
}

impl Report {
    pub(crate) fn start(machine: String, run: String, command: String) -> Self {
        println!("{machine}\n{run}\n{command}");
        println!("Medians of the rounds, with the least and the greatest; ratios are of pairs.");
        let (rows, below, left_out) = (Vec::new(), Vec::new(), Vec::new());
        Report { machine, run, command, rows, met: 0, below, left_out, only: None }
    }

    pub(crate) fn row(
        &mut self,
        row: &Row<'_>,
        names: &[&'static str],
        samples: &[Vec<Sample>],
        comparisons: Vec<Comparison>,
    ) {
        let (name, setup) = (row.name.clone(), describe(&row.setup));
        println!("\n{name}: {setup}");
        let contenders = names.iter().zip(samples);
        let contenders = contenders.map(|(name, samples)| contender(name, samples, &row.figures));
        let contenders = contenders.collect();
        let rounds = samples.first().map_or(0, Vec::len);
        let comparisons = comparisons.iter().map(|it| self.comparison(&name, it)).collect();
        self.rows.push(KeptRow { name, setup, rounds, contenders, comparisons });
    }

    fn comparison(&mut self, row: &str, it: &Comparison) -> KeptComparison {
        let (what, aim, verdict) = (it.what(), it.aim(), it.verdict());
        let text = it.spread.text(|figure| it.show(figure));
        println!("  = {what:<58} {text:<28} {aim:<20} {}", verdict.text());
        match verdict {
            Verdict::None => {}
            Verdict::Meets => self.met += 1,
            Verdict::Below => self.below.push(format!("{row}: {what}: {text}, {aim}")),
        }
        let (spread, is_ratio, verdict) = (it.spread, it.peer.is_some(), verdict.text());
        KeptComparison { what, is_ratio, spread, text, aim, verdict }
    }

    /// A row that this machine can't run.
    pub(crate) fn leave_out(&mut self, name: &str, why: &str) {
        println!("\n{name}: left out, {why}");
        self.left_out.push(format!("{name}: {why}"));
    }

    pub(crate) fn end(&self) {
        println!("\n{} aims met, {} below aim", self.met, self.below.len());
        for row in &self.below {
            println!("  below aim: {row}");
        }
        for row in &self.left_out {
            println!("  left out: {row}");
        }
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("it is plain data")
    }

    /// As the README has it: the comparisons, a line each.
    pub(crate) fn markdown(&self) -> String {
        let Report { machine, run, command, .. } = self;
        let mut text = format!("`{command}` on {machine}; {run}.\n\n");
        text += "| row | compared | ratio or figure | aim | |\n|---|---|---|---|---|\n";
        for row in &self.rows {
            for (index, it) in row.comparisons.iter().enumerate() {
                let name = if index == 0 { &*row.name } else { "" };
                let KeptComparison { what, text: figure, aim, verdict, .. } = it;
                // Infallible: it is a string.
                let _ = writeln!(text, "| {name} | {what} | {figure} | {aim} | {verdict} |");
            }
        }
        text
    }
}

fn contender(name: &str, samples: &[Sample], figures: &[Metric]) -> KeptContender {
    let spread =
        |metric: Metric| Spread::of(&samples.iter().map(|it| metric.of(it)).collect::<Vec<f64>>());
    let (rate, cpu) = (spread(Metric::Rate), spread(Metric::Cpu));
    let (records, sum) = samples.first().map_or((0, 0), |it| (it.records, it.sum));
    let mut line = format!("  {name:<34}");
    if rate.median.is_finite() {
        let (rate, cpu) = (rate.text(|it| Metric::Rate.show(it)), Metric::Cpu.show(cpu.median));
        line += &format!(" {rate:<34} {cpu:>8} CPU");
    }
    let mut kept = Vec::new();
    for metric in figures {
        let spread = spread(*metric);
        if spread.median.is_finite() {
            line += &format!("  {} {}", metric.name(), spread.text(|it| metric.show(it)));
            kept.push((metric.name().to_owned(), spread));
        }
    }
    if sum != 0 {
        line += &format!("  sum {sum:016x}");
    }
    println!("{line}");
    let (name, sum) = (name.to_owned(), format!("{sum:016x}"));
    KeptContender { name, records, sum, rate, cpu_nanos_per_record: cpu, figures: kept }
}

fn describe(setup: &Setup) -> String {
    let Setup { durability, record, batch, producers, consumers } = setup;
    let record = match record {
        0 => "records of many sizes".to_owned(),
        bytes if bytes % 1024 == 0 => format!("records of {} KiB", bytes / 1024),
        bytes => format!("records of {bytes} B"),
    };
    format!("{durability}; {record}; {batch}; producers {producers}, consumers {consumers}")
}
