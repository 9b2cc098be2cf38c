//! Are planted faults caught, and named?

mod device;

use device::{Arg, Device, fixture, numbers};
use dreamer_emulator::fault::{Fault, Kind};
use dreamer_emulator::machine::{self, Launch};
use dreamer_emulator::ptx::Module;

/// The fault's kind, after a check that its sentence has these words.
fn kind(result: Result<(), Fault>, words: &[&str]) -> Kind {
    let fault = result.expect_err("a planted fault went unnoticed");
    let text = fault.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    fault.kind
}

fn vector_add(gpu: &mut Device, out_bytes: usize, written: usize) -> Result<(), Fault> {
    let (da, out) = (gpu.floats(&numbers(1000, 1)), gpu.empty(out_bytes));
    let db = gpu.empty(4000);
    gpu.memory.write(db, &vec![0; written]).unwrap();
    let args = [Arg::Pointer(out), Arg::Pointer(da), Arg::Pointer(db), Arg::Int(1000)];
    gpu.launch(&fixture("vector_add"), "vector_add", [4, 1, 1], [256, 1, 1], 0, &args)
}

#[test]
fn one_element_short() {
    let words = [
        "vector_add, block (3, 0, 0), warp 7, lane 7, /vector_add.cu:4",
        "writes 4 bytes",
        "0 bytes past the end",
        "3996 bytes at",
    ];
    assert_eq!(kind(vector_add(&mut Device::new(), 3996, 4000), &words), Kind::OutOfBounds);
}

#[test]
fn one_byte_never_written() {
    let words = ["lane 7, /vector_add.cu:4", "reads 4 bytes at byte 3996", "nobody has written byte 3999"];
    assert_eq!(kind(vector_add(&mut Device::new(), 4000, 3999), &words), Kind::Unwritten);
}

#[test]
fn use_after_free() {
    let mut gpu = Device::new();
    let at = gpu.floats(&[1.0]);
    gpu.memory.free(at);
    let args = [Arg::Pointer(at), Arg::Pointer(at), Arg::Pointer(at), Arg::Int(1)];
    let result = gpu.launch(&fixture("vector_add"), "vector_add", [1, 1, 1], [32, 1, 1], 0, &args);
    assert_eq!(kind(result, &["was freed"]), Kind::OutOfBounds);
}

#[test]
fn a_missing_barrier() {
    let module = fixture("sgemm_tiled_no_barrier");
    let mut caught = 0;
    for order in 0..5 {
        let mut gpu = Device::new();
        gpu.order = order;
        let n = 32;
        let (a, b, c) = (gpu.floats(&numbers(n * n, 1)), gpu.floats(&numbers(n * n, 2)), gpu.empty(4 * n * n));
        let size = || Arg::Int(n as u32);
        let args = [Arg::Pointer(c), Arg::Pointer(a), Arg::Pointer(b), size(), size(), size()];
        let result = gpu.launch(&module, "sgemm_tiled", [2, 2, 1], [16, 16, 1], 0, &args);
        // A warp that runs first meets memory that is not even written.
        let found = kind(result, &["sgemm_tiled.cu:", "shared memory"]);
        assert!(matches!(found, Kind::Race | Kind::Unwritten), "{found:?}");
        caught += usize::from(found == Kind::Race);
    }
    assert!(caught > 0);
}

#[test]
fn a_missing_wait_for_a_copy() {
    let mut gpu = Device::new();
    let (a, b, c) = (gpu.bytes(&[0; 2 * 64 * 64]), gpu.bytes(&[0; 2 * 64 * 64]), gpu.empty(4 * 64 * 64));
    let size = || Arg::Int(64);
    let args = [Arg::Pointer(c), Arg::Pointer(a), Arg::Pointer(b), size(), size(), size()];
    let result = gpu.launch(&fixture("gemm_bf16_no_wait"), "gemm_bf16", [1, 1, 1], [128, 1, 1], 0, &args);
    assert_eq!(kind(result, &["cp.async", "not waited for", "gemm_bf16.cu:"]), Kind::AsyncCopy);
}

#[test]
fn a_barrier_in_divergent_code() {
    let mut gpu = Device::new();
    let out = gpu.empty(256);
    let result =
        gpu.launch(&fixture("divergent_barrier"), "divergent_barrier", [1, 1, 1], [64, 1, 1], 0, &[Arg::Pointer(out)]);
    assert_eq!(kind(result, &["divergent_barrier.cu:7", "lanes 0xffff0000 do not reach it"]), Kind::DivergentBarrier);
}

