//! Do imports go down only? Reads every path in `src` that begins at the crate's root, and the length of every file.

use std::fs;
use std::path::{Path, PathBuf};

/// Every floor and the floors it may name: the table of `src/lib.rs` as a graph.
const FLOORS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("device", &["base"]),
    ("autodiff", &["base", "device"]),
    ("ops", &["base", "device", "autodiff"]),
    ("config", &["base"]),
    ("dreamer", &["base", "device", "autodiff", "ops", "config"]),
    ("env", &["base"]),
    ("replay", &["base"]),
    ("report", &["base"]),
    ("run", &["base", "device", "autodiff", "ops", "config", "dreamer", "env", "replay", "report"]),
    ("cli", &["base", "device", "autodiff", "ops", "config", "dreamer", "env", "replay", "report", "run"]),
    ("main", &["base", "cli"]),
];

/// Lines of a file above which it is a question, and above which it is a defect.
const LONG: usize = 400;
const TOO_LONG: usize = 600;

#[test]
fn imports_go_down_only() {
    let mut edges = 0;
    let mut faults = Vec::new();
    for (path, text) in sources() {
        for (line, target) in root_paths(&text) {
            edges += 1;
            if let Err(fault) = judge(floor_of(&path), &target) {
                faults.push(format!("src/{}:{line}: {fault}", path.display()));
            }
        }
    }
    assert!(edges > 0, "no path was found: the reader of this test is broken");
    assert!(faults.is_empty(), "imports go down only:\n{}", faults.join("\n"));
}

/// The table above and the modules of the crate are the same set.
#[test]
fn every_floor_stands_in_the_table() {
    let lib = code(&fs::read_to_string(source_root().join("lib.rs")).unwrap());
    let mut declared: Vec<&str> =
        lib.lines().filter_map(|l| l.trim().strip_prefix("pub mod ")).map(|m| m.trim_end_matches(';')).collect();
    let mut known: Vec<&str> = FLOORS.iter().map(|(name, _)| *name).filter(|name| *name != "main").collect();
    declared.sort_unstable();
    known.sort_unstable();
    assert_eq!(declared, known);
}

/// Everything else is built for machines that know no CUDA.
#[test]
fn only_the_cuda_module_names_cudarc() {
    let named = |text: &str| words(&code(text)).iter().any(|(_, word)| *word == "cudarc" || *word == "libloading");
    let naming: Vec<PathBuf> = sources().into_iter().filter(|(_, text)| named(text)).map(|(path, _)| path).collect();
    assert!(naming.len() > 5, "the reader of this test is broken: {naming:?}");
    assert!(naming.iter().all(|path| path.starts_with("device/cuda")), "{naming:?}");
}

#[test]
fn no_file_is_too_long() {
    let lengths = sources().into_iter().map(|(path, text)| (text.lines().count(), path));
    let (mut long, mut too_long) = (Vec::new(), Vec::new());
    for (lines, path) in lengths.filter(|(lines, _)| *lines > LONG) {
        let list = if lines > TOO_LONG { &mut too_long } else { &mut long };
        list.push(format!("src/{}: {lines} lines", path.display()));
    }
    if !long.is_empty() {
        println!("longer than {LONG} lines, worth a thought:\n{}", long.join("\n"));
    }
    assert!(too_long.is_empty(), "longer than {TOO_LONG} lines:\n{}", too_long.join("\n"));
}

/// The reader finds what it should, and only that.
#[test]
fn the_reader_finds_upward_edges() {
    let found = |text: &str| root_paths(text).into_iter().map(|(_, target)| target).collect::<Vec<_>>();
    assert_eq!(found("use crate::run::train;"), ["run"]);
    assert_eq!(found("use crate::{base::Error, env, run::{self, x}};"), ["base", "env", "run"]);
    assert_eq!(found("use crate::{\n    base::Error,\n    ops::{linear, gru_cell},\n};"), ["base", "ops"]);
    assert_eq!(found("fn f() -> crate::base::Result<()> { crate::cli::main() }"), ["base", "cli"]);
    assert_eq!(found("pub(crate) fn f() {}\npub(in crate::ops) fn g() {}"), ["ops"]);
    assert_eq!(found("use dreamer_fast::cli;"), ["cli"]);
    assert_eq!(found("use super::super::run::x;"), ["run"]);
    assert_eq!(found("use super::{tests::f, Canvas};\nlet x = super::base::y;"), ["base"]);
    assert_eq!(found("use crate::{device as d, ops as _};"), ["device", "ops"]);
    assert_eq!(found("use crate as root;"), ["(the whole crate)"]);
    assert_eq!(found("use crate::*;"), ["(the whole crate)"]);
    assert_eq!(found("//! see crate::run\nlet x = 1; // crate::cli\n/* crate::env */"), [""; 0]);
    assert_eq!(found("let s = \"// {x}\"; crate::run::x();"), ["run"]);
    assert_eq!(found("let s = \"crate::run\"; let c = '\"'; crate::env::x();"), ["env"]);
    assert_eq!(root_paths("\n\nuse crate::run::x;"), [(3, "run".to_string())]);

    assert!(judge("ops", "autodiff").is_ok() && judge("ops", "ops").is_ok() && judge("run", "config").is_ok());
    for (from, to) in [
        ("base", "device"),
        ("autodiff", "ops"),
        ("ops", "dreamer"),
        ("ops", "config"),
        ("dreamer", "env"),
        ("dreamer", "run"),
        ("env", "replay"),
        ("report", "config"),
        ("config", "env"),
        ("run", "cli"),
        ("base", "no_such_floor"),
    ] {
        assert!(judge(from, to).is_err(), "{from} may not name {to}");
    }
    assert_eq!(floor_of(Path::new("ops/linear.rs")), "ops");
    assert_eq!(floor_of(Path::new("config.rs")), "config");
}

