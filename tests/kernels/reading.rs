//! What `docs/cuda.md` quotes in its reading of `kernels/gru_cell.cu`: PTX that NVRTC makes, and counts of the emulated driver.
//!
//! `cargo test --test kernels reading -- --nocapture` prints both.

use dreamer_fast::device::cuda::kernels::{Entry, GruCellBackward, GruCellForward, In, Out, SOURCES};
use dreamer_fast::device::cuda::{Buffer, Format, Target};
use dreamer_fast::run::profile::counters::{Counters, parse};

use crate::{Rig, compiler};

/// The release of NVRTC whose PTX the page quotes, which is the one that `make nvrtc` fetches.
const QUOTED: &str = "NVRTC 12.9 ";

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cuda.md")).unwrap()
}

/// A line with single spaces.
fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn reading_the_ptx_of_a_kernel() {
    let Some(compiler) = compiler() else { return };
    if !compiler.version().starts_with(QUOTED) {
        println!("skipped the PTX of docs/cuda.md: it quotes {QUOTED}, and this is {}", compiler.version());
        return;
    }
    let source = SOURCES.iter().find(|source| source.name == "kernels/gru_cell.cu").unwrap();
    let image = source.compile(&compiler, Target { sm: 90, format: Format::Ptx }, &[]).unwrap();
    let text = String::from_utf8(image.bytes).unwrap();
    let (_, kernel) = text.split_once(".visible .entry gru_cell_forward(").unwrap();
    let (kernel, _) = kernel.split_once("\n}").unwrap();
    println!("{kernel}");
    let page = page();
    let mut lines = kernel.lines().map(plain);
    let quoted: Vec<&str> =
        page.split("```ptx\n").skip(1).flat_map(|block| block.split("```").next().unwrap().lines()).collect();
    assert!(quoted.len() > 10, "the page quotes a kernel");
    for quoted in quoted.into_iter().map(plain) {
        assert!(lines.any(|line| line == quoted), "`{quoted}` does not come next in the kernel");
    }
}

#[test]
fn reading_the_counts_of_a_kernel() {
    let Some(rig) = Rig::new() else { return };
    let (rows, d) = (50, 200);
    let buffer = |width: usize| Buffer::<f32>::zeroed(rig.stream(), rows * width).unwrap();
    let [xp, hp, gates, dxp, dhp] = [(); 5].map(|()| buffer(3 * d));
    let [h, h_next, dh, dh_next] = [(); 4].map(|()| buffer(d));
    let (read, write) = (|b: &Buffer<f32>| In::at(b.address()), |b: &Buffer<f32>| Out::at(b.address()));
    rig.stream().synchronize().unwrap();
    let emulator = rig.context.emulator().unwrap();
    emulator.reset();
    let forward = GruCellForward {
        h_next: write(&h_next),
        gates: write(&gates),
        xp: read(&xp),
        hp: read(&hp),
        h: read(&h),
        rows,
        d,
    };
    forward.threads(&rig.kernels, rows * d).unwrap();
    let (dxp, dhp, dh) = (write(&dxp), write(&dhp), write(&dh));
    let (dh_next, gates, hp, h) = (read(&dh_next), read(&gates), read(&hp), read(&h));
    GruCellBackward { dxp, dhp, dh, dh_next, gates, hp, h, rows, d }.threads(&rig.kernels, rows * d).unwrap();
    rig.stream().synchronize().unwrap();
    let counts = parse(&emulator.counters()).unwrap();
    let [forward, backward] = ["gru_cell_forward", "gru_cell_backward"].map(|name| counts[name]);
    let whole = |name: &str, of: fn(&Counters) -> f64| format!("| {name} | {} | {} |", of(&forward), of(&backward));
    let ratio =
        |name: &str, of: fn(&Counters) -> f64| format!("| {name} | {:.2} | {:.2} |", of(&forward), of(&backward));
    let page = page();
    let lines = [
        whole("launches", |c| c.launches),
        whole("blocks", |c| c.blocks),
        whole("warp instructions", |c| c.warp_instructions),
        whole("lane instructions", |c| c.lane_instructions),
        whole("bytes asked for", |c| c.global_load_bytes + c.global_store_bytes),
        whole("distinct bytes", Counters::distinct_bytes),
        whole("bytes moved", Counters::moved_bytes),
        whole("requests", |c| c.global_requests),
        ratio("sectors a request", |c| c.global_sectors / c.global_requests),
        ratio("sectors over the fewest possible", |c| c.global_sectors / c.ideal_sectors),
        whole("shared accesses", |c| c.shared_accesses),
        whole("divergent branches", |c| c.divergent_branches),
    ];
    lines.iter().for_each(|line| println!("{line}"));
    for line in lines {
        assert!(page.contains(&line), "docs/cuda.md does not say: {line}");
    }
}
