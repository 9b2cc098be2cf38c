//! Do tensor-core products and ldmatrix place elements as the PTX ISA's fragment tables say?

mod device;

use device::run_block;

/// (row, column) of element `i` that lane `lane` holds of A, for m16n8k16 of 16-bit elements.
fn a16(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
    (row, thread * 2 + (i & 1) + if i >= 4 { 8 } else { 0 })
}

/// (row, column) of element `i` of B for m16n8k16.
fn b16(lane: usize, i: usize) -> (usize, usize) {
    (lane % 4 * 2 + (i & 1) + if i >= 2 { 8 } else { 0 }, lane >> 2)
}

/// (row, column) of element `i` of C and D.
fn c16(lane: usize, i: usize) -> (usize, usize) {
    (if i < 2 { lane >> 2 } else { (lane >> 2) + 8 }, lane % 4 * 2 + (i & 1))
}

/// TF32: one element per register.
fn a_tf32(lane: usize, i: usize) -> (usize, usize) {
    (if i.is_multiple_of(2) { lane >> 2 } else { (lane >> 2) + 8 }, lane % 4 + if i >= 2 { 4 } else { 0 })
}

fn b_tf32(lane: usize, i: usize) -> (usize, usize) {
    (lane % 4 + 4 * i, lane >> 2)
}

/// Small integers: exact in every format, and so are their sums.
fn a(row: usize, column: usize) -> f32 {
    ((row * 7 + column * 3) % 11) as f32 - 5.0
}

fn b(row: usize, column: usize) -> f32 {
    ((row * 5 + column * 13) % 9) as f32 - 4.0
}

fn c(row: usize, column: usize) -> f32 {
    (row * 8 + column) as f32 * 0.25
}

fn bf16(x: f32) -> u32 {
    x.to_bits() >> 16
}

/// f16 of a small integer or a quarter of one.
fn f16(x: f32) -> u32 {
    if x == 0.0 {
        return 0;
    }
    let b = x.to_bits();
    (b >> 16 & 0x8000) | ((b >> 23 & 0xff) - 112) << 10 | (b >> 13 & 0x3ff)
}

type Place = fn(usize, usize) -> (usize, usize);

/// Runs one product; every lane's registers are 16 words: A, B, C.
fn product(name: &str, k: usize, pairs: Option<fn(f32) -> u32>, place_a: Place, place_b: Place) {
    let per = if pairs.is_some() { 2 } else { 1 };
    let (na, nb) = (16 * k / 32 / per, 8 * k / 32 / per);
    let register = |value: &dyn Fn(usize) -> f32, r: usize| match pairs {
        Some(encode) => encode(value(2 * r)) | encode(value(2 * r + 1)) << 16,
        None => value(r).to_bits(),
    };
    let mut words = vec![0; 32 * 16];
    for lane in 0..32 {
        let value_a = |i: usize| a(place_a(lane, i).0, place_a(lane, i).1);
        let value_b = |i: usize| b(place_b(lane, i).0, place_b(lane, i).1);
        for r in 0..na {
            words[lane * 16 + r] = register(&value_a, r);
        }
        for r in 0..nb {
            words[lane * 16 + 4 + r] = register(&value_b, r);
        }
        for r in 0..4 {
            words[lane * 16 + 8 + r] = c(c16(lane, r).0, c16(lane, r).1).to_bits();
        }
    }
    let out = multiply(name, (na, nb), &words);
    for lane in 0..32 {
        for i in 0..4 {
            let (row, column) = c16(lane, i);
            let want = c(row, column) + (0..k).map(|j| a(row, j) * b(j, column)).sum::<f32>();
            assert_eq!(f32::from_bits(out[lane * 16 + 12 + i]), want, "{name}: lane {lane}, element {i}");
        }
    }
}

/// One `mma` with so many registers of A and B a lane. A lane has 16 words: 4 for A, 4 for B, 4 for C, and 4 that become D.
fn multiply(name: &str, (na, nb): (usize, usize), words: &[u32]) -> Vec<u32> {
    let list = |prefix: &str, from: usize, n: usize| {
        (from..from + n).map(|i| format!("%{prefix}{i}")).collect::<Vec<_>>().join(", ")
    };
    let body = format!(
        "mul.wide.u32 %rd1, %r0, 64;\nadd.s64 %rd1, %rd0, %rd1;\nld.global.v4.b32 {{{}}}, [%rd1];\nld.global.v2.b32 {{{}}}, [%rd1+16];\n\
         ld.global.v4.f32 {{{}}}, [%rd1+32];\nmma.sync.aligned.{name} {{{}}}, {{{}}}, {{{}}}, {{{}}};\nst.global.v4.f32 [%rd1+48], {{{}}};",
        list("r", 10, 4),
        list("r", 20, 2),
        list("f", 0, 4),
        list("f", 10, 4),
        list("r", 10, na),
        list("r", 20, nb),
        list("f", 0, 4),
        list("f", 10, 4),
    );
    let (out, counters) = run_block(32, 16, words, &body);
    assert_eq!(counters.mma, 1);
    out
}

