//! A data directory made of an input: one that a broker left behind, without some of its folders,
//! and then edited.
//!
//! Layout of an input: a byte that says which directory it begins with and what is left out, then
//! edits until its end: a byte for the kind, then what the kind needs. To change it is to change
//! what all inputs mean that are kept, so new kinds go to the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::BytesMut;
use ottla::batch::{
    BatchBuilder, BatchError, BatchHeader, HEADER_LEN, LOG_OVERHEAD, check_crc, patch,
};
use ottla::storage::{SimDisk, Storage};

use super::input::Input;

/// More edits than these are left undone: each takes time, and few are enough.
const MAX_EDITS: usize = 40;
/// Files don't grow beyond this by edits.
const MAX_FILE: usize = 64 << 10;
/// Nor are there more files.
const MAX_FILES: usize = 120;

const META: &str = "meta.properties";
/// What the first byte can leave out.
const FOLDERS: [&str; 5] =
    ["__ottla_catalog-0", "__consumer_offsets-0", "orders-0", "orders-1", "table-0"];
/// Where edits put files. The empty one is the data directory itself.
const PLACES: [&str; 16] = [
    "",
    "orders-0",
    "orders-1",
    "table-0",
    "__ottla_catalog-0",
    "__consumer_offsets-0",
    "orders-2",
    "orders-9",
    "empty-0",
    "gone-0",
    "other-0",
    "other-1",
    "orders-0.AAAAAAAAAAAAAAAAAAAAAA-delete",
    "table-0.AAAAAAAAAAAAAAAAAAAAAA-stray",
    "other-00",
    "-1",
];
/// What follows a base offset in a file's name.
const SUFFIXES: [&str; 14] = [
    ".log",
    ".index",
    ".timeindex",
    ".snapshot",
    ".log.cleaned",
    ".index.cleaned",
    ".timeindex.cleaned",
    ".log.swap",
    ".index.swap",
    ".timeindex.swap",
    ".log.deleted",
    ".log.tmp",
    ".log.cut-3",
    ".txnindex",
];
const NAMES: [&str; 10] = [
    "leader-epoch-checkpoint",
    "recovery-point-offset-checkpoint",
    "cleaner-offset-checkpoint",
    "partition.metadata",
    "sync-failed",
    "leader-epoch-checkpoint.tmp",
    META,
    ".kafka_cleanshutdown",
    ".lock",
    "meta.properties.tmp",
];
/// Where the header's fields stand, and how long they are.
const FIELDS: [(usize, usize); 13] = [
    (0, 8),
    (8, 4),
    (12, 4),
    (16, 1),
    (17, 4),
    (21, 2),
    (23, 4),
    (27, 8),
    (35, 8),
    (43, 8),
    (51, 2),
    (53, 4),
    (57, 4),
];

/// Files by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The directories that inputs begin with.
#[derive(Debug)]
pub struct Bases {
    /// One that was shut down, and one that was not.
    clean: Files,
    killed: Files,
}

impl Bases {
    /// Those in `tests/golden`, which never change.
    pub fn read(golden: &Path) -> Bases {
        let read = |name| {
            let mut files = Files::new();
            read_folder(&golden.join(name), "", &mut files);
            files
        };
        Bases { clean: read("v1"), killed: read("v1-killed") }
    }
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).expect("the golden directories are there") {
        let entry = entry.expect("a folder that nobody changes");
        let name = format!("{prefix}{}", entry.file_name().to_str().expect("a plain name"));
        match entry.path().is_dir() {
            true => read_folder(&entry.path(), &format!("{name}/"), files),
            false => drop(files.insert(name, fs::read(entry.path()).expect("it can be read"))),
        }
    }
}

/// A data directory before anybody opens it.
#[derive(Debug)]
pub struct Directory {
    pub files: Files,
    /// Whether the broker is to be killed rather than shut down.
    pub kill: bool,
    /// Whether a batch with a good CRC was not made by a broker: its records may be anything.
    pub crafted: bool,
    meta: Option<Vec<u8>>,
}

impl Directory {
    /// What an input stands for.
    pub fn new(bases: &Bases, data: &[u8]) -> Directory {
        let mut input = Input::new(data);
        let first = input.byte();
        let base = if first & 1 == 0 { &bases.clean } else { &bases.killed };
        let mut files = base.clone();
        for (nth, folder) in FOLDERS.iter().enumerate() {
            if first & (2 << nth) != 0 {
                files.retain(|path, _| path.split('/').next() != Some(folder));
            }
        }
        let meta = files.get(META).cloned();
        let mut directory = Directory { files, kill: first & 64 != 0, crafted: false, meta };
        for _ in 0..MAX_EDITS {
            if input.is_empty() {
                break;
            }
            directory.edit(&mut input);
        }
        directory
    }

