//! Do loads, stores, atomics and asynchronous copies move the right bytes, and are they counted?

mod device;

use device::{Arg, Device, kernel, my_word, run_block};
use dreamer_emulator::fault::Kind;

#[test]
fn widths_and_signs() {
    let run = |body: &str| run_block(1, 64, &[0x8182_8384, 0x0506_0708, 0, 0], body).0;
    let load =
        |ty: &str, register: &str| run(&format!("ld.global.{ty} {register}, [%rd0];\nst.global.u32 [%rd0+8], %r1;"))[2];
    assert_eq!(load("u8", "%r1"), 0x84);
    assert_eq!(load("s8", "%r1"), 0xffff_ff84);
    assert_eq!(load("u16", "%r1"), 0x8384);
    assert_eq!(load("s16", "%r1"), 0xffff_8384);
    assert_eq!(load("b32", "%r1"), 0x8182_8384);
    assert_eq!(run("ld.global.s32 %rd1, [%rd0];\nst.global.u64 [%rd0+8], %rd1;")[2..], [0x8182_8384, 0xffff_ffff]);
    assert_eq!(run("ld.global.s8 %h1, [%rd0+1];\nst.global.u16 [%rd0+8], %h1;")[2], 0xff83);
    assert_eq!(
        run("ld.global.v2.u16 {%h1, %h2}, [%rd0];\nst.global.v4.u8 [%rd0+8], {%h1, %h2, %h1, %h2};")[2],
        0x8284_8284
    );
    assert_eq!(
        run("ld.global.v2.u32 {%r1, %r2}, [%rd0];\nst.global.v2.u32 [%rd0+8], {%r2, %r1};")[2..],
        [0x0506_0708, 0x8182_8384]
    );
    assert_eq!(run("st.global.u8 [%rd0+9], 7;")[2], 0x0700);
}

#[test]
fn generic_addresses() {
    // One pointer into shared and one into device memory, by the same instruction.
    let body = "mov.u64 %rd2, s;\ncvta.shared.u64 %rd2, %rd2;\nsetp.eq.u32 %p1, %r0, 0;\nselp.b64 %rd3, %rd2, %rd0, %p1;\nadd.s32 %r1, %r0, 5;\n\
                st.u32 [%rd3], %r1;\nbar.warp.sync 3;\nld.u32 %r2, [%rd3];\nisspacep.shared %p2, %rd3;\nselp.u32 %r3, 100, 0, %p2;\n\
                add.u32 %r2, %r2, %r3;\nmul.wide.u32 %rd4, %r0, 4;\nadd.s64 %rd4, %rd4, %rd0;\nst.global.u32 [%rd4+4], %r2;\n\
                cvta.to.shared.u64 %rd5, %rd2;\ncvt.u32.u64 %r4, %rd5;\nsetp.eq.u32 %p3, %r0, 1;\n@%p3 bra E;\nld.shared.u32 %r5, [%r4];\n\
                st.global.u32 [%rd0+12], %r5;\nE:";
    assert_eq!(run_block(2, 64, &[0; 4], body).0, [6, 105, 6, 5]);
}

