//! Do the lanes of a warp talk to each other, part and meet as they should?

mod device;

use device::{my_word, run_block};

/// Runs one warp; lane i starts with `start(i)` in %r1 and leaves %r2.
fn warp(start: impl Fn(u32) -> u32, body: &str) -> Vec<u32> {
    let words: Vec<u32> = (0..32).map(start).collect();
    let code = format!("{}ld.global.u32 %r1, [%rd1];\n{body}\nst.global.u32 [%rd1], %r2;", my_word(4));
    run_block(32, 16, &words, &code).0
}

#[test]
fn shuffles() {
    let value = |i: u32| 100 + i;
    let with_flag = |how: &str, b: u32, c: u32| {
        warp(
            value,
            &format!(
                "shfl.sync.{how}.b32 %r3|%p1, %r1, {b}, {c}, 0xffffffff;\nselp.u32 %r4, 1000, 0, %p1;\nadd.u32 %r2, %r3, %r4;"
            ),
        )
    };
    // Whole warp, then segments of 8 lanes (the mask 24 in bits 8 to 12).
    for width in [32u32, 8] {
        let segment = (32 - width) << 8;
        for by in [0, 1, 5, 9] {
            let flag = |ok: bool| if ok { 1000 } else { 0 };
            let same = |i: u32, j: u32| i / width == j / width;
            let want = |f: &dyn Fn(u32) -> (u32, bool)| {
                (0..32).map(f).map(|(from, ok)| 100 + from + flag(ok)).collect::<Vec<_>>()
            };
            let got = with_flag("up", by, segment);
            assert_eq!(
                got,
                want(&|i| if i >= by && same(i, i - by) { (i - by, true) } else { (i, false) }),
                "up {by} of {width}"
            );
            let got = with_flag("down", by, segment | 31);
            assert_eq!(
                got,
                want(&|i| if i + by < 32 && same(i, i + by) { (i + by, true) } else { (i, false) }),
                "down {by} of {width}"
            );
            let got = with_flag("bfly", by, segment | 31);
            // Within a segment, or from a lower one: `j <= maxLane` is all that is asked.
            assert_eq!(
                got,
                want(&|i| if (i ^ by) <= (i / width * width + width - 1) { (i ^ by, true) } else { (i, false) }),
                "bfly {by}"
            );
            let got = with_flag("idx", by, segment | 31);
            assert_eq!(got, want(&|i| (i / width * width + by % width, true)), "idx {by} of {width}");
        }
    }
    assert_eq!(
        warp(value, "xor.b32 %r3, %r0, 31;\nshfl.sync.idx.b32 %r2, %r1, %r3, 31, 0xffffffff;"),
        (0..32).map(|i| 131 - i).collect::<Vec<_>>()
    );
}

