//! Holds the rules of the house that the compiler does not: who may import whom, who may use which crate, how long a
//! file gets, and what every file begins with.
//!
//! The tables come first and are meant to be edited together with the architecture; a rule that is broken is reported
//! with file, line and cure, all of them at once.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test panic as the test does; clippy knows only functions under #[test] as tests"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules and their layers: a module imports only from lower layers.
const LAYERS: &[(&str, u32)] = &[
    ("base", 0),
    ("content", 1),
    ("formats", 1),
    ("codec", 1),
    ("pack", 2),
    ("catalog", 2),
    ("journal", 2),
    ("meta", 3),
    ("namespace", 4),
    ("hot", 4),
    ("seal", 4),
    ("version", 4),
    ("retention", 4),
    ("options", 4),
    ("gc", 4),
    ("check", 4),
    ("inspect", 4),
    ("engine", 5),
    ("command", 6),
    ("cli", 6),
    ("control", 6),
    ("fuse", 6),
    ("report", 6),
    ("serve", 7),
    ("main", 8),
];

/// Imports inside one layer that are meant: (importer, imported).
const SAME_LAYER: &[(&str, &str)] = &[
    // A codec cuts and hashes nothing, but blobs carry chunk ids made by `content`.
    ("codec", "content"),
    // What sealing reads is a hot file.
    ("seal", "hot"),
    // A run's record holds its policy.
    ("version", "retention"),
    // The settings of a policy and the patterns of runs are mount options.
    ("options", "retention"),
    ("options", "version"),
    // The socket carries commands, the command line prints their answers.
    ("control", "command"),
    ("cli", "command"),
    // What is in use is found through the manifests of contents.
    ("gc", "seal"),
    ("inspect", "seal"),
    // Whether all agrees is found through manifests and names.
    ("check", "seal"),
    ("check", "namespace"),
    // `status` and `unmount` are spoken over the control socket.
    ("cli", "control"),
];

/// A crate and the only files or folders (below `src/`) whose code may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("fuser", &["fuse/"]),
    ("sled", &["catalog/"]),
    ("zstd", &["codec/"]),
    ("blake3", &["content/hash.rs"]),
    ("memmap2", &["pack/direct.rs"]),
    ("clap", &["cli/", "main.rs"]),
];

/// A call and the only files or folders whose code may make it; tests may anywhere.
const CALLS: &[(&str, &[&str])] = &[
    ("sync_all", &["base/durable.rs"]),
    ("sync_data", &["base/durable.rs"]),
    ("fsync", &["base/durable.rs"]),
    ("fdatasync", &["base/durable.rs"]),
    ("println", &["cli/"]),
    ("eprintln", &["cli/"]),
    ("unimplemented", &[]),
];

/// Words that a file must not hold anywhere, comments included.
const NOWHERE: &[&str] = &["TODO", "FIXME", "XXX"];

/// Lines a file may have, and the files that may have more, each with its own bound.
const LINES: usize = 400;
/// fuser wants all requests in one impl block; each method only decodes, calls and replies.
const LONGER: &[(&str, usize)] = &[("fuse/filesystem.rs", 620)];

/// The page whose promises name their tests, and how many a promise may name: of more nobody reads which holds it.
const PROMISES: &str = "docs/semantics.md";
const TESTS_OF_A_PROMISE: usize = 4;

/// One source file: its path below `src/` and its lines, once as written and once as code alone.
struct Source {
    path: String,
    lines: Vec<String>,
    code: Vec<String>,
}

impl Source {
    /// The top-level module that the file belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many lines come before the tests, which are the end of a file or a file of their own.
    fn production_lines(&self) -> usize {
        if self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs") {
            return 0;
        }
        let begin =
            |at: &usize| self.code[at + 1..].iter().take(2).any(|next| next.starts_with("mod tests {"));
        let marks =
            self.code.iter().enumerate().filter(|(_, line)| line.trim() == "#[cfg(test)]").map(|(at, _)| at);
        marks.into_iter().find(begin).unwrap_or(self.code.len())
    }
}

