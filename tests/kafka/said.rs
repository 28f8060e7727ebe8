//! What Kafka said: the files that `Look.java` has written.

use std::fs;
use std::path::{Path, PathBuf};

/// Of one file or folder, looked at in one way.
pub struct Said {
    pub lines: Vec<String>,
    pub complaints: Vec<String>,
}

impl Said {
    /// `of` is what was looked at, below the folder that was.
    pub fn read(said: &Path, of: &Path, how: &str) -> Result<Said, String> {
        let out = PathBuf::from(format!("{}.{how}", said.join(of).display()));
        let err = PathBuf::from(format!("{}.err", out.display()));
        let read = |path: &Path| match fs::read(path) {
            Ok(bytes) => Ok(lines(&bytes)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        };
        Ok(Said { lines: read(&out)?, complaints: read(&err)? })
    }
}

/// Keys and values that are no text have been replaced by Kafka's decoder already.
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.split_terminator('\n').map(str::to_owned).collect()
}

/// Says where the two differ first.
pub fn same(said: &[String], expected: &[String]) -> Result<(), String> {
    let lines = said.len().max(expected.len());
    let differing = (0..lines).find(|&at| said.get(at) != expected.get(at));
    let Some(at) = differing else { return Ok(()) };
    let line = |of: &[String]| of.get(at).map_or("nothing more".to_owned(), |it| format!("{it:?}"));
    Err(format!("line {}: Kafka says {}, not {}", at + 1, line(said), line(expected)))
}
