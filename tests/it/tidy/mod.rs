//! Keeps the house in order: which module may import which, and what no source file may contain.
//!
//! It reads the files under `src/`; it knows nothing of the crate that they make. Each rule is a
//! function from a file to its violations. Code under `#[cfg(test)]` may import what it likes.

mod scan;

use std::path::Path;
use std::{fmt, fs};

use scan::Source;

/// Top-level modules, ground floor first. One may import only what stands on a floor before its own
/// (and `record` may import `topic`).
const FLOORS: &[&[&str]] = &[
    &["record", "topic"],
    &["codec"],
    &["clock"],
    &["storage"],
    &["batch"],
    &["log"],
    &["wire"],
    &["error"],
    &["security"],
    &["partition"],
    &["assignor"],
    &["group"],
    &["broker"],
    &["inspect"],
    &["transport"],
    &["client"],
    &["producer", "consumer", "admin"],
    &["handles"],
    &["mirror"],
    &["server"],
    &["bin"],
    &["lib"],
];

/// The last floor whose code is synchronous, and gets its time and its luck as arguments.
const LAST_PURE_FLOOR: &str = "wire";

/// A floor above it that is pure too.
const PURE_FLOOR_ABOVE: &str = "assignor";

/// What the pure floors do not say. `clock` may: it is where the time comes from.
const IMPURE_WORDS: &[&str] =
    &["tokio", "async", "await", "rand", "fastrand", "getrandom", "RandomState"];
const IMPURE_PATHS: &[&str] = &["Instant::now", "SystemTime::now", "thread::sleep"];

/// Paths, and the files that may not use them whatever the floors say.
const WALLS: &[Wall] = &[
    ("crate::wire", is_no_protocol_code),
    ("crate::transport::local", is_producer_or_consumer),
    ("crate::transport::tcp", is_producer_or_consumer),
    ("crate::partition", is_producer_or_consumer),
    ("crate::broker", is_producer_or_consumer),
    ("std::net", is_broker),
    ("std::os::unix::net", is_broker),
    ("tokio::net", is_broker),
];

type Wall = (&'static str, fn(&Source) -> bool);

const MAX_FUNCTION_LINES: usize = 70;
const MAX_COLUMNS: usize = 100;
const PRINTING: &[&str] = &["println", "eprintln", "print", "eprint", "dbg"];
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "todo!", "unimplemented!"];

type Rule = fn(&Source) -> Vec<Violation>;

const RULES: &[Rule] = &[
    starts_with_what_it_is,
    stands_on_a_floor,
    imports_only_floors_below,
    imports_nothing_through_lib,
    is_pure_below_the_actors,
    respects_walls,
    has_short_functions,
    has_short_lines,
    does_not_print,
    is_finished,
];

struct Violation {
    file: String,
    line: usize,
    rule: &'static str,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: ", self.file, self.line)?;
        write!(f, "{}: {}", self.rule, self.text)
    }
}

#[test]
fn the_sources_are_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_sources(&root, "", &mut sources);
    let has_lib = sources.iter().any(|source| source.path == "lib.rs");
    assert!(has_lib, "no sources in {root:?}");

    let mut violations = String::new();
    for source in &sources {
        for violation in RULES.iter().flat_map(|rule| rule(source)) {
            violations += &format!("\n{violation}");
        }
    }
    assert!(violations.is_empty(), "{violations}");
}

/// Reads all files under `folder`; `prefix` is its path from `src/`.
fn read_sources(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).expect("the folder is part of the package");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("is readable")).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            read_sources(&entry.path(), &format!("{path}/"), sources);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("sources are UTF-8");
            sources.push(Source::new(&path, &text));
        }
    }
}

fn starts_with_what_it_is(source: &Source) -> Vec<Violation> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    let text = "the file does not start with `//!`";
    vec![violation(source, 1, "header", text)]
}