/// Runs a body of PTX with one pointer to 256 words of ones in %rd1, the thread in %r1 and 1024 bytes of shared memory, s.
fn run(order: u64, threads: u32, body: &str) -> Result<(), Fault> {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p)\n{{\n.reg .pred %p<9>;\n.reg .b32 %r<20>;\n\
         .reg .b64 %rd<9>;\n.shared .align 16 .b8 s[1024];\nld.param.u64 %rd1, [p];\nmov.u32 %r1, %tid.x;\nmov.u32 %r2, s;\n\
         shl.b32 %r3, %r1, 2;\nadd.u32 %r4, %r2, %r3;\n{body}\nret;\n}}\n"
    );
    let module = Module::parse(&text).unwrap();
    let mut gpu = Device::new();
    gpu.order = order;
    let at = gpu.words(&[1; 256]);
    gpu.launch(&module, "k", [1, 1, 1], [threads, 1, 1], 0, &[Arg::Pointer(at)])
}

#[test]
fn races_within_a_warp() {
    // Every lane reads what its neighbour wrote.
    let exchange = |between: &str| {
        format!(
            "st.shared.u32 [%r4], %r1;\n{between}\nxor.b32 %r5, %r3, 4;\nadd.u32 %r5, %r5, %r2;\nld.shared.u32 %r6, [%r5];"
        )
    };
    assert_eq!(kind(run(0, 32, &exchange("")), &["thread 1 wrote", "no barrier stands between"]), Kind::Race);
    run(0, 32, &exchange("bar.warp.sync 0xffffffff;")).unwrap();
    run(0, 32, &exchange("shfl.sync.bfly.b32 %r7, %r1, 1, 31, 0xffffffff;")).unwrap();
    // Two warps need a barrier of the block if they exchange with each other.
    let far = |between: &str| exchange(between).replace("%r3, 4", "%r3, 128");
    for order in 0..4 {
        let found = kind(run(order, 64, &far("bar.warp.sync 0xffffffff;")), &["shared memory"]);
        assert!(matches!(found, Kind::Race | Kind::Unwritten));
        run(order, 64, &far("bar.sync 0;")).unwrap();
    }
}

#[test]
fn races_between_warps() {
    // Both warps have written all of it and met; then each writes its words again and reads the other's.
    let body = |between: &str| {
        format!(
            "st.shared.u32 [%r4], 0;\nbar.sync 0;\nst.shared.u32 [%r4], %r1;\n{between}\nxor.b32 %r5, %r3, 128;\nadd.u32 %r5, %r5, %r2;\n\
             ld.shared.u32 %r6, [%r5];"
        )
    };
    for order in 0..4 {
        assert_eq!(kind(run(order, 64, &body("")), &["no barrier stands between"]), Kind::Race);
        assert_eq!(
            kind(run(order, 64, &body("bar.warp.sync 0xffffffff;")), &["no barrier stands between"]),
            Kind::Race
        );
        run(order, 64, &body("bar.sync 0;")).unwrap();
    }
}

#[test]
fn a_write_after_a_read() {
    // All lanes read word 0; then lane 5 writes it.
    let body = |between: &str| {
        format!(
            "setp.eq.u32 %p1, %r1, 5;\n@%p1 st.shared.u32 [s], 7;\nbar.warp.sync 0xffffffff;\nld.shared.u32 %r5, [s];\n{between}\n\
             @%p1 st.shared.u32 [s], 8;"
        )
    };
    assert_eq!(kind(run(0, 32, &body("")), &["writes 4 bytes at byte 0", "read byte 0"]), Kind::Race);
    run(0, 32, &body("bar.warp.sync 0xffffffff;")).unwrap();
}

#[test]
fn bytes_side_by_side_do_not_race() {
    run(0, 64, "add.u32 %r5, %r2, %r1;\nst.shared.u8 [%r5], 1;\nld.shared.u8 %r6, [%r5];").unwrap();
    // The same value from every thread is no race; two values are one.
    run(0, 64, "st.shared.u32 [s], 1;").unwrap();
    assert_eq!(kind(run(0, 64, "st.shared.u32 [s], %r1;"), &["thread 0 wrote"]), Kind::Race);
    // Atomics do not race with each other, but with plain reads.
    let start = "setp.eq.u32 %p1, %r1, 0;\n@%p1 st.shared.u32 [s], 0;\nbar.sync 0;\natom.shared.add.u32 %r5, [s], 1;";
    run(0, 64, start).unwrap();
    assert_eq!(kind(run(0, 64, &format!("{start}\nld.shared.u32 %r6, [s];")), &["reads 4 bytes"]), Kind::Race);
}

