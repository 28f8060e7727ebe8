//! How figures are written.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// Things a second.
    Rate,
    Nanos,
    Millis,
    Bytes,
    BytesPerSecond,
    SecondsPerGib,
    Plain,
    Percent,
    Count,
}

impl Show {
    pub(crate) fn text(self, figure: f64) -> String {
        if !figure.is_finite() {
            return "-".to_owned();
        }
        match self {
            Show::Rate => scaled(figure, &[(1e6, 2, "M/s"), (1e3, 1, "k/s"), (1.0, 0, "/s")]),
            Show::Nanos => {
                let units = [(1e9, 2, "s"), (1e6, 2, "ms"), (1e4, 1, "µs"), (1.0, 0, "ns")];
                scaled_by(figure, &units, |unit| if unit == 1e4 { 1e3 } else { unit })
            }
            Show::Millis => scaled(figure, &[(1e3, 2, "s"), (1.0, 1, "ms"), (1e-3, 0, "µs")]),
            Show::Bytes => {
                let mebi = f64::from(1 << 20);
                scaled(
                    figure,
                    &[
                        (mebi * 1024.0, 2, "GiB"),
                        (mebi, 1, "MiB"),
                        (1024.0, 1, "KiB"),
                        (1.0, 0, "B"),
                    ],
                )
            }
            Show::BytesPerSecond => {
                scaled(figure, &[(1e9, 2, "GB/s"), (1e6, 0, "MB/s"), (1e3, 0, "kB/s")])
            }
            Show::SecondsPerGib => format!("{figure:.2} s/GiB"),
            Show::Plain => format!("{figure:.2}"),
            Show::Percent => format!("{:.1} %", figure * 100.0),
            Show::Count => format!("{figure:.0}"),
        }
    }
}

/// In the first unit of which there is one, else in the last.
fn scaled(figure: f64, units: &[(f64, usize, &str)]) -> String {
    scaled_by(figure, units, |unit| unit)
}

fn scaled_by(figure: f64, units: &[(f64, usize, &str)], divisor: fn(f64) -> f64) -> String {
    let fitting = units.iter().find(|(least, ..)| figure.abs() >= *least).or(units.last());
    let (least, decimals, name) = *fitting.expect("there are units");
    format!("{:.decimals$} {name}", figure / divisor(least))
}
