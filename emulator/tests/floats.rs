//! Are floating-point instructions rounded, flushed and compared as the PTX ISA says?

mod device;

use device::{check, eval, numbers, pairs};

fn bits(x: f32) -> u64 {
    x.to_bits().into()
}

fn f(v: u64) -> f32 {
    f32::from_bits(v as u32)
}

const TINY: f32 = 1e-40;
const NAN: u64 = 0x7fff_ffff;

/// Ordinary numbers of a few magnitudes.
fn ordinary() -> Vec<[u64; 3]> {
    let x = numbers(3000, 11);
    (0..1000).map(|i| [0, 1, 2].map(|k| bits(x[3 * i + k] * [1.0, 0.01, 100.0][(i + k) % 3]))).collect()
}

fn special() -> Vec<[u64; 3]> {
    let list = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        TINY,
        -TINY,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        3e38,
    ];
    pairs(&list.map(bits))
}

/// The canonical NaN in place of any NaN.
fn canonical(x: f32) -> u64 {
    if x.is_nan() { NAN } else { bits(x) }
}

#[test]
fn nearest() {
    for rows in [ordinary(), special()] {
        check(32, 32, "add.rn.f32 %d, %a, %b;", &rows, |a, b, _| canonical(f(a) + f(b)));
        check(32, 32, "sub.f32 %d, %a, %b;", &rows, |a, b, _| canonical(f(a) - f(b)));
        check(32, 32, "mul.f32 %d, %a, %b;", &rows, |a, b, _| canonical(f(a) * f(b)));
        check(32, 32, "fma.rn.f32 %d, %a, %b, %c;", &rows, |a, b, c| canonical(f(a).mul_add(f(b), f(c))));
        check(32, 32, "div.rn.f32 %d, %a, %b;", &rows, |a, b, _| canonical(f(a) / f(b)));
        check(32, 32, "rcp.rn.f32 %d, %a;", &rows, |a, _, _| canonical(1.0 / f(a)));
        check(32, 32, "sqrt.rn.f32 %d, %a;", &rows, |a, _, _| canonical(f(a).sqrt()));
        check(32, 32, "abs.f32 %d, %a;", &rows, |a, _, _| a & 0x7fff_ffff);
        check(32, 32, "neg.f32 %d, %a;", &rows, |a, _, _| a ^ 0x8000_0000);
        check(32, 32, "copysign.f32 %d, %a, %b;", &rows, |a, b, _| a & 0x8000_0000 | b & 0x7fff_ffff);
    }
    // The fused product keeps what a rounded one loses: (1 + 2^-12)^2 - (1 + 2^-11) = 2^-24.
    let x = 1.0 + 2f32.powi(-12);
    let row = [bits(x), bits(x), bits(-(1.0 + 2f32.powi(-11)))];
    assert_eq!(eval(32, 32, "fma.rn.f32 %d, %a, %b, %c;", &[row]), [bits(2f32.powi(-24))]);
}

/// Checks the four roundings of an instruction whose exact result f64 holds.
fn check_roundings(name: &str, operands: &str, rows: &[[u64; 3]], exact: impl Fn(u64, u64, u64) -> f64) {
    let run = |mode: &str| eval(32, 32, &format!("{name}.{mode}.f32 %d, {operands};"), rows);
    let (down, up, zero, nearest) = (run("rm"), run("rp"), run("rz"), run("rn"));
    let mut inexact = 0;
    for (i, &[a, b, c]) in rows.iter().enumerate() {
        let want = exact(a, b, c);
        let (low, high) = (f64::from(f(down[i])), f64::from(f(up[i])));
        // The two neighbours of the exact result, or the result itself.
        assert!(low <= want && want <= high, "{name}: {low} {want} {high}");
        if low != high {
            inexact += 1;
            assert_eq!(f(down[i]).next_up(), f(up[i]), "{name} of {a:#x} {b:#x} {c:#x}");
        }
        assert_eq!(zero[i], if want > 0.0 { down[i] } else { up[i] }, "{name} toward zero of {want}");
        assert_eq!(f(nearest[i]), want as f32, "{name} to nearest");
    }
    assert!(inexact > rows.len() / 2);
}

