//! Reads Rust sources just well enough for the rules: tells code from comments and literals, and
//! finds words, paths and the ends of items. It is no parser, and never meets code that does not
//! compile.

use std::ops::Range;

/// One file under `src/`.
pub(super) struct Source {
    /// Relative to `src/`, with `/` on every platform: `log/segment.rs`.
    pub(super) path: String,
    /// The file as written.
    pub(super) text: String,
    /// The same, byte for byte in the same place, with comments and literals blanked.
    pub(super) code: String,
    /// Where in `code` the items under `#[cfg(test)]` are.
    tests: Vec<Range<usize>>,
    /// Where in `code` the bodies of `mod name { … }` are.
    inline_modules: Vec<Range<usize>>,
}

/// A path such as `crate::log::Log`, and where its last word starts.
pub(super) struct Path {
    pub(super) at: usize,
    pub(super) segments: Vec<String>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            tests: test_items(&code),
            inline_modules: inline_modules(&code),
            code,
        }
    }

    /// The module, or folder of modules, right under the crate that this file belongs to.
    pub(super) fn top_module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Counted from 1.
    pub(super) fn line_at(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }

    fn is_test(&self, at: usize) -> bool {
        self.path.ends_with("/tests.rs") || self.tests.iter().any(|test| test.contains(&at))
    }

    /// Every word of the code outside tests, and where it starts.
    pub(super) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        words(&self.code).filter(|&(at, _)| !self.is_test(at))
    }

    /// Every function: its name, and the range from `fn` to the closing brace.
    pub(super) fn functions(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        // The type `fn(A) -> B` has no space there.
        let starts = self.code.match_indices("fn ").map(|(at, _)| at);
        let starts = starts.filter(|&at| !self.code[..at].ends_with(is_word));
        starts.map(|at| {
            let (_, name) = words(&self.code[at + 2..]).next().unwrap_or_default();
            (name, at..item_end(&self.code, at))
        })
    }

    /// Every path in the code outside tests, with `use` trees spread out: `use a::{b, c::*}` gives
    /// `a::b` and `a::c::*`. Those that lead from `self` or `super` are told from the crate's root.
    pub(super) fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        let mut read_to = 0;
        for (at, _) in words(&self.code) {
            if at >= read_to {
                let (code, found) = (&self.code, &mut paths);
                let mut reader = PathReader { code, at, found };
                reader.read(&[]);
                read_to = reader.at;
            }
        }
        paths.retain(|path| !self.is_test(path.at));
        let paths = paths.into_iter();
        paths.filter_map(|path| self.absolute(path)).collect()
    }

    /// `None` for a path that stays below an inline module.
    fn absolute(&self, Path { at, segments }: Path) -> Option<Path> {
        let ups = segments.iter().take_while(|word| *word == "super").count();
        let is_self = segments[0] == "self" && segments.len() > 1;
        if ups == 0 && !is_self {
            return Some(Path { at, segments });
        }
        let around = self.inline_modules.iter().filter(|body| body.contains(&at));
        let inside = around.count();
        let module = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let mut from: Vec<&str> = ["crate"].into_iter().chain(module.split('/')).collect();
        from.truncate(from.len().checked_sub(ups.checked_sub(inside)?)?);
        let from = from.into_iter().map(str::to_owned);
        let segments = from.chain(segments.into_iter().skip(ups.max(1))).collect();
        Some(Path { at, segments })
    }
}

/// Reads a path or a `use` tree, and collects its leaves.
struct PathReader<'a> {
    code: &'a str,
    at: usize,
    found: &'a mut Vec<Path>,
}

impl PathReader<'_> {
    fn read(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let mut last = self.at;
        loop {
            self.skip_space();
            if self.eat("{") {
                return self.read_branches(&segments);
            }
            let rest = &self.code[self.at..];
            let is_glob = rest.starts_with('*');
            let len = if is_glob { 1 } else { word_len(rest) };
            if len > 0 {
                last = self.at;
                segments.push(rest[..len].to_owned());
                self.at += len;
            }
            if len == 0 || !self.eat("::") {
                break;
            }
        }
        if !segments.is_empty() {
            self.found.push(Path { at: last, segments });
        }
    }

    fn read_branches(&mut self, prefix: &[String]) {
        self.skip_space();
        while self.at < self.code.len() && !self.eat("}") {
            self.read(prefix);
            // What may stand before the next is `as name`.
            let rest = &self.code[self.at..];
            self.at += rest.find([',', '}']).unwrap_or(rest.len());
            self.eat(",");
            self.skip_space();
        }
    }

    fn skip_space(&mut self) {
        let rest = &self.code[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.code[self.at..].starts_with(token);
        self.at += if there { token.len() } else { 0 };
        there
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_len(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// The words of a text, and where they start.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].find(is_word)?;
        let start = at;
        at += word_len(&text[at..]);
        Some((start, &text[start..at]))
    })
}

fn test_items(code: &str) -> Vec<Range<usize>> {
    let attributes = ["#[cfg(test)]", "#[cfg(all(test"];
    let starts = attributes.iter().flat_map(|it| code.match_indices(it));
    starts.map(|(at, _)| at..item_end(code, at)).collect()
}