#[test]
fn addresses() {
    assert_eq!(kind(run(0, 32, "ld.global.u32 %r5, [%rd1+2];"), &["not aligned to 4"]), Kind::Misaligned);
    assert_eq!(kind(run(0, 32, "ld.shared.u32 %r5, [%r4];"), &["nobody has written byte 0"]), Kind::Unwritten);
    assert_eq!(kind(run(0, 32, "st.shared.u32 [s+1024], 0;"), &["1024 bytes of shared memory"]), Kind::OutOfBounds);
    assert_eq!(kind(run(0, 32, "st.shared.u32 [s+6], 0;"), &["not aligned"]), Kind::Misaligned);
    assert_eq!(
        kind(run(0, 32, "mov.b64 %rd2, 0;\nld.global.u32 %r5, [%rd2];"), &["before the nearest allocation"]),
        Kind::OutOfBounds
    );
    assert_eq!(
        kind(run(0, 32, "st.global.u32 [%rd1], 2;\nld.global.nc.u32 %r5, [%rd1];"), &["ld.global.nc"]),
        Kind::Race
    );
}

#[test]
fn barriers_that_never_end() {
    // One warp leaves before the barrier, at which the other waits.
    let body = "setp.ge.u32 %p1, %r1, 32;\n@%p1 ret;\nbar.sync 0;";
    for order in 0..4 {
        assert_eq!(kind(run(order, 64, body), &["warp 1 has exited without reaching it"]), Kind::DivergentBarrier);
    }
    // The warps wait at two different barriers in the text.
    let body = "setp.ge.u32 %p1, %r1, 32;\n@%p1 bra A;\nbar.sync 0;\nbra B;\nA:\nbar.sync 0;\nB:";
    assert_eq!(kind(run(0, 64, body), &["different barriers"]), Kind::DivergentBarrier);
    // A barrier for more warps than come.
    assert_eq!(kind(run(0, 64, "bar.sync 1, 96;"), &["warp 0 at barrier 1, warp 1 at barrier 1"]), Kind::Deadlock);
    run(0, 64, "bar.sync 1, 64;").unwrap();
    // A producer arrives, a consumer waits.
    run(3, 64, "setp.ge.u32 %p1, %r1, 32;\n@%p1 bra A;\nbar.sync 2, 64;\nbra B;\nA:\nbar.arrive 2, 64;\nB:").unwrap();
    let body = "setp.ge.u32 %p1, %r1, 8;\n@%p1 bra A;\nshfl.sync.idx.b32 %r5, %r1, 0, 31, 0xffffffff;\nA:";
    assert_eq!(kind(run(0, 32, body), &["member mask 0xffffffff in divergent code"]), Kind::DivergentBarrier);
}

#[test]
fn every_block_starts_afresh() {
    // Blocks leave a barrier half full, odd ones for three warps and even ones for two, and all but the last write shared
    // memory: none may see what an earlier one left.
    let body = "mov.u32 %r1, %ctaid.x;\nand.b32 %r2, %r1, 1;\nsetp.eq.u32 %p1, %r2, 0;\nselp.u32 %r2, 64, 96, %p1;\n\
                setp.lt.u32 %p2, %r0, 32;\n@%p2 bar.arrive 3, %r2;\nsetp.lt.u32 %p3, %r1, 8;\nmov.u32 %r3, 1;\n\
                @%p3 st.shared.u32 [s], %r3;\n@!%p3 ld.shared.u32 %r3, [s];";
    let mut gpu = Device::new();
    let result = gpu.launch(&device::kernel(16, body), "k", [9, 1, 1], [64, 1, 1], 0, &[Arg::Pointer(0)]);
    assert_eq!(kind(result, &["block (8, 0, 0)", "nobody has written byte 0"]), Kind::Unwritten);
}

#[test]
fn spinning_forever() {
    let body = "A:\nld.volatile.global.u32 %r5, [%rd1];\nsetp.eq.u32 %p1, %r5, 1;\n@%p1 bra A;";
    assert_eq!(kind(run(0, 32, body), &["nobody writes any more"]), Kind::Runaway);
    let mut gpu = Device::new();
    let launch = Launch { grid: [1; 3], block: [1; 3], params: vec![0; 8], budget: 5000, ..Default::default() };
    let result = machine::launch(&device::kernel(16, "A:\nbra A;"), "k", &launch, &mut gpu.memory, &mut gpu.counters);
    assert_eq!(kind(result, &["5000 warp instructions"]), Kind::Runaway);
    assert_eq!(kind(run(0, 32, "trap;"), &["trap", "PTX line 15"]), Kind::Trap);
}