#[test]
fn votes_matches_and_reductions() {
    let value = |i: u32| i * i % 7;
    let yes: u32 = (0..32).filter(|&i| value(i) > 2).map(|i| 1 << i).sum();
    let test = "setp.gt.u32 %p1, %r1, 2;\n";
    assert_eq!(warp(value, &format!("{test}vote.sync.ballot.b32 %r2, %p1, 0xffffffff;")), [yes; 32]);
    for (how, want) in [("any", 1), ("all", 0), ("uni", 0)] {
        let got = warp(value, &format!("{test}vote.sync.{how}.pred %p2, %p1, 0xffffffff;\nselp.u32 %r2, 1, 0, %p2;"));
        assert_eq!(got, [want; 32], "{how}");
    }
    assert_eq!(
        warp(value, "setp.lt.u32 %p1, %r1, 7;\nvote.sync.all.pred %p2, %p1, -1;\nselp.u32 %r2, 1, 0, %p2;"),
        [1; 32]
    );
    let peers = |i: u32| (0..32).filter(|&j| value(j) == value(i)).map(|j| 1 << j).sum::<u32>();
    assert_eq!(warp(value, "match.any.sync.b32 %r2, %r1, 0xffffffff;"), (0..32).map(peers).collect::<Vec<_>>());
    let all = "match.all.sync.b32 %r3|%p1, %r1, 0xffffffff;\nselp.u32 %r4, 1, 0, %p1;\nadd.u32 %r2, %r3, %r4;";
    assert_eq!(warp(value, all), [0; 32]);
    assert_eq!(warp(|_| 9, all), [0; 32], "all ones plus one wraps to zero");
    let value = |i: u32| i.wrapping_mul(0x9e37_79b9) ^ 0x55;
    for (how, fold) in [
        ("add.s32", (|a: u32, b: u32| a.wrapping_add(b)) as fn(u32, u32) -> u32),
        ("min.u32", |a, b| a.min(b)),
        ("max.s32", |a, b| (a as i32).max(b as i32) as u32),
        ("and.b32", |a, b| a & b),
        ("or.b32", |a, b| a | b),
        ("xor.b32", |a, b| a ^ b),
    ] {
        let got = warp(value, &format!("redux.sync.{how} %r2, %r1, 0xffffffff;"));
        assert_eq!(got, [(0..32).map(value).reduce(fold).unwrap(); 32], "{how}");
    }
    // Halves of the warp by themselves.
    let halves =
        "setp.lt.u32 %p1, %r0, 16;\nselp.u32 %r5, 0x0000ffff, 0xffff0000, %p1;\nredux.sync.add.u32 %r2, %r0, %r5;";
    assert_eq!(warp(|_| 0, halves), (0..32).map(|i| if i < 16 { 120 } else { 376 }).collect::<Vec<_>>());
}

#[test]
fn special_registers() {
    assert_eq!(warp(|_| 0, "mov.u32 %r2, %laneid;"), (0..32).collect::<Vec<_>>());
    assert_eq!(warp(|_| 0, "mov.u32 %r2, %lanemask_lt;"), (0..32).map(|i| (1u64 << i) as u32 - 1).collect::<Vec<_>>());
    assert_eq!(warp(|_| 0, "mov.u32 %r2, %lanemask_ge;"), (0..32).map(|i| u32::MAX << i).collect::<Vec<_>>());
    // Threads of three dimensions, x first.
    let code = "mov.u32 %r1, %tid.x;\nmov.u32 %r2, %tid.y;\nmov.u32 %r3, %tid.z;\nmov.u32 %r4, %ntid.x;\nmov.u32 %r5, %ntid.y;\n\
                mad.lo.u32 %r6, %r3, %r5, %r2;\nmad.lo.u32 %r6, %r6, %r4, %r1;\nmul.wide.u32 %rd1, %r6, 4;\nadd.s64 %rd1, %rd0, %rd1;\n\
                mad.lo.u32 %r7, %r3, 100, %r2;\nmad.lo.u32 %r7, %r7, 100, %r1;\nmov.u32 %r8, %warpid;\nmad.lo.u32 %r7, %r8, 1000000, %r7;\n\
                st.global.u32 [%rd1], %r7;";
    let mut gpu = device::Device::new();
    let at = gpu.words(&[0; 40]);
    gpu.launch(&device::kernel(16, code), "k", [1, 1, 1], [4, 5, 2], 0, &[device::Arg::Pointer(at)]).unwrap();
    let want: Vec<u32> = (0..40).map(|t| t / 20 * 10_000 + t / 4 % 5 * 100 + t % 4 + t / 32 * 1_000_000).collect();
    assert_eq!(gpu.read_words(at, 40), want);
}

