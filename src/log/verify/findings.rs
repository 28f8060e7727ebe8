//! What a verification has found, and how bad it is.

use std::fmt;

/// More findings than this of one partition are counted, not kept.
const MAX_FINDINGS: usize = 1000;

/// How bad a [`Finding`] is, from harmless to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Nothing is wrong, but somebody may want to know.
    Note,
    /// What a crash leaves, or a broker at work: the next open settles it, and nothing is lost that
    /// was promised.
    Unfinished,
    /// It is wrong, but can be derived from what is there: no record is lost.
    Derived,
    /// Records or settings that can't be read any more.
    Lost,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Unfinished => "unfinished",
            Severity::Derived => "derived",
            Severity::Lost => "lost",
        })
    }
}

/// Something in a data directory that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder, from the data directory.
    pub file: String,
    /// The byte of the file at which it is, or begins.
    pub position: Option<u64>,
    /// What it is, and what becomes of it.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.file)?;
        if let Some(position) = self.position {
            write!(f, " at byte {position}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Findings, of which only so many are kept.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    left_out: u64,
    worst: Option<Severity>,
}

impl Findings {
    /// Adds one.
    pub fn add(
        &mut self,
        severity: Severity,
        file: impl Into<String>,
        position: Option<u64>,
        text: impl Into<String>,
    ) {
        self.worst = self.worst.max(Some(severity));
        if self.kept.len() < MAX_FINDINGS {
            let (file, text) = (file.into(), text.into());
            self.kept.push(Finding { severity, file, position, text });
        } else {
            self.left_out += 1;
        }
    }

    /// In the order in which they were found; the first thousand.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.kept.iter()
    }

    /// How many more there are.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How bad the worst of all is.
    pub fn worst(&self) -> Option<Severity> {
        self.worst
    }
}