fn stands_on_a_floor(source: &Source) -> Vec<Violation> {
    let module = source.top_module();
    if floor_of(module).is_some() {
        return Vec::new();
    }
    let text = format!("`{module}` has no place in the list of floors");
    vec![violation(source, 1, "floor", &text)]
}

fn imports_only_floors_below(source: &Source) -> Vec<Violation> {
    let here = source.top_module();
    let is_allowed = |there: &str| {
        let is_below = floor_of(there) < floor_of(here);
        is_below || there == here || (here, there) == ("record", "topic")
    };
    report_paths(source, "floor order", |path| {
        imported_module(path).is_some_and(|there| !is_allowed(there))
    })
}

fn imports_nothing_through_lib(source: &Source) -> Vec<Violation> {
    // What `crate` is in a program is not this crate.
    if ["lib", "bin"].contains(&source.top_module()) {
        return Vec::new();
    }
    report_paths(source, "through lib.rs", |path| {
        imported_module(path).is_some_and(|there| floor_of(there).is_none())
    })
}

/// `log` for `crate::log::Log`; `Record` for `crate::Record`.
fn imported_module(path: &str) -> Option<&str> {
    path.strip_prefix("crate::")?.split("::").next()
}

fn is_pure_below_the_actors(source: &Source) -> Vec<Violation> {
    let module = source.top_module();
    let is_above = floor_of(module) > floor_of(LAST_PURE_FLOOR) && module != PURE_FLOOR_ABOVE;
    if module == "clock" || is_above {
        return Vec::new();
    }
    let rule = "pure floor";
    let mut found =
        report_paths(source, rule, |path| IMPURE_PATHS.iter().any(|impure| path.ends_with(impure)));
    for (at, word) in source.words() {
        if IMPURE_WORDS.contains(&word) {
            found.push(violation(source, source.line_at(at), rule, word));
        }
    }
    found
}