#[test]
fn directed_roundings() {
    let rows = ordinary();
    check_roundings("add", "%a, %b", &rows, |a, b, _| f64::from(f(a)) + f64::from(f(b)));
    check_roundings("sub", "%a, %b", &rows, |a, b, _| f64::from(f(a)) - f64::from(f(b)));
    check_roundings("mul", "%a, %b", &rows, |a, b, _| f64::from(f(a)) * f64::from(f(b)));
    // Coarse factors, so that f64 holds the sum of product and addend exactly.
    let coarse: Vec<_> = rows.iter().map(|&[a, b, c]| [a & !0xfff, b & !0xfff, c]).collect();
    check_roundings("fma", "%a, %b, %c", &coarse, |a, b, c| f64::from(f(a)) * f64::from(f(b)) + f64::from(f(c)));
    // Quotients and roots are not exact in f64, but closer to the truth than half of an f32's last place.
    check_roundings("div", "%a, %b", &rows, |a, b, _| f64::from(f(a)) / f64::from(f(b)));
    check_roundings("rcp", "%a", &rows, |a, _, _| 1.0 / f64::from(f(a)));
    let positive: Vec<_> = rows.iter().map(|&[a, b, c]| [a & 0x7fff_ffff, b, c]).collect();
    check_roundings("sqrt", "%a", &positive, |a, _, _| f64::from(f(a)).sqrt());
    // An addend far below the last place still decides; a sum that cancels is -0 only when rounding goes down.
    let tiny = [bits(1.0), bits(-TINY), bits(-1.0)];
    assert_eq!(eval(32, 32, "add.rm.f32 %d, %a, %b;", &[tiny]), [bits(1f32.next_down())]);
    assert_eq!(eval(32, 32, "add.rp.f32 %d, %a, %b;", &[tiny]), [bits(1.0)]);
    assert_eq!(eval(32, 32, "add.rm.f32 %d, %a, %c;", &[tiny]), [bits(-0.0)]);
    assert_eq!(eval(32, 32, "add.rn.f32 %d, %a, %c;", &[tiny]), [bits(0.0)]);
    let huge = [bits(f32::MAX), bits(f32::MAX), 0];
    assert_eq!(eval(32, 32, "add.rz.f32 %d, %a, %b;", &[huge]), [bits(f32::MAX)]);
    assert_eq!(eval(32, 32, "mul.rp.f32 %d, %a, %b;", &[huge]), [bits(f32::INFINITY)]);
}

#[test]
fn flushing_and_saturating() {
    let flush = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
    let rows = special();
    check(32, 32, "add.ftz.f32 %d, %a, %b;", &rows, |a, b, _| canonical(flush(flush(f(a)) + flush(f(b)))));
    check(32, 32, "mul.ftz.f32 %d, %a, %b;", &rows, |a, b, _| canonical(flush(flush(f(a)) * flush(f(b)))));
    check(
        32,
        32,
        "neg.ftz.f32 %d, %a;",
        &rows,
        |a, _, _| if f(a).is_nan() { a ^ 0x8000_0000 } else { bits(-flush(f(a))) },
    );
    type Ternary = fn(f32, f32, f32) -> f32;
    let table: [(&str, &str, Ternary); 6] = [
        ("sub.ftz.f32", "%a, %b", |a, b, _| a - b),
        ("fma.rn.ftz.f32", "%a, %b, %c", |a, b, c| a.mul_add(b, c)),
        ("div.rn.ftz.f32", "%a, %b", |a, b, _| a / b),
        ("rcp.rn.ftz.f32", "%a", |a, _, _| 1.0 / a),
        ("sqrt.rn.ftz.f32", "%a", |a, _, _| a.sqrt()),
        ("max.ftz.NaN.f32", "%a, %b", |a, b, _| match a.is_nan() || b.is_nan() {
            true => f32::NAN,
            // Zeros are ordered: of two that are equal the positive one.
            false if a == b => f32::from_bits(a.to_bits() & b.to_bits()),
            false => a.max(b),
        }),
    ];
    for (name, operands, value) in table {
        check(32, 32, &format!("{name} %d, {operands};"), &rows, |a, b, c| {
            canonical(flush(value(flush(f(a)), flush(f(b)), flush(f(c)))))
        });
    }
    // A subnormal product of normal numbers is flushed too, and survives without .ftz.
    let row = [bits(2f32.powi(-100)), bits(-(2f32.powi(-40))), 0];
    assert_eq!(eval(32, 32, "mul.ftz.f32 %d, %a, %b;", &[row]), [bits(-0.0)]);
    assert_eq!(eval(32, 32, "mul.f32 %d, %a, %b;", &[row]), [bits(-(2f32.powi(-140)))]);
    check(32, 32, "add.sat.f32 %d, %a, %b;", &rows, |a, b, _| {
        let x = f(a) + f(b);
        bits(if x > 1.0 {
            1.0
        } else if x > 0.0 {
            x
        } else {
            0.0
        })
    });
    check(32, 32, "setp.eq.ftz.f32 %p, %a, %b;\nselp.u32 %d, 1, 0, %p;", &rows, |a, b, _| {
        u64::from(flush(f(a)) == flush(f(b)))
    });
}

