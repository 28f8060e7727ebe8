//! Reads and writes at a position, on Unix and Windows. No cursor is ever relied on.

use std::fs::File;
use std::io::{self, ErrorKind};

/// Reads once, up to `buffer.len()` bytes; fewer than that only at the end or when interrupted.
pub(super) fn read(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    loop {
        match read_once(file, buffer, position) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(unix)]
fn read_once(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

#[cfg(windows)]
fn read_once(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

/// Fills the buffer if the page cache has all that belongs there. Whether it did: no error says
/// more than that it is to be read as usual, not even that the file system can't tell.
#[cfg(target_os = "linux")]
pub(super) fn read_cached(file: &File, buffer: &mut [u8], position: u64) -> bool {
    let len = buffer.len();
    let mut parts = [io::IoSliceMut::new(buffer)];
    let read = rustix::io::preadv2(file, &mut parts, position, rustix::io::ReadWriteFlags::NOWAIT);
    read.is_ok_and(|read| read == len)
}

/// Nobody tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn read_cached(_file: &File, _buffer: &mut [u8], _position: u64) -> bool {
    false
}

/// Writes all of `bytes`, going on after short writes and interruptions.
#[cfg(unix)]
pub(super) fn write_all(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, position)
}

/// Writes all of `bytes`, going on after short writes and interruptions.
#[cfg(windows)]
pub(super) fn write_all(file: &File, mut bytes: &[u8], mut position: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, position) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                position += written as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
#[cfg(unix)]
pub(super) fn sync_dir(dir: &std::path::Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Windows has no such call: NTFS journals names by itself.
#[cfg(windows)]
pub(super) fn sync_dir(dir: &std::path::Path) -> io::Result<()> {
    match std::fs::metadata(dir)?.is_dir() {
        true => Ok(()),
        false => Err(ErrorKind::NotADirectory.into()),
    }
}