#[test]
fn lanes_part_and_meet() {
    // Collatz steps: a loop from which lanes leave at different times, with a branch inside.
    let body = "mov.u32 %r2, 0;\nmov.u32 %r3, %r1;\nLOOP:\nsetp.le.u32 %p1, %r3, 1;\n@%p1 bra DONE;\nand.b32 %r4, %r3, 1;\n\
                setp.eq.u32 %p2, %r4, 0;\n@%p2 bra EVEN;\nmad.lo.u32 %r3, %r3, 3, 1;\nbra NEXT;\nEVEN:\nshr.u32 %r3, %r3, 1;\nNEXT:\n\
                add.u32 %r2, %r2, 1;\nbra LOOP;\nDONE:\nactivemask.b32 %r5;\nsetp.ne.u32 %p3, %r5, 0xffffffff;\n@%p3 trap;";
    let steps = |mut n: u32| {
        let mut k = 0;
        while n > 1 {
            n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
            k += 1;
        }
        k
    };
    assert_eq!(warp(|i| i + 1, body), (0..32).map(|i| steps(i + 1)).collect::<Vec<_>>());
    // Lanes that exit early do not hold up the others, which still meet.
    let body = "mov.u32 %r2, 5;\nsetp.lt.u32 %p1, %r0, 10;\n@%p1 bra OUT;\nsetp.lt.u32 %p2, %r0, 20;\n@%p2 bra A;\nmov.u32 %r2, 7;\nbra B;\nA:\n\
                mov.u32 %r2, 6;\nB:\nactivemask.b32 %r3;\nsetp.ne.u32 %p3, %r3, 0xfffffc00;\n@%p3 trap;\nbra END;\nOUT:\nexit;\nEND:";
    let want: Vec<u32> = (0..32)
        .map(|i| {
            if i < 10 {
                99
            } else if i < 20 {
                6
            } else {
                7
            }
        })
        .collect();
    assert_eq!(warp(|_| 99, body), want);
    // Labels in braces are names of their own, as inlined assembly needs.
    let twice =
        "{ .reg .b32 n; mov.u32 n, 3; L: add.u32 %r2, %r2, 1; sub.u32 n, n, 1; setp.ne.u32 %p1, n, 0; @%p1 bra L; }";
    assert_eq!(warp(|_| 0, &format!("mov.u32 %r2, 0;\n{twice}\n{twice}")), [6; 32]);
    // A jump table.
    let body = "and.b32 %r3, %r0, 3;\nT: .branchtargets A, B, C, A;\nbrx.idx %r3, T;\nA:\nmov.u32 %r2, 10;\nbra D;\nB:\nmov.u32 %r2, 11;\nbra D;\n\
                C:\nmov.u32 %r2, 12;\nD:\nactivemask.b32 %r5;\nsetp.ne.u32 %p3, %r5, 0xffffffff;\n@%p3 trap;";
    assert_eq!(warp(|_| 0, body), (0..32).map(|i| [10, 11, 12, 10][i % 4]).collect::<Vec<_>>());
}

#[test]
fn divergence_is_counted() {
    let count = |body: &str| run_block(32, 16, &[0], body).1.divergent_branches;
    assert_eq!(count("setp.lt.u32 %p1, %r0, 40;\n@%p1 bra A;\nA:"), 0);
    assert_eq!(count("setp.lt.u32 %p1, %r0, 4;\n@%p1 bra A;\nmov.u32 %r1, 1;\nA:"), 1);
}

#[test]
fn reductions_over_a_block() {
    let code = format!(
        "{}setp.lt.u32 %p1, %r0, 40;\nbarrier.cta.red.popc.aligned.u32 %r1, 0, %p1;\nbarrier.cta.red.or.aligned.pred %p2, 0, %p1;\n\
         barrier.cta.red.and.aligned.pred %p3, 0, %p1;\nselp.u32 %r2, 100, 0, %p2;\nselp.u32 %r3, 1000, 0, %p3;\nadd.u32 %r1, %r1, %r2;\n\
         add.u32 %r1, %r1, %r3;\nst.global.u32 [%rd1], %r1;",
        my_word(4)
    );
    let (got, counters) = run_block(64, 16, &[0; 64], &code);
    assert_eq!(got, [140; 64]);
    assert_eq!(counters.barriers, 6);
}