#[test]
fn minimum_and_maximum() {
    // Zeros are ordered, and a NaN loses unless .NaN is given.
    let reference = |a: u64, b: u64, max: bool| {
        let (x, y) = (f(a), f(b));
        let keyed = |v: u64| (f(v), u32::from(v >> 31 == 0));
        match (x.is_nan(), y.is_nan()) {
            (true, true) => NAN,
            (true, false) => b,
            (false, true) => a,
            _ => {
                if (keyed(a) >= keyed(b)) == max {
                    a
                } else {
                    b
                }
            }
        }
    };
    let rows = special();
    check(32, 32, "min.f32 %d, %a, %b;", &rows, |a, b, _| reference(a, b, false));
    check(32, 32, "max.f32 %d, %a, %b;", &rows, |a, b, _| reference(a, b, true));
    let strict = |a, b, max| if f(a).is_nan() || f(b).is_nan() { NAN } else { reference(a, b, max) };
    check(32, 32, "min.NaN.f32 %d, %a, %b;", &rows, |a, b, _| strict(a, b, false));
    check(32, 32, "max.NaN.f32 %d, %a, %b;", &rows, |a, b, _| strict(a, b, true));
    let wide = pairs(&[0f64, -0.0, 1.0, -2.0, f64::NAN, f64::INFINITY].map(f64::to_bits));
    check(64, 64, "max.f64 %d, %a, %b;", &wide, |a, b, _| {
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        match (x.is_nan(), y.is_nan()) {
            (true, _) => b,
            (false, true) => a,
            _ if x == y => {
                if a >> 63 == 0 {
                    a
                } else {
                    b
                }
            }
            _ => {
                if x > y {
                    a
                } else {
                    b
                }
            }
        }
    });
}

#[test]
fn comparisons_with_nan() {
    type Compare = fn(f32, f32) -> bool;
    let table: [(&str, Compare); 14] = [
        ("eq", |a, b| a == b),
        ("ne", |a, b| a != b && !a.is_nan() && !b.is_nan()),
        ("lt", |a, b| a < b),
        ("le", |a, b| a <= b),
        ("gt", |a, b| a > b),
        ("ge", |a, b| a >= b),
        ("equ", |a, b| a == b || a.is_nan() || b.is_nan()),
        ("neu", |a, b| a != b),
        ("ltu", |a, b| !(a >= b)),
        ("leu", |a, b| !(a > b)),
        ("gtu", |a, b| !(a <= b)),
        ("geu", |a, b| !(a < b)),
        ("num", |a, b| !a.is_nan() && !b.is_nan()),
        ("nan", |a, b| a.is_nan() || b.is_nan()),
    ];
    let rows = special();
    for (name, compare) in table {
        check(32, 32, &format!("setp.{name}.f32 %p, %a, %b;\nselp.u32 %d, 1, 0, %p;"), &rows, |a, b, _| {
            compare(f(a), f(b)).into()
        });
        let wide: Vec<_> = rows.iter().map(|r| r.map(|v| f64::from(f(v)).to_bits())).collect();
        check(64, 32, &format!("setp.{name}.f64 %p, %a, %b;\nselp.u32 %d, 1, 0, %p;"), &wide, |a, b, _| {
            compare(f64::from_bits(a) as f32, f64::from_bits(b) as f32).into()
        });
    }
    for (name, test) in [
        ("finite", (|x: f32| x.is_finite()) as fn(f32) -> bool),
        ("infinite", |x| x.is_infinite()),
        ("number", |x| !x.is_nan()),
        ("notanumber", |x| x.is_nan()),
        ("normal", |x| x.is_normal() || x == 0.0),
        ("subnormal", |x| x.is_subnormal()),
    ] {
        check(32, 32, &format!("testp.{name}.f32 %p, %a;\nselp.u32 %d, 1, 0, %p;"), &rows, |a, _, _| test(f(a)).into());
    }
}

