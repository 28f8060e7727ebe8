//! Seeds that are new, and telling which.

/// Past the capture of output: who wants to repeat a run has to know.
pub(crate) fn tell(text: &str) {
    use std::io::Write;
    std::io::stderr().write_all(text.as_bytes()).expect("stderr takes a line");
}

/// The names of temporary files are drawn from the system.
pub(crate) fn fresh_seed() -> u64 {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let name = file.path().file_name().expect("it has a name").to_owned();
    let fold = |sum: u64, byte: &u8| sum.wrapping_mul(131) + u64::from(*byte);
    name.as_encoded_bytes().iter().fold(7, fold) % 1_000_000_007 * 1000
}
