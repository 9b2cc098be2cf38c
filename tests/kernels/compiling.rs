//! Does every kernel compile, and to what? Does the build script say what is wrong with a kernel's declaration?

use std::collections::BTreeSet;
use std::path::Path;

use dreamer_fast::device::cuda::kernels::{NAMES, SOURCES};
use dreamer_fast::device::cuda::{Format, Target};

use crate::compiler;

// The build script has tests of its own, which run here.
#[path = "../../build.rs"]
#[allow(dead_code)]
mod build;

/// NVRTC has nothing to say about any kernel, on both architectures, and no register is spilled.
#[test]
fn every_kernel_compiles_without_a_warning() {
    let Some(compiler) = compiler() else { return };
    let mut seen = BTreeSet::new();
    for source in SOURCES {
        for sm in [80, 90] {
            let compile = |format, options: &[&str]| {
                let image = source.compile(&compiler, Target { sm, format }, options);
                image.unwrap_or_else(|error| panic!("{error}"))
            };
            assert_eq!(compile(Format::Ptx, &[]).log, "", "{} for sm_{sm}", source.name);
            let log = compile(Format::Cubin, &["--ptxas-options=-v"]).log;
            for (name, resources) in resources(&log) {
                println!("sm_{sm} {name:36} {resources:?}");
                let Resources { registers, shared, spilled } = resources;
                assert!(registers <= 128 && shared <= 16 * 1024 && spilled == 0, "{name} for sm_{sm}: {resources:?}");
                seen.insert(name);
            }
            assert!(!log.contains("warning"), "{log}");
        }
    }
    let all: BTreeSet<String> = NAMES.iter().map(|&(_, name)| name.to_string()).collect();
    assert_eq!(seen, all, "ptxas does not tell the resources of every kernel");
}

/// Every equation of a room is computed by its kernels, too: the tags of `src/ops/x.rs` stand in `kernels/x.cu`.
#[test]
fn every_kernel_faces_a_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for source in
        SOURCES.iter().filter(|source| !["kernels/observation.cu", "kernels/rollout.cu"].contains(&source.name))
    {
        let op = source.name.trim_start_matches("kernels/").trim_end_matches(".cu");
        let room = std::fs::read_to_string(root.join(format!("src/ops/{op}.rs"))).unwrap();
        let kernel = std::fs::read_to_string(root.join(source.name)).unwrap();
        let (room, kernel) = (tags(&room), tags(&kernel));
        assert!(!room.is_empty() && room.is_subset(&kernel), "{op}: {:?} have no kernel", room.difference(&kernel));
    }
}

/// The tags such as `(G1)` in a text.
fn tags(text: &str) -> BTreeSet<&str> {
    let is_tag = |word: &&str| {
        word.len() >= 2
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word[1..].bytes().all(|c| c.is_ascii_digit())
    };
    text.split('(').filter_map(|part| part.split_once(')').map(|(word, _)| word)).filter(is_tag).collect()
}

#[derive(Debug, Default, Clone, Copy)]
struct Resources {
    registers: u32,
    shared: u32,
    /// Bytes of stores and loads.
    spilled: u32,
}

/// What `ptxas -v` says of each kernel.
fn resources(log: &str) -> Vec<(String, Resources)> {
    let number = |line: &str, before: &str| -> u32 {
        let words = line.split(before).next().unwrap();
        words
            .split(|c: char| !c.is_ascii_digit())
            .rfind(|word| !word.is_empty())
            .map_or(0, |word| word.parse().unwrap())
    };
    let mut found: Vec<(String, Resources)> = Vec::new();
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            found.push((rest.split('\'').next().unwrap().to_string(), Resources::default()));
        } else if let Some((_, last)) = found.last_mut() {
            if line.contains("bytes spill stores") {
                last.spilled = number(line, " bytes spill stores") + number(line, " bytes spill loads");
            }
            if line.contains("registers") {
                last.registers = number(line, " registers");
                last.shared = if line.contains("bytes smem") { number(line, " bytes smem") } else { 0 };
            }
        }
    }
    found
}
