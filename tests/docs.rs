//! Are the pages true? Every path, function and tag that they name exists, every tag of an op stands in docs/math.md,
//! and every command that they show is accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use dreamer_fast::cli::{Cli, Command};

/// The pages that a reader is sent to.
const PAGES: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "docs/math.md",
    "docs/architecture.md",
    "docs/cuda.md",
    "docs/performance.md",
    "docs/diagnose.md",
    "docs/anatomy.md",
    "docs/trials.md",
    "docs/study/README.md",
];

/// Folders whose files the pages name by path.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "scripts/", "benches/", "emulator/", "kernels/", ".ci/"];

/// Paths that only a run, or a later release, makes.
const NOT_HERE: &[&str] = &["docs/dream.gif"];

/// The folder of a study's runs, which are not committed.
const RUNS: &str = "/runs/";

#[test]
fn every_path_and_function_on_a_page_exists() {
    let mut faults = Vec::new();
    let mut paths = 0;
    for page in PAGES {
        for (line, text) in read(page).lines().enumerate() {
            for named in names(text).into_iter().filter_map(Name::path) {
                paths += 1;
                if let Err(fault) = named.check() {
                    faults.push(format!("{page}:{}: {fault}", line + 1));
                }
            }
        }
    }
    assert!(paths > 100, "{paths} paths on all pages: the reader of this test is broken");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_tag_on_the_math_page_stands_in_its_file() {
    let (tags, mut faults) = tags_of_the_page();
    assert!(tags.len() > 15, "{} files with tags: the reader of this test is broken", tags.len());
    for (path, tags) in tags {
        let known = tags_in(&read(&path));
        faults.extend(tags.difference(&known).map(|tag| format!("{path} has no {tag}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_tag_of_an_op_or_of_the_model_stands_on_the_math_page() {
    let (on_page, _) = tags_of_the_page();
    let mut missing = Vec::new();
    for folder in ["src/ops", "src/dreamer"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            let named = on_page.get(&path).cloned().unwrap_or_default();
            missing.extend(tags_in(&read(&path)).difference(&named).map(|tag| format!("{path} {tag}")));
        }
    }
    assert!(missing.is_empty(), "docs/math.md lacks {missing:#?}");
}

/// A tag that is only announced at the top of a file leads a reader to no line.
#[test]
fn a_tag_stands_behind_the_line_that_computes_it() {
    let mut bare = Vec::new();
    for (path, tags) in tags_of_the_page().0 {
        let text = read(&path);
        let below: String =
            text.lines().filter(|line| !line.starts_with("//!")).map(|line| format!("{line}\n")).collect();
        bare.extend(tags.difference(&tags_in(&below)).map(|tag| format!("{path} {tag}")));
    }
    // Computed by a function of another file, so the line is there.
    let elsewhere = ["src/ops/noise.rs (X1)", "src/ops/noise.rs (X2)", "src/ops/twohot.rs (H1)"];
    bare.retain(|tag| !elsewhere.contains(&tag.as_str()));
    assert!(bare.is_empty(), "only in the header: {bare:#?}");
}

#[test]
fn every_command_on_a_page_is_accepted() {
    let mut commands = 0;
    for page in PAGES {
        for line in read(page).lines() {
            let words = line.trim().strip_prefix("cargo run --release -- ").map(|rest| format!("dreamer-fast {rest}"));
            let Some(words) = words.or_else(|| line.strip_prefix("dreamer-fast ").map(|_| line.to_string())) else {
                continue;
            };
            commands += 1;
            let words = words.split(" #").next().unwrap().split_whitespace();
            let parsed = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{page}: {line}: {error}"));
            match parsed.command {
                Command::Train(args) => {
                    drop(args.settings.resolve().unwrap_or_else(|error| panic!("{page}: {line}: {error}")))
                }
                Command::Bench(args) => args.check().unwrap_or_else(|error| panic!("{page}: {line}: {error}")),
                Command::Profile(args) => {
                    drop(args.settings().unwrap_or_else(|error| panic!("{page}: {line}: {error}")))
                }
                Command::Explain(args) => {
                    drop(args.settings.resolve().unwrap_or_else(|error| panic!("{page}: {line}: {error}")))
                }
                _ => {}
            }
        }
    }
    assert!(commands > 5, "{commands} commands on all pages: the reader of this test is broken");
}

#[test]
fn the_reader_finds_what_a_page_names() {
    let found = |text: &str| names(text).iter().map(|n| format!("{n:?}")).collect::<Vec<_>>();
    assert_eq!(found("`src/ops/a.rs` (R1) (R12), see (2) and (Rx)"), ["src/ops/a.rs", "(R1)", "(R12)"]);
    assert_eq!(found("[a](src/a.rs::f) and docs/x.md."), ["src/a.rs::f", "docs/x.md"]);
    assert_eq!(found("`src/ops/{name}.rs`, ../src/a.rs, my_src/a.rs"), [""; 0]);
    assert_eq!(found("src/ops/ and `tests/replay/main.rs`"), ["src/ops/", "tests/replay/main.rs"]);
    assert!(names("src/lib.rs").into_iter().filter_map(Name::path).all(|p| p.check().is_ok()));
    for wrong in ["src/no_such.rs", "src/lib.rs::no_such_function", "docs/"] {
        let ok = names(wrong).into_iter().filter_map(Name::path).all(|p| p.check().is_ok());
        assert_eq!(ok, wrong == "docs/", "{wrong}");
    }
}

/// A path, with the function behind `::` if there is one.
#[derive(Clone)]
struct Named {
    path: String,
    function: Option<String>,
}

impl Named {
    fn check(&self) -> Result<(), String> {
        if NOT_HERE.contains(&self.path.as_str()) || self.path.contains(RUNS) {
            return Ok(());
        }
        if !root().join(&self.path).exists() {
            return Err(format!("there is no {}", self.path));
        }
        match &self.function {
            Some(function) if !declares(&read(&self.path), function) => {
                Err(format!("{} has no function {function}", self.path))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a source file has a function of this name.
fn declares(text: &str, function: &str) -> bool {
    text.split("fn ")
        .skip(1)
        .any(|rest| rest.strip_prefix(function).is_some_and(|behind| behind.starts_with(['(', '<'])))
}

/// What a page names.
enum Name {
    Path(Named),
    Tag(String),
}

impl Name {
    fn path(self) -> Option<Named> {
        match self {
            Name::Path(named) => Some(named),
            Name::Tag(_) => None,
        }
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Tag(tag) => f.write_str(tag),
            Name::Path(Named { path, function: None }) => f.write_str(path),
            Name::Path(Named { path, function: Some(function) }) => write!(f, "{path}::{function}"),
        }
    }
}

/// The paths and tags of a line, in order. A path with a placeholder (`src/ops/{name}.rs`) names no file.
fn names(line: &str) -> Vec<Name> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let outside = !line[..at].ends_with(|c: char| c.is_alphanumeric() || "/_.-}".contains(c));
        if let Some(tag) = tag_at(rest) {
            at += tag.len();
            found.push(Name::Tag(tag.to_string()));
        } else if outside && FOLDERS.iter().any(|folder| rest.starts_with(folder)) {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "/_.-:{}".contains(c))).unwrap_or(rest.len());
            let text = rest[..end].trim_end_matches(['.', ':']);
            let (path, function) = text.split_once("::").map_or((text, None), |(path, f)| (path, Some(f.to_string())));
            if !text.contains('{') {
                found.push(Name::Path(Named { path: path.to_string(), function }));
            }
            at += end;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    found
}

/// `(R1)` at the beginning of a text.
fn tag_at(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?;
    let end = inner.find(')')?;
    let (letter, digits) = inner[..end].split_at_checked(1)?;
    let fits = letter.chars().all(|c| c.is_ascii_uppercase())
        && !digits.is_empty()
        && digits.chars().all(|c| c.is_ascii_digit());
    fits.then(|| &text[..end + 2])
}

/// All tags of a text.
fn tags_in(text: &str) -> BTreeSet<String> {
    text.match_indices('(').filter_map(|(at, _)| tag_at(&text[at..])).map(str::to_string).collect()
}

/// The tags that docs/math.md names, by file: a tag belongs to the last path before it in the same paragraph or row of a
/// table. Also the tags that follow no path.
fn tags_of_the_page() -> (BTreeMap<String, BTreeSet<String>>, Vec<String>) {
    let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut homeless = Vec::new();
    let mut path: Option<String> = None;
    let mut code = false;
    for line in read("docs/math.md").lines() {
        code ^= line.starts_with("```");
        if code {
            continue;
        }
        if line.is_empty() || line.starts_with(['|', '-', '#']) {
            path = None;
        }
        for name in names(line) {
            match (name, &path) {
                (Name::Path(named), _) => path = Some(named.path).filter(|path| path.ends_with(".rs")),
                (Name::Tag(tag), Some(path)) => drop(tags.entry(path.clone()).or_default().insert(tag)),
                // The introduction shows what a tag looks like.
                (Name::Tag(tag), None) if tag == "(R1)" => {}
                (Name::Tag(tag), None) => homeless.push(format!("{tag} follows no path: {line}")),
            }
        }
    }
    (tags, homeless)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}
