//! Do integer instructions do what the PTX ISA says, at the edges too?

mod device;

use device::{check, eval, pairs};

const EDGES: [u64; 14] = [0, 1, 2, 3, 5, 15, 16, 31, 32, 33, 63, 64, 0xdead_beef_1234_5678, u64::MAX - 6];

/// Values of `bits` bits around the edges of the type.
fn values(bits: u32) -> Vec<u64> {
    let all = u64::MAX >> (64 - bits);
    let top = 1 << (bits - 1);
    EDGES.iter().map(|v| v & all).chain([all, top, top - 1, top + 1, 7 << (bits - 6)]).collect()
}

fn signed(v: u64, bits: u32) -> i128 {
    i128::from((v << (64 - bits)) as i64 >> (64 - bits))
}

/// What an instruction gives for both its operands as exact integers, cut to the width.
fn check_arithmetic(bits: u32) {
    let all = u128::from(u64::MAX >> (64 - bits));
    let rows = pairs(&values(bits));
    let nonzero: Vec<_> = rows.iter().copied().filter(|r| r[1] != 0).collect();
    type Exact = fn(i128, i128, i128) -> i128;
    let table: [(&str, Exact); 13] = [
        ("add", |a, b, _| a + b),
        ("sub", |a, b, _| a - b),
        ("mul.lo", |a, b, _| a.wrapping_mul(b)),
        ("mad.lo", |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        ("min", |a, b, _| a.min(b)),
        ("max", |a, b, _| a.max(b)),
        ("and", |a, b, _| a & b),
        ("or", |a, b, _| a | b),
        ("xor", |a, b, _| a ^ b),
        ("not", |a, _, _| !a),
        ("sad", |a, b, c| c + (a - b).abs()),
        ("div", |a, b, _| a / b),
        ("rem", |a, b, _| a % b),
    ];
    for (name, exact) in table {
        let bitwise = ["and", "or", "xor", "not"].contains(&name);
        let rows = if ["div", "rem"].contains(&name) { &nonzero } else { &rows };
        let operands = match name {
            "not" => "%a",
            "mad.lo" | "sad" => "%a, %b, %c",
            _ => "%a, %b",
        };
        for sign in ["u", "s"] {
            let ty = if bitwise { "b" } else { sign };
            let code = format!("{name}.{ty}{bits} %d, {operands};");
            check(bits, bits, &code, rows, |a, b, c| {
                let read = |v| if sign == "s" { signed(v, bits) } else { i128::from(v) };
                (exact(read(a), read(b), read(c)) as u128 & all) as u64
            });
        }
    }
    check(bits, bits, &format!("neg.s{bits} %d, %a;"), &rows, |a, _, _| (a.wrapping_neg()) & all as u64);
    check(bits, bits, &format!("abs.s{bits} %d, %a;"), &rows, |a, _, _| (signed(a, bits).unsigned_abs() & all) as u64);
    check(bits, bits, &format!("cnot.b{bits} %d, %a;"), &rows, |a, _, _| u64::from(a == 0));
    // Shifts past the width give zeros, or the sign.
    check(bits, bits, &format!("shl.b{bits} %d, %a, %y;"), &rows, |a, b, _| {
        let by = b as u32;
        if by >= bits { 0 } else { (u128::from(a) << by & all) as u64 }
    });
    check(bits, bits, &format!("shr.u{bits} %d, %a, %y;"), &rows, |a, b, _| {
        let by = b as u32;
        if by >= bits { 0 } else { a >> by }
    });
    check(bits, bits, &format!("shr.s{bits} %d, %a, %y;"), &rows, |a, b, _| {
        ((signed(a, bits) >> (b as u32).min(bits - 1)) as u128 & all) as u64
    });
}

#[test]
fn arithmetic_of_16_bits() {
    check_arithmetic(16);
    let rows = pairs(&values(16));
    check(16, 32, "mul.wide.s16 %d, %a, %b;", &rows, |a, b, _| (signed(a, 16) * signed(b, 16)) as u32 as u64);
    check(16, 32, "mul.wide.u16 %d, %a, %b;", &rows, |a, b, _| a * b);
    check(16, 16, "mul.hi.s16 %d, %a, %b;", &rows, |a, b, _| ((signed(a, 16) * signed(b, 16)) >> 16) as u16 as u64);
}

#[test]
fn arithmetic_of_32_bits() {
    check_arithmetic(32);
    let rows = pairs(&values(32));
    check(32, 32, "mul.hi.u32 %d, %a, %b;", &rows, |a, b, _| (a * b) >> 32);
    check(32, 32, "mul.hi.s32 %d, %a, %b;", &rows, |a, b, _| ((signed(a, 32) * signed(b, 32)) >> 32) as u32 as u64);
    check(32, 32, "mad.hi.u32 %d, %a, %b, %c;", &rows, |a, b, c| (((a * b) >> 32) + c) as u32 as u64);
    check(32, 64, "mul.wide.s32 %d, %a, %b;", &rows, |a, b, _| (signed(a, 32) * signed(b, 32)) as u64);
    check(32, 64, "mul.wide.u32 %d, %a, %b;", &rows, |a, b, _| a * b);
    check(32, 64, "mov.b64 %t64, 77;\nmad.wide.s32 %d, %a, %b, %t64;", &rows, |a, b, _| {
        (signed(a, 32) * signed(b, 32) + 77) as u64
    });
    let clamp = |v: i128| v.clamp(i32::MIN.into(), i32::MAX.into()) as u32 as u64;
    check(32, 32, "add.sat.s32 %d, %a, %b;", &rows, |a, b, _| clamp(signed(a, 32) + signed(b, 32)));
    check(32, 32, "sub.sat.s32 %d, %a, %b;", &rows, |a, b, _| clamp(signed(a, 32) - signed(b, 32)));
    check(32, 32, "mul24.lo.u32 %d, %a, %b;", &rows, |a, b, _| ((a & 0xff_ffff) * (b & 0xff_ffff)) as u32 as u64);
    check(32, 32, "mul24.lo.s32 %d, %a, %b;", &rows, |a, b, _| {
        (signed(a & 0xff_ffff, 24) * signed(b & 0xff_ffff, 24)) as u32 as u64
    });
}

#[test]
fn arithmetic_of_64_bits() {
    check_arithmetic(64);
    let rows = pairs(&values(64));
    check(64, 64, "mul.hi.u64 %d, %a, %b;", &rows, |a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64);
    check(64, 64, "mul.hi.s64 %d, %a, %b;", &rows, |a, b, _| ((signed(a, 64) * signed(b, 64)) >> 64) as u64);
}

#[test]
fn bits_and_fields() {
    for bits in [32u32, 64] {
        let rows = pairs(&values(bits));
        let bit = |v: u64, i: u32| v >> i & 1;
        check(bits, 32, &format!("popc.b{bits} %d, %a;"), &rows, |a, _, _| (0..bits).map(|i| bit(a, i)).sum());
        check(bits, 32, &format!("clz.b{bits} %d, %a;"), &rows, |a, _, _| {
            (0..bits).rev().take_while(|&i| bit(a, i) == 0).count() as u64
        });
        check(bits, bits, &format!("brev.b{bits} %d, %a;"), &rows, |a, _, _| {
            (0..bits).map(|i| bit(a, i) << (bits - 1 - i)).sum()
        });
        let highest = |a: u64, negative: u64| (0..bits).rev().find(|&i| bit(a, i) != negative).unwrap_or(u32::MAX);
        check(bits, 32, &format!("bfind.u{bits} %d, %a;"), &rows, |a, _, _| highest(a, 0).into());
        check(bits, 32, &format!("bfind.s{bits} %d, %a;"), &rows, |a, _, _| highest(a, bit(a, bits - 1)).into());
        check(bits, 32, &format!("bfind.shiftamt.u{bits} %d, %a;"), &rows, |a, _, _| {
            let p = highest(a, 0);
            if p == u32::MAX { p.into() } else { (bits - 1 - p).into() }
        });
        for sign in ["u", "s"] {
            // The loop of the PTX ISA, bit by bit.
            check(bits, bits, &format!("bfe.{sign}{bits} %d, %a, %y, %z;"), &rows, |a, b, c| {
                let (pos, len, msb) = (b as u32 & 0xff, c as u32 & 0xff, bits - 1);
                let fill = if sign == "u" || len == 0 { 0 } else { bit(a, (pos + len - 1).min(msb)) };
                (0..bits).map(|i| (if i < len && pos + i <= msb { bit(a, pos + i) } else { fill }) << i).sum()
            });
        }
        check(bits, bits, &format!("bfi.b{bits} %d, %a, %b, %y, %z;"), &rows, |a, b, c| {
            let (pos, len) = (b as u32 & 0xff, c as u32 & 0xff);
            (0..bits).map(|i| (if i >= pos && i < pos + len { bit(a, i - pos) } else { bit(b, i) }) << i).sum()
        });
    }
    let rows = pairs(&values(32));
    for table in [0xe8u64, 0x96, 0x2a, 0xff, 0x01] {
        check(32, 32, &format!("lop3.b32 %d, %a, %b, %c, {table};"), &rows, |a, b, c| {
            (0..32).map(|i| (table >> ((a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1)) & 1) << i).sum()
        });
    }
    for select in [0x3210u64, 0x7654, 0x0123, 0x5410, 0xfb80, 0x1111] {
        check(32, 32, &format!("prmt.b32 %d, %a, %b, {select};"), &rows, |a, b, _| {
            let bytes: Vec<u64> =
                (0..8).map(|i| (if i < 4 { a >> (8 * i) } else { b >> (8 * (i - 4)) }) & 0xff).collect();
            let one = |s: u64| {
                if s & 8 == 0 {
                    bytes[s as usize]
                } else if bytes[(s & 7) as usize] > 127 {
                    255
                } else {
                    0
                }
            };
            (0..4).map(|i| one(select >> (4 * i) & 15) << (8 * i)).sum()
        });
    }
    for (name, left, wrap) in
        [("l.wrap", true, true), ("l.clamp", true, false), ("r.wrap", false, true), ("r.clamp", false, false)]
    {
        check(32, 32, &format!("shf.{name}.b32 %d, %a, %b, %c;"), &rows, |a, b, c| {
            let n = if wrap { c as u32 & 31 } else { (c as u32).min(32) };
            let both = u128::from(b) << 32 | u128::from(a);
            (if left { (both << n) >> 32 } else { both >> n }) as u32 as u64
        });
    }
}

#[test]
fn carries_reach_the_next_word() {
    let rows = pairs(&values(32));
    // A 64-bit sum and difference from 32-bit halves: (b:a) with (a:c).
    let halves = "mov.b64 %d, {%x, %y};";
    let wide = |high: u64, low: u64| high << 32 | low;
    check(32, 64, &format!("add.cc.u32 %x, %a, %c;\naddc.u32 %y, %b, %a;\n{halves}"), &rows, |a, b, c| {
        wide(b, a).wrapping_add(wide(a, c))
    });
    check(32, 64, &format!("sub.cc.u32 %x, %a, %c;\nsubc.u32 %y, %b, %a;\n{halves}"), &rows, |a, b, c| {
        wide(b, a).wrapping_sub(wide(a, c))
    });
    // A full product plus a word.
    let product = format!("mad.lo.cc.u32 %x, %a, %b, %c;\nmadc.hi.u32 %y, %a, %b, 0;\n{halves}");
    check(32, 64, &product, &rows, |a, b, c| a * b + c);
}

#[test]
fn comparisons_and_selections() {
    for bits in [16u32, 32, 64] {
        let rows = pairs(&values(bits));
        type Compare = fn(i128, i128) -> bool;
        let table: [(&str, Compare); 6] = [
            ("eq", |a, b| a == b),
            ("ne", |a, b| a != b),
            ("lt", |a, b| a < b),
            ("le", |a, b| a <= b),
            ("gt", |a, b| a > b),
            ("ge", |a, b| a >= b),
        ];
        for (name, compare) in table {
            for sign in ["u", "s"] {
                let read = |v| if sign == "s" { signed(v, bits) } else { i128::from(v) };
                let code = format!("setp.{name}.{sign}{bits} %p, %a, %b;\nselp.u32 %d, 5, 9, %p;");
                check(bits, 32, &code, &rows, |a, b, _| if compare(read(a), read(b)) { 5 } else { 9 });
            }
        }
        for (name, value) in [("lo", 1), ("hs", 0)] {
            let code = format!("setp.{name}.u{bits} %p, %a, %b;\nselp.b{bits} %d, 1, 0, %p;");
            check(bits, bits, &code, &rows, |a, b, _| if a < b { value } else { 1 - value });
        }
    }
    let rows = pairs(&values(32));
    // p = (a < b) op !q and q' = !(a < b) op !q, with q = (a == c).
    for (name, f) in [("and", (|x, y| x & y) as fn(bool, bool) -> bool), ("or", |x, y| x | y), ("xor", |x, y| x ^ y)] {
        let code = format!(
            "setp.eq.u32 %q, %a, %c;\nsetp.lt.{name}.u32 %p|%last, %a, %b, !%q;\nselp.u32 %x, 1, 0, %p;\nselp.u32 %y, 2, 0, %last;\nor.b32 %d, %x, %y;"
        );
        check(32, 32, &code, &rows, |a, b, c| u64::from(f(a < b, a != c)) + 2 * u64::from(f(a >= b, a != c)));
        let code = format!(
            "setp.eq.u32 %q, %a, %c;\nsetp.lt.u32 %p, %a, %b;\n{name}.pred %p, %p, %q;\nnot.pred %q, %p;\nselp.u32 %d, 1, 0, %q;"
        );
        check(32, 32, &code, &rows, |a, b, c| u64::from(!f(a < b, a == c)));
    }
    check(32, 32, "slct.u32.s32 %d, %a, %b, %c;", &rows, |a, b, c| if (c as i32) < 0 { b } else { a });
}

#[test]
fn packs_and_guards() {
    let rows = pairs(&values(32));
    check(32, 64, "mov.b64 %d, {%a, %b};", &rows, |a, b, _| b << 32 | a);
    check(32, 32, "mov.b32 {%t16, %u16}, %a;\nmov.b32 %d, {%u16, %t16};", &rows, |a, _, _| {
        (a as u32).rotate_left(16).into()
    });
    check(64, 32, "mov.b64 {_, %d}, %a;", &pairs(&values(64)), |a, _, _| a >> 32);
    check(
        32,
        32,
        "mov.u32 %d, 7;\nsetp.gt.u32 %p, %a, %b;\n@%p mov.u32 %d, 8;\n@!%p add.u32 %d, %d, 2;",
        &rows,
        |a, b, _| {
            if a > b { 8 } else { 9 }
        },
    );
    assert_eq!(
        eval(32, 32, "{ .reg .b32 %x; mov.u32 %x, 3; }\nmov.b32 %d, %x;", &[[8, 0, 0]]),
        [8],
        "braces have names of their own"
    );
}
