//! The table: one row for each measurement, with its aim.

/// What a row is to reach.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    /// None; the row informs.
    None,
    AtLeast(f64),
    AtMost(f64),
}

/// How a figure is written.
pub(crate) type Show = fn(f64) -> String;

/// One measurement of ours, and one of the reference.
pub(crate) type Pair = (f64, f64);

pub(crate) struct Report {
    below: usize,
}

impl Report {
    pub(crate) fn start() -> Self {
        let report = Report { below: 0 };
        report.line(["what", "ours", "reference", "ratio (min-max)", "aim", "verdict"]);
        report
    }

    /// A row of ratios: the aim is the median ratio's.
    pub(crate) fn ratios(&mut self, name: &str, pairs: &[Pair], show: Show, aim: Aim) {
        let side = |pick: fn(&Pair) -> f64| show(median(pairs.iter().map(pick).collect()));
        let ratios: Vec<f64> = pairs.iter().map(|(ours, reference)| ours / reference).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(0.0, f64::max);
        let ratio = median(ratios);
        if !ratio.is_finite() {
            // A clock of 10 ms, and a quick run: there is nothing to divide by.
            return self.line([name, &side(|it| it.0), &side(|it| it.1), "-", "-", "too short"]);
        }
        let spread = format!("{ratio:.2} ({least:.2}-{greatest:.2})");
        let (aim_text, verdict) = self.judge(ratio, aim, |it| format!("{it:.1}x"));
        self.line([name, &side(|it| it.0), &side(|it| it.1), &spread, &aim_text, verdict]);
    }

    /// A row without a reference: the aim is the figure's own.
    pub(crate) fn figure(&mut self, name: &str, figures: Vec<f64>, show: Show, aim: Aim) {
        self.row(name, median(figures), show, "-", aim);
    }

    /// A row without a reference, with the least and the greatest figure in the ratio's place.
    pub(crate) fn spread(&mut self, name: &str, figures: Vec<f64>, show: Show, aim: Aim) {
        let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = figures.iter().copied().fold(0.0, f64::max);
        let spread = format!("({}-{})", show(least), show(greatest));
        self.row(name, median(figures), show, &spread, aim);
    }

    fn row(&mut self, name: &str, figure: f64, show: Show, spread: &str, aim: Aim) {
        let (aim_text, verdict) = self.judge(figure, aim, show);
        self.line([name, &show(figure), "-", spread, &aim_text, verdict]);
    }

    /// The last line.
    pub(crate) fn end(self) {
        match self.below {
            0 => println!("all aims are met"),
            below => println!("{below} below aim"),
        }
    }

    fn judge(
        &mut self,
        value: f64,
        aim: Aim,
        show: impl Fn(f64) -> String,
    ) -> (String, &'static str) {
        let (text, met) = match aim {
            Aim::None => return ("-".to_owned(), "-"),
            Aim::AtLeast(least) => (format!(">= {}", show(least)), value >= least),
            Aim::AtMost(most) => (format!("<= {}", show(most)), value <= most),
        };
        self.below += usize::from(!met);
        (text, if met { "meets aim" } else { "below aim" })
    }

    fn line(&self, [name, ours, reference, ratio, aim, verdict]: [&str; 6]) {
        println!("{name:<46} | {ours:>10} | {reference:>10} | {ratio:>18} | {aim:>10} | {verdict}");
    }
}

/// Measures both sides alternately, `rounds` times after one that warms up. Each side is first in
/// every other round.
pub(crate) fn alternate(
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    mut reference: impl FnMut() -> f64,
) -> Vec<Pair> {
    let mut round = |number: usize| match number % 2 {
        0 => {
            let first = ours();
            (first, reference())
        }
        _ => {
            let first = reference();
            (ours(), first)
        }
    };
    (0..=rounds).map(&mut round).skip(1).collect()
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub(crate) fn nanos(nanos: f64) -> String {
    format!("{nanos:.0} ns")
}

pub(crate) fn millis(millis: f64) -> String {
    format!("{millis:.3} ms")
}

/// For what takes many of them.
pub(crate) fn whole_millis(millis: f64) -> String {
    format!("{millis:.1} ms")
}

pub(crate) fn seconds_per_gib(seconds: f64) -> String {
    format!("{seconds:.2} s/GiB")
}

pub(crate) fn mebibytes(mebibytes: f64) -> String {
    format!("{mebibytes:.1} MiB")
}

pub(crate) fn megabytes_per_second(rate: f64) -> String {
    format!("{:.0} MB/s", rate / 1e6)
}

pub(crate) fn plain(number: f64) -> String {
    format!("{number:.1}")
}
