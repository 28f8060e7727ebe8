//! What is printed, and what is kept of it for `--json` and `--markdown`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::measure::{Aim, Metric, Row, Sample, Setup, Spread};
use crate::show::Show;

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
}

/// What something costs as something else grows.
#[derive(Serialize)]
pub(crate) struct Series {
    pub(crate) what: &'static str,
    /// How much of the one, and nanoseconds of the other.
    pub(crate) points: Vec<(f64, f64)>,
    /// Of the greatest against the least.
    #[serde(skip)]
    pub(crate) aim: Aim,
}

/// All series of a row.
#[derive(Serialize)]
pub(crate) struct Growth {
    pub(crate) row: &'static str,
    /// What grows, and how it is written.
    pub(crate) along: &'static str,
    #[serde(skip)]
    pub(crate) show: Show,
    pub(crate) series: Vec<Series>,
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
    #[serde(serialize_with = "as_text")]
    verdict: Verdict,
}

fn as_text<S: serde::Serializer>(verdict: &Verdict, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(verdict.text())
}

#[derive(Serialize)]
pub(crate) struct Report {
    machine: String,
    run: String,
    command: String,
    rows: Vec<KeptRow>,
    growths: Vec<Growth>,
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
        let (growths, only) = (Vec::new(), None);
        Report { machine, run, command, rows, growths, met: 0, below, left_out, only }
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
        let (what, text) = (it.what(), it.spread.text(|figure| it.show(figure)));
        let (aim, verdict) = said(it.aim, it.spread, |aim| it.show(aim));
        let (is_ratio, spread) = (it.peer.is_some(), it.spread);
        self.judged(row, KeptComparison { what, is_ratio, spread, text, aim, verdict })
    }

    fn judged(&mut self, row: &str, it: KeptComparison) -> KeptComparison {
        let KeptComparison { what, text, aim, verdict, .. } = &it;
        println!("  = {what:<58} {text:<28} {aim:<20} {}", verdict.text());
        match verdict {
            Verdict::None => {}
            Verdict::Meets => self.met += 1,
            Verdict::Below => self.below.push(format!("{row}: {what}: {text}, {aim}")),
        }
        it
    }

    /// A row whose figures grow along something, or do not: a line for each point, then how flat
    /// each series is.
    pub(crate) fn growth(&mut self, setup: &str, growth: Growth) {
        let Growth { row, along, show, series } = &growth;
        println!("\n{row}: {setup}");
        let mut xs: Vec<f64> = series.iter().flat_map(|it| &it.points).map(|it| it.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        for x in xs {
            let mut line = format!("  {along} {:<10}", show.text(x));
            for Series { what, points, .. } in series {
                if let Some((_, y)) = points.iter().find(|it| it.0 == x) {
                    line += &format!("  {what} {:<9}", Show::Nanos.text(*y));
                }
            }
            println!("{}", line.trim_end());
        }
        let comparisons = series.iter().map(|it| self.flatness(row, it)).collect();
        let (name, setup, contenders) = ((*row).to_owned(), setup.to_owned(), Vec::new());
        self.rows.push(KeptRow { name, setup, rounds: 1, contenders, comparisons });
        self.growths.push(growth);
    }

    /// What a point costs at most of any before it: that a cost falls is no growth.
    fn flatness(&mut self, row: &str, series: &Series) -> KeptComparison {
        let mut least = f64::INFINITY;
        let growths = series.points.iter().map(|(_, cost)| {
            least = least.min(*cost);
            cost / least
        });
        let growth = growths.fold(1.0, f64::max);
        let (spread, what) = (Spread::of(&[growth]), series.what);
        let what = format!("{what}, most growth");
        let text = format!("{:.2}x", spread.median);
        let (aim, verdict) = said(series.aim, spread, |aim| format!("{aim:.2}x"));
        self.judged(row, KeptComparison { what, is_ratio: true, spread, text, aim, verdict })
    }

    /// A figure of the row that was reported last.
    pub(crate) fn figure(&mut self, what: &str, show: Show, figures: &[f64], aim: Aim) {
        let (spread, what) = (Spread::of(figures), what.to_owned());
        let text = spread.text(|figure| show.text(figure));
        let (aim, verdict) = said(aim, spread, |aim| show.text(aim));
        let row = self.rows.last().expect("there is one").name.clone();
        let kept = KeptComparison { what, is_ratio: false, spread, text, aim, verdict };
        let kept = self.judged(&row, kept);
        self.rows.last_mut().expect("there is one").comparisons.push(kept);
    }

    pub(crate) fn growths(&self) -> &[Growth] {
        &self.growths
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
                let verdict = verdict.text();
                // Infallible: it is a string.
                let _ = writeln!(text, "| {name} | {what} | {figure} | {aim} | {verdict} |");
            }
        }
        text
    }
}

/// An aim in words, and whether it is met.
fn said(aim: Aim, spread: Spread, show: impl Fn(f64) -> String) -> (String, Verdict) {
    let text = match aim {
        Aim::None => "no aim".to_owned(),
        Aim::AtLeast(least) => format!("at least {}", show(least)),
        Aim::AtMost(most) => format!("at most {}", show(most)),
    };
    (text, aim.judge(spread.median))
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