    /// Whether the directory may be refused: the file that says what it is does not, or a file
    /// stands where a folder has to be.
    pub fn may_be_refused(&self) -> bool {
        let of_folder = |name: &str| {
            let number = name.rsplit_once('-').map(|(_, number)| number);
            number.is_some_and(|number| !number.is_empty() && number.parse::<u32>().is_ok())
        };
        let of_file = |name: &str| NAMES.contains(&name);
        let clashes = self.files.keys().any(|path| match path.split_once('/') {
            None => of_folder(path),
            Some((folder, _)) => of_file(folder),
        });
        clashes || self.files.get(META).is_some_and(|it| Some(it) != self.meta.as_ref())
    }

    /// Puts it onto a disk.
    pub fn on_disk(&self) -> SimDisk {
        let disk = SimDisk::new(1);
        for (path, content) in &self.files {
            if let Some((folder, _)) = path.split_once('/') {
                disk.create_dir(Path::new(folder)).expect("nothing else has its name");
            }
            let file = disk.open(Path::new(path), true).expect("its folder is there");
            file.append(0, &[content]).expect("there is no limit");
        }
        disk
    }

    fn edit(&mut self, input: &mut Input<'_>) {
        match input.byte() % 14 {
            0 => self.overwrite(input),
            1 => self.change(input, |file, input| {
                let len = input.position(file.len());
                file.truncate(len);
            }),
            2 => drop(self.picked(input).and_then(|path| self.files.remove(&path))),
            3 => self.rename(input, true),
            4 => self.rename(input, false),
            5 => self.change(input, |file, input| file.extend_from_slice(input.short())),
            6 => {
                let (path, content) = (path(input), input.short().to_vec());
                self.put(path, content);
            }
            7 => self.append_batch(input),
            8 => self.reseal(input),
            9 => self.change(input, repeat),
            10 => self.change(input, |file, input| flip(file, input)),
            11 => self.set_field(input),
            12 => self.copy_folder(input),
            _ => self.write_checkpoint(input),
        }
    }

    /// The path of a file that is there.
    fn picked(&self, input: &mut Input<'_>) -> Option<String> {
        let nth = usize::from(input.byte()) % self.files.len().max(1);
        self.files.keys().nth(nth).cloned()
    }

    /// The path of a log's file.
    fn picked_log(&self, input: &mut Input<'_>) -> Option<String> {
        let logs: Vec<&String> = self.files.keys().filter(|path| path.ends_with(".log")).collect();
        let nth = usize::from(input.byte()) % logs.len().max(1);
        logs.get(nth).map(|path| path.to_string())
    }