#[test]
fn atomics() {
    let run = |op: &str| run_block(64, 16, &[10, 0], &format!("add.u32 %r1, %r0, 1;\n{op}")).0[0];
    assert_eq!(run("red.global.add.u32 [%rd0], %r1;"), 10 + 64 * 65 / 2);
    assert_eq!(run("atom.global.max.s32 %r2, [%rd0], %r1;"), 64);
    assert_eq!(run("atom.relaxed.gpu.global.min.u32 %r2, [%rd0], %r1;"), 1);
    assert_eq!(run("atom.global.inc.u32 %r2, [%rd0], 20;"), (10 + 64) % 21);
    assert_eq!(run("atom.add.u32 %r2, [%rd0], 2;"), 138);
    // The values returned are each thread's own.
    let body = format!("{}atom.global.add.u32 %r2, [%rd0+256], 1;\nst.global.u32 [%rd1], %r2;", my_word(4));
    let mut words = vec![0; 65];
    words[64] = 7;
    let mut got = run_block(64, 16, &words, &body).0;
    got.sort_unstable();
    assert_eq!(got, (7..72).collect::<Vec<_>>());
    let cas = "atom.global.cas.b32 %r2, [%rd0], 10, %r1;";
    assert_eq!(run(cas), 1, "the first thread alone finds 10");
    let shared = "mov.u32 %r3, 0;\nsetp.eq.u32 %p1, %r0, 0;\n@%p1 st.shared.u32 [s], 3;\nbar.sync 0;\natom.shared.add.u32 %r2, [s], %r1;\nbar.sync 0;\n\
                  ld.shared.u32 %r2, [s];\n@%p1 st.global.u32 [%rd0], %r2;";
    assert_eq!(run(shared), 3 + 64 * 65 / 2);
}

/// Copies of every thread's 16 bytes into shared memory, with `middle` between the issue and the use.
fn copies(middle: &str) -> Result<Vec<u32>, Kind> {
    let body = format!(
        "{}mov.u32 %r1, s;\nmad.lo.u32 %r2, %r0, 16, %r1;\nsetp.lt.u32 %p1, %r0, 4;\nselp.u32 %r3, 16, 6, %p1;\n\
         cp.async.cg.shared.global [%r2], [%rd1], 16, %r3;\n{middle}\nld.shared.v4.u32 {{%r10, %r11, %r12, %r13}}, [%r2];\n\
         st.global.v4.u32 [%rd1], {{%r10, %r11, %r12, %r13}};",
        my_word(16)
    );
    let mut gpu = Device::new();
    let at = gpu.words(&(1..=32).map(|i| i * 0x0001_0001).collect::<Vec<_>>());
    let result = gpu.launch(&kernel(256, &body), "k", [1, 1, 1], [8, 1, 1], 0, &[Arg::Pointer(at)]);
    result.map(|()| gpu.read_words(at, 32)).map_err(|f| f.kind)
}

#[test]
fn asynchronous_copies() {
    let want: Vec<u32> = (1..=32u32)
        .map(|i| match (i - 1) / 4 < 4 {
            true => i * 0x0001_0001,
            // Six bytes, then zeros.
            false => [i * 0x0001_0001, i, 0, 0][(i as usize - 1) % 4],
        })
        .collect();
    let other = "cp.async.ca.shared.global [%r2+128], [%rd1], 4;\n";
    for middle in [
        "cp.async.wait_all;".to_string(),
        "cp.async.commit_group;\ncp.async.wait_group 0;".to_string(),
        // A younger group may stay under way.
        format!("cp.async.commit_group;\n{other}cp.async.commit_group;\ncp.async.wait_group 1;"),
    ] {
        assert_eq!(copies(&middle), Ok(want.clone()), "{middle}");
    }
    for middle in [
        "".to_string(),
        "cp.async.commit_group;".to_string(),
        "cp.async.commit_group;\ncp.async.wait_group 1;".to_string(),
        // Not committed: the group is not among those waited for.
        "cp.async.wait_group 0;".to_string(),
        "bar.sync 0;".to_string(),
    ] {
        assert_eq!(copies(&middle), Err(Kind::AsyncCopy), "{middle}");
    }
    // The copying thread's wait does not make the bytes visible to others.
    let neighbour = "cp.async.wait_all;\nxor.b32 %r2, %r2, 16;";
    assert_eq!(copies(neighbour), Err(Kind::Race));
    assert!(copies(&format!("cp.async.wait_all;\nbar.sync 0;\n{}", &neighbour[19..])).is_ok());
    assert_eq!(copies("st.shared.u32 [%r2], 0;"), Err(Kind::AsyncCopy));
}