#[test]
fn products() {
    product("m16n8k16.row.col.f32.bf16.bf16.f32", 16, Some(bf16), a16, b16);
    product("m16n8k16.row.col.f32.f16.f16.f32", 16, Some(f16), a16, b16);
    product("m16n8k8.row.col.f32.bf16.bf16.f32", 8, Some(bf16), a16, b16);
    product("m16n8k8.row.col.f32.tf32.tf32.f32", 8, None, a_tf32, b_tf32);
    product("m16n8k4.row.col.f32.tf32.tf32.f32", 4, None, a_tf32, b_tf32);
}

/// One number of A, 2, and one of B, 7, with lane and register read off the tables by hand: the one product is where the table of C has it.
#[test]
fn single_elements_by_hand() {
    const TWO: u32 = 0x4000;
    const SEVEN: u32 = 0x40e0;
    let bf16 = "m16n8k16.row.col.f32.bf16.bf16.f32";
    let tf32 = "m16n8k8.row.col.f32.tf32.tf32.f32";
    // Lane, register and bits of the number of A, of that of B; lane and register of the product.
    for (what, name, registers, (in_a, a, x), (in_b, b, y), (in_c, c)) in [
        ("A(3, 5) B(5, 6)", bf16, (4, 2), (14, 0, TWO << 16), (26, 0, SEVEN << 16), (15, 0)),
        ("A(12, 4) B(4, 3)", bf16, (4, 2), (18, 1, TWO), (14, 0, SEVEN), (17, 3)),
        ("A(2, 11) B(11, 1)", bf16, (4, 2), (9, 2, TWO << 16), (5, 1, SEVEN << 16), (8, 1)),
        ("A(15, 14) B(14, 7)", bf16, (4, 2), (31, 3, TWO), (31, 1, SEVEN), (31, 3)),
        ("A(3, 1) B(1, 6)", tf32, (4, 2), (13, 0, TWO << 16), (25, 0, SEVEN << 16), (15, 0)),
        ("A(12, 2) B(2, 3)", tf32, (4, 2), (18, 1, TWO << 16), (14, 0, SEVEN << 16), (17, 3)),
        ("A(2, 7) B(7, 1)", tf32, (4, 2), (11, 2, TWO << 16), (7, 1, SEVEN << 16), (8, 1)),
        ("A(15, 6) B(6, 7)", tf32, (4, 2), (30, 3, TWO << 16), (30, 1, SEVEN << 16), (31, 3)),
    ] {
        let mut words = vec![0; 32 * 16];
        words[16 * in_a + a] = x;
        words[16 * in_b + 4 + b] = y;
        let out = multiply(name, registers, &words);
        let found: Vec<_> = (0..32 * 16).filter(|i| i % 16 >= 12 && out[*i] != 0).collect();
        assert_eq!(found, [16 * in_c + 12 + c], "{what}");
        assert_eq!(f32::from_bits(out[found[0]]), 14.0, "{what}");
    }
}

#[test]
fn matrices_from_shared_memory() {
    // Four 8 x 8 matrices of 16-bit elements; element (row, column) of matrix m is 1000 m + 10 row + column.
    let words: Vec<u32> = (0..128)
        .map(|w| {
            let (m, row, column) = (w / 32, w / 4 % 8, w % 4 * 2);
            let value = 1000 * m + 10 * row + column;
            value | (value + 1) << 16
        })
        .collect();
    for (count, trans) in [(1u32, false), (2, false), (4, false), (1, true), (2, true), (4, true)] {
        let registers = (0..count).map(|i| format!("%r{}", 10 + i)).collect::<Vec<_>>().join(", ");
        let suffix = if trans { ".trans" } else { "" };
        let mut body = format!(
            "mul.wide.u32 %rd1, %r0, 16;\nadd.s64 %rd1, %rd0, %rd1;\nld.global.v4.b32 {{%r1, %r2, %r3, %r4}}, [%rd1];\nmov.u32 %r5, s;\n\
             mad.lo.u32 %r6, %r0, 16, %r5;\nst.shared.v4.b32 [%r6], {{%r1, %r2, %r3, %r4}};\nbar.sync 0;\n\
             ldmatrix.sync.aligned.m8n8.x{count}{suffix}.shared.b16 {{{registers}}}, [%r6];\n"
        );
        for i in 0..count {
            body += &format!("st.global.b32 [%rd1+{}], %r{};\n", 4 * i, 10 + i);
        }
        let (out, counters) = run_block(32, 512, &words, &body);
        assert_eq!(counters.bank_conflicts, 0);
        for lane in 0..32u32 {
            for m in 0..count {
                let element = |i: u32| {
                    let (row, column) = (lane / 4, lane % 4 * 2 + i);
                    let (row, column) = if trans { (column, row) } else { (row, column) };
                    1000 * m + 10 * row + column
                };
                assert_eq!(
                    out[(lane * 4 + m) as usize],
                    element(0) | element(1) << 16,
                    "x{count}{suffix}: lane {lane}, matrix {m}"
                );
            }
        }
    }
}