#[test]
fn a_persistent_kernel_that_does_not_fit() {
    // 132 multiprocessors hold 8 blocks of 256 threads each.
    let blocks = 132 * 8 + 1;
    let mut gpu = Device::new();
    let (x, counter) = (gpu.floats(&vec![0.0; 2 * blocks]), gpu.words(&[0]));
    let args = [Arg::Pointer(x), Arg::Pointer(counter), Arg::Int(1)];
    let result = gpu.launch(&fixture("persistent"), "persistent", [blocks as u32, 1, 1], [256, 1, 1], 0, &args);
    assert_eq!(kind(result, &["1056 blocks are resident and 1 cannot start", "persistent.cu:"]), Kind::Runaway);
}

#[test]
fn impossible_launches() {
    let module = fixture("sgemm_tiled");
    let mut gpu = Device::new();
    let args = || [Arg::Pointer(0), Arg::Pointer(0), Arg::Pointer(0), Arg::Int(1), Arg::Int(1), Arg::Int(1)];
    for (name, grid, block, shared, args, words) in [
        ("nothing", [1, 1, 1], [1, 1, 1], 0, &args()[..], "no kernel nothing"),
        ("sgemm_tiled", [1, 1, 1], [512, 1, 1], 0, &args(), "512 threads, but 256 at most"),
        ("sgemm_tiled", [0, 1, 1], [1, 1, 1], 0, &args(), "has no thread"),
        ("sgemm_tiled", [1, 1, 1], [1, 1, 1], 300_000, &args(), "bytes of shared memory"),
        ("sgemm_tiled", [1, 1, 1], [1, 1, 1], 0, &args()[..3], "the parameters have 24 bytes, not 36"),
    ] {
        assert_eq!(kind(gpu.launch(&module, name, grid, block, shared, args), &[words]), Kind::Launch);
    }
}

#[test]
fn what_is_not_known_is_refused() {
    let parse = |line: &str| {
        let text = format!(
            ".version 8.0\n.visible .entry k()\n{{\n.reg .b16 %h<3>; .reg .b32 %r<3>;\n.reg .b64 %rd<3>;\n.reg .pred %p<2>;\n{line}\n}}\n"
        );
        Module::parse(&text).map(|_| ()).unwrap_err()
    };
    for (line, words) in [
        ("frobnicate.b32 %r1, %r2;", "line 7: frobnicate.b32: unknown instruction"),
        ("add.bogus.s32 %r1, %r1, %r2;", "unknown modifier .bogus"),
        ("add.sat.u32 %r1, %r1, %r2;", "unknown modifier .sat"),
        ("add.s32 %r1, %r1;", "3 operands are wanted, not 2"),
        ("add.s32 %r1, %r7, %r2;", "there is no register %r7"),
        ("add.s64 %rd1, %r1, %rd2;", "%r1 has the wrong width"),
        ("bra nowhere;", "there is no label nowhere"),
        ("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%r1}, {%r1}, {%r1}, {%r1};", "this shape is not supported"),
        ("cp.async.cg.shared.global [%r1], [%rd1], 8;", "8 bytes are not a size"),
        ("fence.proxy.async;", "unknown modifier .proxy"),
        ("cvt.f32.f64 %r1, %rd1;", "the rounding is missing"),
        ("ld.global.v4.u64 {%rd1, %rd1, %rd1, %rd1}, [%rd1];", "the number of elements is wrong"),
        ("call nothing, ();", "there is no function nothing"),
        ("cvt.rz.f64.s64 %rd1, %rd2;", "this conversion is not supported"),
        ("cvt.rn.bf16.u64 %h1, %rd2;", "this conversion is not supported"),
        ("add.ftz.f16x2 %r1, %r1, %r2;", "this function of this type and rounding is not supported"),
        ("div.rn.f16x2 %r1, %r1, %r2;", "this function of this type and rounding is not supported"),
        ("fma.rm.f64 %rd1, %rd1, %rd2, %rd2;", "this function of this type and rounding is not supported"),
        ("ex2.approx.f64 %rd1, %rd2;", "this function of this type and rounding is not supported"),
        ("slct.ftz.u32.f32 %r1, %r1, %r2, %r2;", "unknown modifier .ftz"),
    ] {
        let message = parse(line);
        assert!(message.contains(words), "{line}: {message}");
    }
}
