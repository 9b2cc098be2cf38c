//! Does every kernel compile, and to what? Does the build script say what is wrong with a kernel's declaration?

use std::collections::BTreeSet;
use std::path::Path;

use dreamer_fast::device::cuda::kernels::{NAMES, SOURCES, Source};
use dreamer_fast::device::cuda::product::{TILES, Tile, options};
use dreamer_fast::device::cuda::{Format, Precision, Target};

use crate::compiler;

// The build script has tests of its own, which run here.
#[path = "../../build.rs"]
#[allow(dead_code)]
mod build;

/// Registers of a thread: two blocks of 256 threads fit a multiprocessor, so that one multiplies while the other waits.
const MOST_REGISTERS: u32 = 128;

/// Shared memory of a block without products.
const MOST_SHARED: u32 = 16 * 1024;

/// Shared memory of a block with products: three pieces of two operands of 128 x 16 numbers, all that a kernel may have without asking.
const MOST_SHARED_BY_PRODUCTS: u32 = 48 * 1024;

/// NVRTC has nothing to say about any kernel, on both architectures, in every tile and precision, and no register is spilled.
#[test]
fn every_kernel_compiles_without_a_warning() {
    let Some(compiler) = compiler() else { return };
    let mut seen = BTreeSet::new();
    for source in SOURCES {
        let most_shared = if source.product { MOST_SHARED_BY_PRODUCTS } else { MOST_SHARED };
        for (sm, (tile, precision)) in [80, 90].into_iter().flat_map(|sm| variants(source).map(move |v| (sm, v))) {
            let compile = |format, more: &[&str]| {
                let options = options(tile, precision);
                let all: Vec<&str> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
                let image = source.compile(&compiler, Target { sm, format }, &all);
                image.unwrap_or_else(|error| panic!("{error}"))
            };
            assert_eq!(compile(Format::Ptx, &[]).log, "", "{} for sm_{sm}", source.name);
            let log = compile(Format::Cubin, &["--ptxas-options=-v"]).log;
            for (name, resources) in resources(&log) {
                let Tile { rows, columns } = tile;
                println!("sm_{sm} {rows:3} x {columns:3} {precision:4} {name:36} {resources:?}");
                let Resources { registers, shared, spilled } = resources;
                let fits = registers <= MOST_REGISTERS && shared <= most_shared && spilled == 0;
                assert!(fits, "{name} for sm_{sm}, {tile:?}, {precision}: {resources:?}");
                seen.insert(name);
            }
            assert!(!log.contains("warning"), "{log}");
        }
    }
    let all: BTreeSet<String> = NAMES.iter().map(|&(_, name)| name.to_string()).collect();
    assert_eq!(seen, all, "ptxas does not tell the resources of every kernel");
}

/// The tiles and precisions that a source is compiled for.
fn variants(source: &Source) -> impl Iterator<Item = (Tile, Precision)> + use<> {
    let all = TILES.into_iter().flat_map(|tile| Precision::ALL.map(|precision| (tile, precision)));
    all.take(if source.product { TILES.len() * Precision::ALL.len() } else { 1 })
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