fn respects_walls(source: &Source) -> Vec<Violation> {
    let leads_behind = |path: &str, wall: &str| {
        let rest = path.strip_prefix(wall);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    report_paths(source, "wall", |path| {
        let mut walls = WALLS.iter();
        walls.any(|(wall, is_closed_to)| leads_behind(path, wall) && is_closed_to(source))
    })
}

fn is_no_protocol_code(source: &Source) -> bool {
    let is_client = source.path == "transport/tcp.rs" || source.path.starts_with("transport/tcp/");
    !is_client && !["wire", "server"].contains(&source.top_module())
}

/// These do not know which transport they hold, nor what is behind it.
fn is_producer_or_consumer(source: &Source) -> bool {
    ["producer", "consumer"].contains(&source.top_module())
}

fn is_broker(source: &Source) -> bool {
    source.top_module() == "broker"
}

fn has_short_functions(source: &Source) -> Vec<Violation> {
    let too_long = source.functions().filter_map(|(name, range)| {
        let (first, last) = (source.line_at(range.start), source.line_at(range.end));
        let lines = last - first + 1;
        let text = format!("`{name}` has {lines} lines");
        (lines > MAX_FUNCTION_LINES).then(|| violation(source, first, "long function", &text))
    });
    too_long.collect()
}

fn has_short_lines(source: &Source) -> Vec<Violation> {
    let is_long = |line: &str| line.chars().count() > MAX_COLUMNS;
    report_lines(source, "long line", is_long)
}

/// Programs print; the library traces.
fn does_not_print(source: &Source) -> Vec<Violation> {
    if source.top_module() == "bin" {
        return Vec::new();
    }
    let is_macro = |end: usize| source.code[end..].starts_with('!');
    let prints = scan::words(&source.code)
        .filter(|&(at, word)| PRINTING.contains(&word) && is_macro(at + word.len()));
    let report = |(at, word)| violation(source, source.line_at(at), "printing", word);
    prints.map(report).collect()
}

/// In comments too: what is not done is an issue, not a note.
fn is_finished(source: &Source) -> Vec<Violation> {
    let is_unfinished = |line: &str| UNFINISHED.iter().any(|mark| line.contains(mark));
    report_lines(source, "unfinished", is_unfinished)
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn report_paths(
    source: &Source,
    rule: &'static str,
    is_bad: impl Fn(&str) -> bool,
) -> Vec<Violation> {
    let paths = source.paths().into_iter();
    let named = paths.map(|path| (path.at, path.segments.join("::")));
    let bad = named.filter(|(_, path)| is_bad(path));
    bad.map(|(at, path)| violation(source, source.line_at(at), rule, &path)).collect()
}

fn report_lines(
    source: &Source,
    rule: &'static str,
    is_bad: impl Fn(&str) -> bool,
) -> Vec<Violation> {
    let lines = source.text.lines().zip(1..);
    let bad = lines.filter(|(line, _)| is_bad(line));
    bad.map(|(line, number)| violation(source, number, rule, line.trim())).collect()
}

fn violation(source: &Source, line: usize, rule: &'static str, text: &str) -> Violation {
    let (file, text) = (source.path.clone(), text.to_owned());
    Violation { file, line, rule, text }
}

/// Each rule is shown files that break it, and files as like them as can be that do not.
mod tests {
    use super::*;

    /// A row is a file, its text (`\n` ends a line), and what the rule should say of it, or `ok`.
    #[track_caller]
    fn check(rule: Rule, table: &str) {
        let rows = table.lines().filter(|row| !row.trim().is_empty());
        for row in rows {
            let cells: Vec<&str> = row.split(" | ").map(str::trim).collect();
            let [path, text, expected] = cells[..] else {
                panic!("a row has three cells: {row}");
            };
            let found = rule(&Source::new(path, &text.replace(r"\n", "\n")));
            let found = found.iter().map(|it| format!("{}: {}", it.line, it.text));
            let said = found.reduce(|said, more| said + "; " + &more);
            assert_eq!(said.as_deref().unwrap_or("ok"), expected, "{row}");
        }
    }

    #[test]
    fn a_violation_says_where_it_is() {
        let source = Source::new("log/mod.rs", "//! A log.\n\ndbg!(1);\n");
        let violations = does_not_print(&source);
        assert_eq!(violations[0].to_string(), "src/log/mod.rs:3: printing: dbg");
    }

    #[test]
    fn a_file_says_what_it_is() {
        let table = "
            log/mod.rs | // A log.  | 1: the file does not start with `//!`
            log/mod.rs | //! A log. | ok
        ";
        check(starts_with_what_it_is, table);
    }

    #[test]
    fn a_module_has_a_floor() {
        let table = "
            attic.rs     | //! | 1: `attic` has no place in the list of floors
            log/attic.rs | //! | ok
        ";
        check(stands_on_a_floor, table);
    }

    #[test]
    fn imports_run_one_way() {
        let table = r#"
            batch/mod.rs    | a\nuse crate::log::Log;                     | 2: crate::log::Log
            batch/mod.rs    | use crate::{codec::{A, B},\nlog::C as D};    | 2: crate::log::C
            codec/mod.rs    | a(super::log::Log)                          | 1: crate::log::Log
            log/mod.rs      | use crate::batch::B; use super::storage::S; | ok
            log/segment.rs  | use super::index::I; use crate::log::L;     | ok
            batch/mod.rs    | a("crate::log::Log") // crate::log::Log     | ok
            batch/mod.rs    | #[cfg(test)] mod tests { crate::log::Log }  | ok
            producer/mod.rs | use crate::consumer::C;                     | 1: crate::consumer::C
            topic.rs        | use crate::record::Record;                  | 1: crate::record::Record
            record.rs       | use crate::topic::TopicName;                | ok
        "#;
        check(imports_only_floors_below, table);
    }

    #[test]
    fn nothing_is_imported_through_lib() {
        let table = "
            client.rs    | use crate::Record;                             | 1: crate::Record
            client.rs    | use super::Record;                             | 1: crate::Record
            client.rs    | use crate::*;                                  | 1: crate::*
            client.rs    | use crate::record::Record; pub(crate) const A; | ok
            bin/ottla.rs | use crate::Arguments;                          | ok
        ";
        check(imports_nothing_through_lib, table);
    }

    #[test]
    fn code_below_the_actors_is_pure() {
        let table = "
            log/mod.rs   | use tokio::sync::watch;                   | 1: tokio
            log/mod.rs   | async fn f() {}                           | 1: async
            log/mod.rs   | f().await                                 | 1: await
            log/mod.rs   | std::time::Instant::now()                 | 1: std::time::Instant::now
            wire/mod.rs  | SystemTime::now()                         | 1: SystemTime::now
            topic.rs     | rand::random()                            | 1: rand
            log/mod.rs   | fn f(now: Instant) {} // tokio, async     | ok
            clock.rs     | async fn f() { tokio::time::sleep(time) } | ok
            assignor.rs  | async fn f() {}                           | 1: async
            partition.rs | async fn f() {}                           | ok
        ";
        check(is_pure_below_the_actors, table);
    }

    #[test]
    fn walls_hold() {
        let table = "
            broker/mod.rs        | use std::net::SocketAddr;       | 1: std::net::SocketAddr
            broker/mod.rs        | use std::{fmt, net::TcpStream}; | 1: std::net::TcpStream
            broker/mod.rs        | tokio::net::TcpListener         | 1: tokio::net::TcpListener
            transport/local.rs   | crate::wire::fetch              | 1: crate::wire::fetch
            producer/mod.rs      | crate::transport::local::L      | 1: crate::transport::local::L
            consumer/mod.rs      | use crate::transport::tcp;      | 1: crate::transport::tcp
            consumer/mod.rs      | crate::partition::Reader        | 1: crate::partition::Reader
            producer/mod.rs      | crate::broker::Broker           | 1: crate::broker::Broker
            server/fetch.rs      | crate::wire::fetch; std::net::A | ok
            transport/tcp/mod.rs | use crate::wire::fetch;         | ok
            producer/mod.rs      | use crate::transport::Transport | ok
            producer/mod.rs      | use crate::partitioner::P;      | ok
        ";
        check(respects_walls, table);
    }

    #[test]
    fn functions_are_short() {
        let row = |lines: usize, expected: &str| {
            let body = r#"'}'; "}"; // }\n"#.repeat(lines - 2);
            let code = format!(r"type F = fn(u8);\nfn f(a: [u8; 2]) {{\n{body}}}\nconst A");
            format!("log/mod.rs | {code} | {expected}\n")
        };
        check(has_short_functions, &row(71, "2: `f` has 71 lines"));
        check(has_short_functions, &row(70, "ok"));
    }

    #[test]
    fn lines_are_short() {
        let (long, short) = ("é".repeat(101), "é".repeat(100));
        let table = format!(r"log/mod.rs | {short}\n{long} | 2: {long}");
        check(has_short_lines, &table);
    }

    #[test]
    fn the_library_does_not_print() {
        let table = r"
            log/mod.rs   | a\nprintln!()                 | 2: println
            lib.rs       | dbg!(1)                       | 1: dbg
            log/mod.rs   | /// println!()\nfn print() {} | ok
            bin/ottla.rs | println!()                    | ok
        ";
        check(does_not_print, table);
    }

    #[test]
    fn nothing_is_left_for_later() {
        let table = "
            log/mod.rs | a; // TODO: b              | 1: a; // TODO: b
            log/mod.rs | // FIXME                   | 1: // FIXME
            log/mod.rs | // XXX why?                | 1: // XXX why?
            log/mod.rs | todo!()                    | 1: todo!()
            log/mod.rs | unimplemented!()           | 1: unimplemented!()
            log/mod.rs | let todo = unimplemented() | ok
        ";
        check(is_finished, table);
    }
}