fn judge(floor: &str, target: &str) -> Result<(), String> {
    let (_, allowed) = FLOORS.iter().find(|(name, _)| *name == floor).unwrap_or_else(|| panic!("no floor `{floor}`"));
    if target == floor || allowed.contains(&target) {
        Ok(())
    } else {
        Err(format!("`{floor}` names `{target}`, but may name only {allowed:?}"))
    }
}

/// The floor that a file under `src` belongs to.
fn floor_of(path: &Path) -> &str {
    let first = path.iter().next().and_then(|part| part.to_str()).expect("a path in UTF-8");
    first.trim_end_matches(".rs")
}

/// The floors named in a source file, with the line of each: what stands behind `crate::`, behind `dreamer_fast::` and, when
/// it is the name of a floor, behind `super::`.
fn root_paths(text: &str) -> Vec<(usize, String)> {
    let code = code(text);
    let mut found = Vec::new();
    for (start, word) in words(&code) {
        let rest = code[start + word.len()..].trim_start();
        let behind = rest.strip_prefix("::").map(str::trim_start);
        let line = code[..start].matches('\n').count() + 1;
        let targets = match (word, behind) {
            ("crate" | "dreamer_fast", Some(behind)) => heads(behind),
            // A floor may have a module of its own that bears the name of another floor, so `super::` counts only where it
            // names one. Crossing floors is written `crate::` anyway.
            ("super", Some(behind)) => {
                heads(behind).into_iter().filter(|h| FLOORS.iter().any(|(name, _)| name == h)).collect()
            }
            ("crate", None) if rest.starts_with("as ") => vec!["*".to_string()],
            _ => Vec::new(),
        };
        found.extend(
            targets.into_iter().map(|t| if t == "*" { "(the whole crate)".to_string() } else { t }).map(|t| (line, t)),
        );
    }
    found
}

/// The first names of a path: `a` of `a::b`, `a` and `c` of `{a::b, c}`, `*` of a glob.
fn heads(path: &str) -> Vec<String> {
    if path.starts_with('*') {
        return vec!["*".into()];
    }
    let Some(group) = path.strip_prefix('{') else {
        return words(path).first().map(|(_, word)| word.to_string()).into_iter().collect();
    };
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut item = String::new();
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(letter),
            _ => {}
        }
    }
    heads.push(item);
    let first = |item: &String| match item.trim() {
        "*" => Some("*".to_string()),
        item => words(item).first().map(|(_, word)| word.to_string()),
    };
    heads.iter().filter_map(first).collect()
}

/// Every identifier and where it begins.
fn words(code: &str) -> Vec<(usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut start = None;
    for (i, c) in code.char_indices().chain([(code.len(), ' ')]) {
        match (is_word(c), start) {
            (true, None) => start = Some(i),
            (false, Some(from)) => {
                words.push((from, &code[from..i]));
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// The text with comments and the insides of strings blanked out, line for line.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        // How much to blank, or to copy as it is.
        let (blank, len) = if rest.starts_with("//") {
            (true, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (true, block_comment(rest))
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            raw_string(rest).map_or((false, 1), |len| (true, len))
        } else if letter == '"' {
            (true, string(rest))
        } else if letter == '\'' {
            // A character, or else a lifetime, which is copied.
            let len = character(rest);
            (len > 1, len)
        } else {
            (false, letter.len_utf8())
        };
        match blank {
            true => out.extend(rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            false => out.push_str(&rest[..len]),
        }
        rest = &rest[len..];
    }
    out
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < text.len() {
        if text[i..].starts_with("/*") {
            depth += 1;
            i += 2;
        } else if text[i..].starts_with("*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += text[i..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return i + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// `None` for a raw identifier such as `r#type`.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|&c| c == '#').count();
    text[1 + hashes..].starts_with('"').then(|| {
        let end = format!("\"{}", "#".repeat(hashes));
        let from = 2 + hashes;
        text[from..].find(&end).map_or(text.len(), |i| from + i + end.len())
    })
}

fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(1, |i| 3 + i + 1),
        Some(_) => letters.next().filter(|(_, c)| *c == '\'').map_or(1, |(i, _)| i + 1),
        None => 1,
    }
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file under `src` except `lib.rs`, which names all floors: its path from there, and its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = source_root();
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_path_buf();
                if name != Path::new("lib.rs") {
                    files.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    files.sort();
    files
}