#[test]
fn approximations_are_the_rounded_truth() {
    let rows: Vec<_> = ordinary().into_iter().map(|r| r.map(|v| v & 0x7fff_ffff)).collect();
    let truth: [(&str, fn(f64) -> f64); 7] = [
        ("rsqrt", |x| 1.0 / x.sqrt()),
        ("ex2", f64::exp2),
        ("lg2", f64::log2),
        ("sin", f64::sin),
        ("cos", f64::cos),
        ("tanh", f64::tanh),
        ("rcp", |x| 1.0 / x),
    ];
    for (name, truth) in truth {
        check(32, 32, &format!("{name}.approx.f32 %d, %a;"), &rows, |a, _, _| bits(truth(f64::from(f(a))) as f32));
    }
    check(32, 32, "div.full.f32 %d, %a, %b;", &rows, |a, b, _| bits(f(a) / f(b)));
    check(32, 32, "ex2.approx.ftz.f32 %d, %a;", &[[bits(-130.0), 0, 0], [bits(f32::NEG_INFINITY), 0, 0]], |_, _, _| 0);
    check(32, 32, "lg2.approx.f32 %d, %a;", &[[0, 0, 0]], |_, _, _| bits(f32::NEG_INFINITY));
}

#[test]
fn double_precision() {
    let x = numbers(300, 4);
    let rows: Vec<_> = (0..100).map(|i| [0, 1, 2].map(|k| (f64::from(x[3 * i + k]) / 3.0).to_bits())).collect();
    let d = f64::from_bits;
    check(64, 64, "add.rn.f64 %d, %a, %b;", &rows, |a, b, _| (d(a) + d(b)).to_bits());
    check(64, 64, "mul.f64 %d, %a, %b;", &rows, |a, b, _| (d(a) * d(b)).to_bits());
    check(64, 64, "fma.rn.f64 %d, %a, %b, %c;", &rows, |a, b, c| d(a).mul_add(d(b), d(c)).to_bits());
    check(64, 64, "div.rn.f64 %d, %a, %b;", &rows, |a, b, _| (d(a) / d(b)).to_bits());
    check(64, 64, "sub.f64 %t64, %a, %b;\nneg.f64 %t64, %t64;\nabs.f64 %d, %t64;", &rows, |a, b, _| {
        (d(a) - d(b)).abs().to_bits()
    });
}

#[test]
fn pairs_of_halves() {
    // 1.5 and -2 in f16 and bf16; results by hand.
    let f16 = [0x3e00_c000u64, 0x4000_3c00, 0x3c00_3c00];
    assert_eq!(eval(32, 32, "add.f16x2 %d, %a, %b;", &[f16]), [0x4300_bc00]); // 3.5, -1
    assert_eq!(eval(32, 32, "mul.f16x2 %d, %a, %b;", &[f16]), [0x4200_c000]); // 3, -2
    assert_eq!(eval(32, 32, "fma.rn.f16x2 %d, %a, %b, %c;", &[f16]), [0x4400_bc00]); // 4, -1
    let bf16 = [0x3fc0_c000u64, 0x4000_3f80, 0x3f80_3f80];
    assert_eq!(eval(32, 32, "fma.rn.bf16x2 %d, %a, %b, %c;", &[bf16]), [0x4080_bf80]); // 4, -1
    assert_eq!(eval(32, 32, "max.bf16x2 %d, %a, %b;", &[bf16]), [0x4000_3f80]);
    // (1 + 2^-4)^2 is 1 + 2^-3 + 2^-8, half-way between two bf16; 2^-120 more or less decides, however small it is.
    let tie = |c: u64| eval(32, 32, "fma.rn.bf16x2 %d, %a, %b, %c;", &[[0x3f88_3f88, 0x3f88_3f88, c]])[0];
    assert_eq!([tie(0), tie(0x0380_8380)], [0x3f90_3f90, 0x3f91_3f90]);
    assert_eq!(eval(32, 32, "neg.bf16x2 %d, %a;", &[bf16]), [0xbfc0_4000]);
}