#[test]
fn sectors() {
    // 32 lanes with a stride of `stride` words.
    let count = |stride: u32| {
        let body =
            format!("mul.wide.u32 %rd1, %r0, {};\nadd.s64 %rd1, %rd0, %rd1;\nld.global.u32 %r1, [%rd1];", 4 * stride);
        let c = run_block(32, 16, &vec![1; 1024], &body).1;
        (c.global_requests, c.global_sectors, c.ideal_sectors, c.global_load_bytes, c.minimal_read_bytes)
    };
    assert_eq!(count(1), (1, 4, 4, 128, 128));
    assert_eq!(count(2), (1, 8, 4, 128, 128));
    assert_eq!(count(8), (1, 32, 4, 128, 128));
    assert_eq!(count(0), (1, 1, 1, 128, 4));
    // What a launch wrote itself need not come from DRAM; what it reads twice comes once.
    let body = format!(
        "{}ld.global.u32 %r1, [%rd1];\nld.global.u32 %r2, [%rd1];\nst.global.u32 [%rd1+128], %r1;\nld.global.u32 %r3, [%rd1+128];",
        my_word(4)
    );
    let c = run_block(32, 16, &[1; 64], &body).1;
    assert_eq!((c.global_load_bytes, c.minimal_read_bytes, c.minimal_written_bytes), (384, 128, 128));
}

#[test]
fn shared_passes() {
    let count = |stride: u32| {
        let body = format!(
            "mov.u32 %r1, s;\nmad.lo.u32 %r2, %r0, {}, %r1;\nst.shared.u32 [%r2], %r0;\nld.shared.u32 %r3, [%r2];",
            4 * stride
        );
        let c = run_block(32, 4096, &[0], &body).1;
        (c.shared_accesses, c.bank_conflicts)
    };
    assert_eq!(count(1), (2, 0));
    assert_eq!(count(2), (2, 2));
    assert_eq!(count(32), (2, 62));
    assert_eq!(count(31), (2, 0));
    // An asynchronous copy writes shared memory, too: 16 bytes of 8 lanes to rows of 16, 64 and 128 bytes.
    let copied = |pitch: u32| {
        let body = format!(
            "mov.u32 %r1, s;\nmad.lo.u32 %r2, %r0, {pitch}, %r1;\ncp.async.cg.shared.global [%r2], [%rd0], 16;\ncp.async.wait_all;"
        );
        let c = run_block(8, 4096, &[0; 4], &body).1;
        (c.shared_accesses, c.bank_conflicts)
    };
    assert_eq!([copied(16), copied(64), copied(128)], [(1, 0), (1, 3), (1, 7)]);
}

#[test]
fn parameters_by_value() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u32 a, .param .align 8 .b8 s[24], .param .u64 out, .param .u8 b)\n{\n\
                .reg .b32 %r<9>;\n.reg .b64 %rd<9>;\nld.param.u32 %r1, [a];\nld.param.u32 %r2, [s+20];\nld.param.u64 %rd1, [out];\n\
                ld.param.u8 %r3, [b];\nmad.lo.u32 %r1, %r1, %r2, %r3;\nst.global.u32 [%rd1], %r1;\nret;\n}\n";
    let module = dreamer_emulator::ptx::Module::parse(text).unwrap();
    let k = module.kernel("k").unwrap();
    let layout: Vec<_> = k.params.iter().map(|p| (p.offset, p.size)).collect();
    assert_eq!((layout, k.param_bytes), (vec![(0, 4), (8, 24), (32, 8), (40, 1)], 41));
    let mut gpu = Device::new();
    let out = gpu.empty(4);
    let mut params = vec![0; 41];
    params[0] = 6;
    params[28] = 7;
    params[32..40].copy_from_slice(&out.to_le_bytes());
    params[40] = 200;
    let launch = dreamer_emulator::machine::Launch { grid: [1; 3], block: [1; 3], params, ..Default::default() };
    dreamer_emulator::machine::launch(&module, "k", &launch, &mut gpu.memory, &mut gpu.counters).unwrap();
    assert_eq!(gpu.read_words(out, 1), [242]);
}
