//! What all commands share: how they end, and how they show things to people and to programs.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ottla::{Error, Timestamp};
use serde::Serialize;

/// How a command ends that could be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// And nothing is to be said.
    Well,
    /// But records or settings are lost.
    WithLosses,
}

impl Done {
    pub(crate) fn losing(anything: bool) -> Done {
        if anything { Done::WithLosses } else { Done::Well }
    }
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Ottla(#[from] Error),
    #[error("writing to standard output: {0}")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Said(String),
}

pub(crate) type Outcome = Result<Done, Failure>;

/// Says why, if it failed. Whoever reads the output may stop reading: `… | head` is no failure.
pub(crate) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(Done::Well) => ExitCode::SUCCESS,
        Ok(Done::WithLosses) => ExitCode::from(3),
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("ottla: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard output.
pub(crate) fn say(line: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Writes a value as JSON, over several lines.
pub(crate) fn say_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Columns for people. A heading that begins with `>` is of numbers, which end below each other.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Table {
        Table { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Cells come from anybody: nothing in them may move a terminal's cursor.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().map(|cell| printable(&cell)).collect();
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    pub(crate) fn print(&self) -> io::Result<()> {
        let names: Vec<_> = self.headings.iter().map(|it| it.trim_start_matches('>')).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([names[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..names.len()).map(width).collect();
        let mut out = io::stdout().lock();
        let mut line = |cells: &[&str]| {
            let mut text = String::new();
            for ((cell, width), heading) in cells.iter().zip(&widths).zip(&self.headings) {
                text += &match heading.starts_with('>') {
                    true => format!("{cell:>width$}  "),
                    false => format!("{cell:<width$}  "),
                };
            }
            writeln!(out, "{}", text.trim_end())
        };
        line(&names)?;
        self.rows.iter().try_for_each(|row| {
            let cells: Vec<_> = row.iter().map(String::as_str).collect();
            line(&cells)
        })
    }
}

/// A text with its control characters written out.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Bytes as a text for people.
pub(crate) fn printable_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => printable(text),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// A size as people say it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number of things.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A point in time, as RFC 3339 writes it; what that can't write as milliseconds.
pub(crate) fn time(timestamp: Timestamp) -> String {
    // From 1970 to the end of the year 9999.
    if (0..253_402_300_800_000).contains(&timestamp.as_millis()) {
        return humantime::format_rfc3339_millis(SystemTime::from(timestamp)).to_string();
    }
    timestamp.to_string()
}

/// How far something is, on a terminal; nothing anywhere else.
pub(crate) fn progress(total: Option<u64>, what: &'static str) -> ProgressBar {
    let (total, template) = match total {
        Some(total) => (
            Some(total),
            "{msg} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, \
             {eta} left",
        ),
        None => (None, "{msg} {spinner} {binary_bytes}, {binary_bytes_per_sec}"),
    };
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).expect("the template is sound"));
    bar.set_message(what);
    if io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_people_say_them() {
        let said = [0, 1023, 1024, 1536, 1_048_575, 1 << 20, 5 << 30, u64::MAX].map(size);
        let expected =
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "5.0 GiB", "16384.0 PiB"];
        assert_eq!(said, expected);
    }

    #[test]
    fn nothing_reaches_a_terminal_but_text() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable_bytes("grün\t".as_bytes()), "grün\\t");
        assert_eq!(printable_bytes(&[0xff, b'a', 0]), "\\xffa\\x00");
    }
}