    fn change(&mut self, input: &mut Input<'_>, change: impl FnOnce(&mut Vec<u8>, &mut Input<'_>)) {
        if let Some(path) = self.picked(input)
            && let Some(file) = self.files.get_mut(&path)
        {
            change(file, input);
            file.truncate(MAX_FILE);
        }
    }

    /// Adds or replaces a file, unless a folder has its name, or a file that of its folder.
    fn put(&mut self, path: String, content: Vec<u8>) {
        let folder = format!("{path}/");
        let is_folder = self.files.keys().any(|other| other.starts_with(&folder));
        let in_file = path.split_once('/').is_some_and(|(dir, _)| self.files.contains_key(dir));
        if !is_folder && !in_file && self.files.len() < MAX_FILES {
            self.files.insert(path, content);
        }
    }

    fn overwrite(&mut self, input: &mut Input<'_>) {
        self.change(input, |file, input| {
            let at = input.position(file.len());
            let bytes = input.short();
            let len = bytes.len().min(file.len() - at);
            file[at..at + len].copy_from_slice(&bytes[..len]);
        });
    }

    fn rename(&mut self, input: &mut Input<'_>, keep: bool) {
        let Some(from) = self.picked(input) else { return };
        let to = path(input);
        let content = if keep { self.files.get(&from).cloned() } else { self.files.remove(&from) };
        self.put(to, content.unwrap_or_default());
    }

    fn copy_folder(&mut self, input: &mut Input<'_>) {
        let (from, to) = (input.pick(&PLACES), input.pick(&PLACES));
        let copied: Vec<(String, Vec<u8>)> = self
            .files
            .iter()
            .filter_map(|(path, content)| {
                let (folder, name) = path.split_once('/')?;
                (folder == from && !to.is_empty())
                    .then(|| (format!("{to}/{name}"), content.clone()))
            })
            .collect();
        copied.into_iter().for_each(|(path, content)| self.put(path, content));
    }

    /// Appends a sound batch, the next one or one out of place.
    fn append_batch(&mut self, input: &mut Input<'_>) {
        let Some(path) = self.picked_log(input) else { return };
        let file = self.files.get_mut(&path).expect("it was picked");
        let end = batches(file).filter_map(|at| BatchHeader::parse(&file[at..]).ok()).last();
        let mut batch = BatchBuilder::new(BytesMut::new());
        let how = input.byte();
        if how & 1 != 0 {
            batch.set_producer(input.number(), input.byte().into(), input.number() as i32);
        }
        for _ in 0..=how >> 5 {
            let (timestamp, kind) = (input.number(), input.byte());
            let (key, value) = (input.short(), input.short());
            let headers = [("h".into(), None)];
            let key = (kind & 1 == 0).then_some(key);
            let value = (kind & 2 == 0).then_some(value);
            batch.push(timestamp, key, value, &headers[..usize::from(kind & 4 != 0)]);
        }
        let mut batch = batch.finish();
        let next = end.map_or(0, |header| header.next_offset());
        let base_offset = if how & 2 == 0 { next } else { input.number() };
        let epoch = if how & 4 == 0 {
            end.map_or(0, |header| header.partition_leader_epoch)
        } else {
            input.number() as i32
        };
        patch(&mut batch, base_offset, epoch);
        if file.len() + batch.len() <= MAX_FILE {
            file.extend_from_slice(&batch);
        }
    }

    /// Sets a field of a header, with or without a new CRC.
    fn set_field(&mut self, input: &mut Input<'_>) {
        let Some(path) = self.picked_log(input) else { return };
        let file = self.files.get_mut(&path).expect("it was picked");
        let all: Vec<usize> = batches(file).collect();
        let nth = usize::from(input.byte());
        let (field, value, sealed) = (input.byte(), input.number(), input.byte() & 1 != 0);
        let Some(at) = all.get(nth % all.len().max(1)) else { return };
        let (offset, len) = FIELDS[usize::from(field) % FIELDS.len()];
        let header = &mut file[*at..];
        header[offset..offset + len].copy_from_slice(&value.to_be_bytes()[8 - len..]);
        if sealed {
            self.crafted = true;
            seal(header);
        }
    }

    /// Gives a file the right CRCs for what it holds.
    fn reseal(&mut self, input: &mut Input<'_>) {
        let Some(path) = self.picked(input) else { return };
        let file = self.files.get_mut(&path).expect("it was picked");
        if path.ends_with(".snapshot") && file.len() >= 6 {
            let crc = crc32c(&file[6..]);
            file[2..6].copy_from_slice(&crc.to_be_bytes());
        } else if path.contains(".log") {
            let all: Vec<usize> = batches(file).collect();
            all.into_iter().for_each(|at| seal(&mut file[at..]));
            self.crafted = true;
        }
    }

    /// Writes one of the small text files, well-formed but for its numbers.
    fn write_checkpoint(&mut self, input: &mut Input<'_>) {
        let (place, kind, lines) = (input.pick(&PLACES), input.byte(), input.byte() % 4);
        let (topic, partition) = place.rsplit_once('-').unwrap_or(("orders", "0"));
        let mut text = String::new();
        for _ in 0..lines {
            let (one, other) = (input.number(), input.number());
            text += &match kind % 3 {
                0 => format!("{one} {other}\n"),
                _ => format!("{topic} {partition} {one}\n"),
            };
        }
        let name = NAMES[usize::from(kind % 3)];
        let text = format!("0\n{lines}\n{text}");
        self.put(format!("{place}/{name}").trim_start_matches('/').to_owned(), text.into_bytes());
    }
}

/// A path that something could make of.
fn path(input: &mut Input<'_>) -> String {
    let place = input.pick(&PLACES);
    let name = match input.byte() % 3 {
        0 => format!("{:020}{}", input.number(), input.pick(&SUFFIXES)),
        1 => input.pick(&NAMES).to_owned(),
        _ => {
            let name = String::from_utf8_lossy(input.short()).replace(['/', '\0'], "-");
            let is_name = !name.is_empty() && name != "." && name != "..";
            if is_name { name } else { "x".to_owned() }
        }
    };
    format!("{place}/{name}").trim_start_matches('/').to_owned()
}

/// Inserts a part of a file again somewhere.
fn repeat(file: &mut Vec<u8>, input: &mut Input<'_>) {
    let (one, other) = (input.position(file.len()), input.position(file.len()));
    let part = file[one.min(other)..one.max(other)].to_vec();
    let at = input.position(file.len());
    file.splice(at..at, part);
}

fn flip(file: &mut [u8], input: &mut Input<'_>) {
    let (at, bit) = (input.position(file.len()), input.byte() % 8);
    if let Some(byte) = file.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

/// Where whole batches begin, by the lengths that they state.
fn batches(file: &[u8]) -> impl Iterator<Item = usize> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let at = next;
        let header = file.get(at..at + HEADER_LEN)?;
        let len = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let len = usize::try_from(len).ok()?.checked_add(LOG_OVERHEAD)?;
        next = at + len;
        (len >= HEADER_LEN && next <= file.len()).then_some(at)
    })
}

/// Gives the first batch the right CRC, if it is one.
fn seal(bytes: &mut [u8]) {
    if let Err(BatchError::CrcMismatch { computed, .. }) = check_crc(bytes) {
        bytes[17..21].copy_from_slice(&computed.to_be_bytes());
    }
}

/// CRC-32C, a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}