fn inline_modules(code: &str) -> Vec<Range<usize>> {
    let modules = words(code).filter(|&(_, word)| word == "mod");
    modules.map(|(at, _)| at..item_end(code, at)).collect()
}

/// Just after the item that starts at `from`: after its first `;`, or what closes its first `{`.
fn item_end(code: &str, from: usize) -> usize {
    let mut nesting = 0;
    let mut braces = 0;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        let is_over = braces == 0 && nesting == 0 && (c == ';' || c == '}');
        // Below zero: it was a field, and this closes what it is a field of.
        if is_over || braces < 0 {
            return from + at + 1;
        }
    }
    code.len()
}

/// The text with spaces for each byte of comments and literals. Line ends stay.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut in_word = false;
    while let Some(c) = text[code.len()..].chars().next() {
        let rest = &text[code.len()..];
        let opaque = &rest[..opaque_len(rest, in_word)];
        if opaque.is_empty() {
            code.push(c);
        }
        let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
        code.extend(opaque.bytes().map(blank));
        in_word = opaque.is_empty() && is_word(c);
    }
    code
}

/// How long the comment or literal is that the text starts with: 0 if it starts with none.
fn opaque_len(text: &str, in_word: bool) -> usize {
    match text.as_bytes() {
        [b'/', b'/', ..] => text.find('\n').unwrap_or(text.len()),
        [b'/', b'*', ..] => text.find("*/").map_or(text.len(), |at| at + 2),
        [b'"', ..] => string_len(text),
        [b'\'', ..] => char_len(text),
        [b'r' | b'b' | b'c', ..] if !in_word => raw_string_len(text),
        _ => 0,
    }
}

fn string_len(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |at| at + 2)
}

/// 0 for a lifetime.
fn char_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    let closing = match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|&(_, c)| c == '\''),
        (Some(_), closing) => closing.filter(|&(_, c)| c == '\''),
        _ => None,
    };
    closing.map_or(0, |(at, _)| at + 1)
}

/// 0 if this is no raw string but a word, or a raw identifier.
fn raw_string_len(text: &str) -> usize {
    let prefix = &text[..text.find(['r', '"']).map_or(0, |at| at + 1)];
    if !["r", "br", "cr"].contains(&prefix) {
        return 0;
    }
    let quoted = text[prefix.len()..].trim_start_matches('#');
    if !quoted.starts_with('"') {
        return 0;
    }
    let hashes = text.len() - prefix.len() - quoted.len();
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = quoted[1..].find(&closing).map(|at| 1 + at + closing.len());
    text.len() - quoted.len() + end.unwrap_or(quoted.len())
}

mod tests {
    use super::*;

    fn spread(path: &str, code: &str) -> Vec<String> {
        let source = Source::new(path, code);
        let paths = source.paths().into_iter();
        paths.map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_blanked_in_place() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b\n*/ c", "a     \n   c"),
            (r#"a("b\"c", d)"#, "a(      , d)"),
            (r##"a(br#"b"c"#, r#type)"##, "a(         , r#type)"),
            (r"a('{', '\'', '\u{7d}')", "a(   ,     ,         )"),
            ("a::<'b, 'c>(&'d e)", "a::<'b, 'c>(&'d e)"),
            // Two bytes each: what follows stays in its place.
            ("'é' é", "     é"),
        ] {
            assert_eq!(blank(text), code, "{text}");
        }
    }

    #[test]
    fn use_trees_are_spread_out() {
        let code = "use crate::{a::{self, B as C,}, d::*};\nlet e = crate::f::<G>();";
        let mut paths = spread("x.rs", code);
        paths.retain(|path| path.starts_with("crate"));
        let spread_out = ["crate::a::self", "crate::a::B", "crate::d::*", "crate::f"];
        assert_eq!(paths, spread_out);
    }

    #[test]
    fn relative_paths_are_told_from_the_root() {
        let last = |path, code| spread(path, code).pop().expect("there is a path");
        let in_segment = |code| last("log/segment.rs", code);
        assert_eq!(in_segment("super::index::I"), "crate::log::index::I");
        assert_eq!(in_segment("super::super::batch"), "crate::batch");

        let in_mod = |code| last("log/mod.rs", code);
        assert_eq!(in_mod("super::batch"), "crate::batch");
        assert_eq!(in_mod("self::index::I"), "crate::log::index::I");
        assert_eq!(in_mod("mod a { super::super::batch }"), "crate::batch");
        assert_eq!(in_mod("mod a { super::S }"), "crate::log::S");
        assert_eq!(in_mod("mod a { self::S }"), "a");
    }

    #[test]
    fn test_items_are_known() {
        let words = |code| {
            let source = Source::new("x.rs", code);
            source.words().map(|(_, word)| word.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(words("a; #[cfg(test)] mod tests { b { c } } d"), ["a", "d"]);
        assert_eq!(words("#[cfg(test)] use a::b; d"), ["d"]);
        assert_eq!(words("a { #[cfg(test)] b: [u8; 2], } d"), ["a", "d"]);
    }
}