/// Every `.rs` file below `src/`, in order of path.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, "rs", &mut paths);
    paths.sort();
    let found: Vec<Source> = paths.iter().map(|path| read(&root, path)).collect();
    assert!(!found.is_empty(), "no source below {}", root.display());
    found
}

fn collect(folder: &Path, wanted: &str, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, wanted, paths);
        } else if path.extension().is_some_and(|extension| extension == wanted) {
            paths.push(path);
        }
    }
}

fn read(root: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let code = code_of(&text).lines().map(str::to_owned).collect();
    Source { path: relative, lines: text.lines().map(str::to_owned).collect(), code }
}

/// The text with comments and the insides of string literals blanked; line breaks stay where they are.
fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = token(rest, out.chars().next_back());
        let (taken, after) = rest.split_at(length.max(first.len_utf8()));
        if keep {
            out.push_str(taken);
        } else {
            out.extend(taken.chars().map(|c| if c == '\n' { c } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// Length in bytes of what `rest` begins with, and whether it is code.
fn token(rest: &str, before: Option<char>) -> (usize, bool) {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (rest.find("*/").map_or(rest.len(), |end| end + 2), false);
    }
    if rest.starts_with('"') {
        return (string_end(rest), false);
    }
    if !in_word && rest.starts_with('r') {
        let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
        if rest[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let from = 2 + hashes;
            return (rest[from..].find(&close).map_or(rest.len(), |end| from + end + close.len()), false);
        }
    }
    // A quote or a slash as a character, not the begin of a string; a lifetime has no closing quote there.
    for literal in ["'\"'", "'\\\"'", "'/'", "'\\''"] {
        if rest.starts_with(literal) {
            return (literal.len(), false);
        }
    }
    (1, true)
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (place, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The identifiers of a line of code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The top-level modules that code names: in `crate::x` and in `crate::{x, y::z}`, over line breaks.
fn imports(code: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in code.iter().enumerate() {
        for (place, _) in line.match_indices("crate::") {
            let after = &line[place + "crate::".len()..];
            if let Some(group) = after.strip_prefix('{') {
                let rest: String =
                    code[number + 1..].iter().fold(group.to_owned(), |all, next| all + "\n" + next);
                found.extend(group_heads(&rest).into_iter().map(|head| (number + 1, head)));
            } else {
                found.extend(words(after).next().map(|head| (number + 1, head.to_owned())));
            }
        }
    }
    found
}

/// The first identifier of each part of a `{...}` group whose opening brace is already gone.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut part) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut part)),
            _ if depth == 0 => part.push(c),
            _ => {}
        }
    }
    heads.push(part);
    heads.iter().filter_map(|part| words(part).next().map(str::to_owned)).collect()
}

fn layer(module: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// Fails with all that was found, or not at all.
fn none(problems: &str) {
    assert!(problems.is_empty(), "\n{problems}");
}

#[test]
fn imports_point_downward() {
    let mut problems = String::new();
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let module = source.module();
        let Some(own) = layer(module) else {
            writeln!(problems, "src/{}: `{module}` has no layer; give it one in LAYERS", source.path)
                .unwrap();
            continue;
        };
        for (line, name) in imports(&source.code) {
            // Only modules count; `crate::Error` re-exported at the root would be one more way around the layers.
            let allowed = layer(&name).is_some_and(|other| {
                name == module
                    || other < own
                    || (other == own && SAME_LAYER.contains(&(module, name.as_str())))
            });
            if !allowed {
                let place = &source.path;
                writeln!(problems, "src/{place}:{line}: {module} imports {name}, which is not below it")
                    .unwrap();
            }
        }
    }
    none(&problems);
}

#[test]
fn a_crate_has_one_home() {
    let mut problems = String::new();
    for source in &sources() {
        strangers(source, source.code.len(), CRATES, &mut problems);
    }
    none(&problems);
}

#[test]
fn a_call_has_one_home() {
    let mut problems = String::new();
    for source in &sources() {
        strangers(source, source.production_lines(), CALLS, &mut problems);
    }
    none(&problems);
}

/// Notes the words of `table` in the first `end` lines of a file that is not their home.
fn strangers(source: &Source, end: usize, table: &[(&str, &[&str])], problems: &mut String) {
    for (number, line) in source.code.iter().take(end).enumerate() {
        for (word, homes) in table.iter().filter(|(word, _)| words(line).any(|found| found == *word)) {
            if !homes.iter().any(|home| source.path.starts_with(home)) && !is_ours(line, word) {
                let (place, number) = (&source.path, number + 1);
                writeln!(problems, "src/{place}:{number}: `{word}` belongs to {homes:?}").unwrap();
            }
        }
    }
}

/// Our own functions bear the names of what they wrap: calling or importing them by module is how it is meant, and so
/// is declaring one (the operation that FUSE calls fsync is one of the namespace's).
fn is_ours(line: &str, word: &str) -> bool {
    let wrapped = ["sync_all", "sync_data", "fsync", "fdatasync"].contains(&word);
    let outside = ["libc::", "rustix::", ".sync_all()", ".sync_data()", "fs::fsync", "fs::fdatasync"];
    wrapped && !outside.iter().any(|call| line.contains(call))
}

#[test]
fn files_have_a_header_and_an_end() {
    let mut problems = String::new();
    for source in &sources() {
        let place = &source.path;
        if !source.lines.first().is_some_and(|line| line.starts_with("//! ")) {
            writeln!(
                problems,
                "src/{place}: begin with a `//!` header: the invariant, and the order of things"
            )
            .unwrap();
        }
        let bound = LONGER.iter().find(|(path, _)| path == place).map_or(LINES, |(_, bound)| *bound);
        if source.lines.len() > bound {
            writeln!(
                problems,
                "src/{place}: {} lines, {bound} are the bound; one idea a file",
                source.lines.len()
            )
            .unwrap();
        }
    }
    none(&problems);
}

#[test]
fn nothing_is_left_for_later_and_no_lint_is_off_without_a_reason() {
    let mut problems = String::new();
    for source in &sources() {
        for (number, line) in source.lines.iter().enumerate() {
            let (place, number) = (&source.path, number + 1);
            for word in NOWHERE.iter().filter(|word| words(line).any(|found| found == **word)) {
                writeln!(problems, "src/{place}:{number}: {word}; do it, or open an issue").unwrap();
            }
            let silences = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
            if silences.iter().any(|open| line.contains(open)) && !has_reason(source, number - 1) {
                writeln!(problems, "src/{place}:{number}: why is this lint off? add `reason = \"...\"`")
                    .unwrap();
            }
        }
    }
    none(&problems);
}

/// A reason inside the attribute (which may have several lines), or a comment on its line or the one above.
fn has_reason(source: &Source, at: usize) -> bool {
    let above = at.checked_sub(1).is_some_and(|line| source.lines[line].trim_start().starts_with("//"));
    let end = source.lines[at..].iter().position(|line| line.contains(")]")).map_or(at, |offset| at + offset);
    let attribute = &source.lines[at..=end];
    above || attribute.iter().any(|line| line.contains("reason =") || line.contains("// "))
}

#[test]
fn the_tables_name_what_there_is() {
    let found = sources();
    let names = |path: &&str| found.iter().any(|source| source.path.starts_with(*path));
    let gone: Vec<_> = LONGER.iter().map(|(path, _)| path).filter(|path| !names(path)).collect();
    assert!(gone.is_empty(), "{gone:?} are no longer there; take them out of LONGER");
    for (importer, imported) in SAME_LAYER {
        assert_eq!(layer(importer), layer(imported), "{importer} and {imported} are not in one layer");
    }
}

/// The promises of a page: each paragraph, table and list item below its first `##`, as its line and the tests that the
/// comment directly below names; none without such a comment. A comment below nothing comes with line 0.
fn promises(page: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    let mut open = None;
    for (at, line) in page.lines().enumerate().skip_while(|(_, line)| !line.starts_with("## ")) {
        let named = line.trim().strip_prefix("<!-- tests: ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(names) = named {
            found.push((open.take().unwrap_or(0), names.split(", ").collect()));
        } else if line.trim().is_empty() || line.starts_with('#') || line.starts_with("- ") {
            found.extend(open.take().map(|at| (at, Vec::new())));
            open = line.starts_with("- ").then_some(at + 1);
        } else {
            open = open.or(Some(at + 1));
        }
    }
    found.extend(open.map(|at| (at, Vec::new())));
    found
}

/// The names of all tests: functions under `#[test]` in Rust, `test_...` in Python.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut rust, mut python) = (Vec::new(), Vec::new());
    ["src", "tests"].iter().for_each(|folder| collect(&root.join(folder), "rs", &mut rust));
    collect(&root.join("tests"), "py", &mut python);
    let name = |line: &str, word: &str| {
        let (name, _) = line.trim().strip_prefix(word)?.split_once('(')?;
        Some(name.to_owned())
    };
    let mut names = BTreeSet::new();
    for path in &rust {
        let text = fs::read_to_string(path).unwrap();
        // Other attributes and comments may stand between.
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            let found = name(line, "fn ");
            names.extend(found.clone().filter(|_| marked));
            marked = line == "#[test]" || (marked && found.is_none() && line != "}");
        }
    }
    for path in &python {
        let text = fs::read_to_string(path).unwrap();
        names.extend(
            text.lines().filter_map(|line| name(line, "def ")).filter(|name| name.starts_with("test_")),
        );
    }
    names
}

#[test]
fn each_promise_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (page, tests) = (fs::read_to_string(root.join(PROMISES)).unwrap(), tests());
    let mut problems = String::new();
    for (line, names) in promises(&page) {
        let wrong = match names.len() {
            0 => "name its tests directly below: `<!-- tests: NAME, ... -->`".to_owned(),
            count if count > TESTS_OF_A_PROMISE => {
                format!("{count} tests; name the {TESTS_OF_A_PROMISE} that hold it")
            }
            _ if line == 0 => format!("{names:?} are below no paragraph, table or list item"),
            _ => {
                let is_there = |name: &str| match name.contains('/') {
                    true => root.join(name).is_file(),
                    false => tests.contains(name),
                };
                let gone: Vec<_> = names.into_iter().filter(|name| !is_there(name)).collect();
                if gone.is_empty() {
                    continue;
                }
                format!("no test is called {}", gone.join(", "))
            }
        };
        writeln!(problems, "{PROMISES}:{line}: {wrong}").unwrap();
    }
    none(&problems);
}

#[test]
fn the_reader_of_promises_sees_each_paragraph_table_and_item() {
    let page = "# P\nIntro.\n\n## A\nOne\nparagraph.\n<!-- tests: a, b/c.sh -->\n\nNone.\n\n| t |\n| - |\n<!-- tests: d -->\n\
                ## B\n- item\n  goes on\n  <!-- tests: e -->\n- item\n- item\n\n<!-- tests: f -->\n";
    let found = promises(page);
    let wanted: [(usize, &[&str]); 7] =
        [(5, &["a", "b/c.sh"]), (9, &[]), (11, &["d"]), (15, &["e"]), (18, &[]), (19, &[]), (0, &["f"])];
    assert_eq!(found, wanted.map(|(line, names)| (line, names.to_vec())));
    let names = tests();
    assert!(names.contains("the_reader_of_promises_sees_each_paragraph_table_and_item"));
    assert!(!names.contains("promises") && !names.contains("none"), "a helper is no test");
}

#[test]
fn the_reader_of_sources_sees_code_only() {
    let text = "let a = \"sled\"; // zstd\nlet b = r#\"x \" fuser\"#; /* clap\n */ use crate::pack::x; let c = '\"';";
    let code = code_of(text);
    assert_eq!(code.lines().count(), 3);
    let seen: Vec<_> = words(&code).collect();
    assert_eq!(seen, ["let", "a", "let", "b", "use", "crate", "pack", "x", "let", "c"]);
    let group = code_of("use crate::{\n    base::{A, B}, // c\n    pack};");
    let lines: Vec<String> = group.lines().map(str::to_owned).collect();
    let found: Vec<_> = imports(&lines).into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, ["base", "pack"]);
}
