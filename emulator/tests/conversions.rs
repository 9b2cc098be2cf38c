//! Do conversions round, clamp and extend as the PTX ISA says?

mod device;

use device::{check, eval, numbers};

fn bits(x: f32) -> u64 {
    x.to_bits().into()
}

fn f(v: u64) -> f32 {
    f32::from_bits(v as u32)
}

fn rows(values: &[f32]) -> Vec<[u64; 3]> {
    values.iter().map(|&v| [bits(v), 0, 0]).collect()
}

const FLOATS: [f32; 20] = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    2.49,
    127.6,
    -128.6,
    255.5,
    65535.9,
    2147483648.0,
    -2147483904.0,
    4294967296.0,
    1e19,
    -1e19,
    3e38,
    f32::INFINITY,
    f32::NAN,
];

#[test]
fn float_to_integer() {
    type Rounding = fn(f64) -> f64;
    let roundings: [(&str, Rounding); 4] =
        [("rni", f64::round_ties_even), ("rzi", f64::trunc), ("rmi", f64::floor), ("rpi", f64::ceil)];
    for (mode, rounded) in roundings {
        for (ty, register, low, high) in [
            ("s8", 16, i8::MIN.into(), i8::MAX.into()),
            ("u8", 16, 0, u8::MAX.into()),
            ("s16", 16, i16::MIN.into(), i16::MAX.into()),
            ("u16", 16, 0, u16::MAX.into()),
            ("s32", 32, i32::MIN.into(), i32::MAX.into()),
            ("u32", 32, 0, u32::MAX.into()),
            ("s64", 64, i64::MIN.into(), i128::from(i64::MAX)),
            ("u64", 64, 0, i128::from(u64::MAX)),
        ] {
            check(32, register, &format!("cvt.{mode}.{ty}.f32 %d, %a;"), &rows(&FLOATS), |a, _, _| {
                // Out of range is clamped, NaN is 0: `as` makes it so.
                let whole = (rounded(f64::from(f(a))) as i128).clamp(low, high);
                whole as u64 & (u64::MAX >> (64 - register))
            });
        }
        check(32, 32, &format!("cvt.{mode}.f32.f32 %d, %a;"), &rows(&FLOATS[..18]), |a, _, _| {
            bits(rounded(f64::from(f(a))) as f32)
        });
    }
    // From f64, by hand: what lies between, beyond either end, at the ends, and NaN.
    let wide = [-7.9, 1e300, -1e300, 2147483647.5, -2147483648.9, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let rows: Vec<_> = wide.iter().map(|v| [v.to_bits(), 0, 0]).collect();
    let (most, least) = (0x7fff_ffff, 0x8000_0000);
    let to_zero = [0xffff_fff9, most, least, most, least, most, least, 0];
    assert_eq!(eval(64, 32, "cvt.rzi.s32.f64 %d, %a;", &rows), to_zero);
    let up = [0xffff_fff9, most, least, most, least, most, least, 0];
    assert_eq!(eval(64, 32, "cvt.rpi.s32.f64 %d, %a;", &rows), up);
    let down = [0xffff_fff8, most, least, most, least, most, least, 0];
    assert_eq!(eval(64, 32, "cvt.rmi.s32.f64 %d, %a;", &rows), down);
    let unsigned = [0, 0xffff_ffff, 0, 0x8000_0000, 0, 0xffff_ffff, 0, 0];
    assert_eq!(eval(64, 32, "cvt.rni.u32.f64 %d, %a;", &rows), unsigned);
}

#[test]
fn integer_to_float() {
    let values = [
        0u64,
        1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        16_777_217,
        0xffff_ff01,
        u64::MAX,
        1 << 63,
        (1 << 63) - 1,
        (1 << 40) + 1,
    ];
    let rows: Vec<_> = values.iter().map(|&v| [v, 0, 0]).collect();
    let words: Vec<_> = values.iter().map(|&v| [v & 0xffff_ffff, 0, 0]).collect();
    check(32, 32, "cvt.rn.f32.u32 %d, %a;", &words, |a, _, _| bits(a as f32));
    check(32, 32, "cvt.rn.f32.s32 %d, %a;", &words, |a, _, _| bits(a as i32 as f32));
    check(64, 32, "cvt.rn.f32.u64 %d, %a;", &rows, |a, _, _| bits(a as f32));
    check(64, 32, "cvt.rn.f32.s64 %d, %a;", &rows, |a, _, _| bits(a as i64 as f32));
    check(64, 64, "cvt.rn.f64.s64 %d, %a;", &rows, |a, _, _| (a as i64 as f64).to_bits());
    for (mode, toward) in [("rz", 0), ("rm", -1), ("rp", 1)] {
        check(64, 32, &format!("cvt.{mode}.f32.u64 %d, %a;"), &rows, |a, _, _| {
            let near = a as f32;
            let exact = i128::from(a);
            let wanted = match (near as i128).cmp(&exact) {
                std::cmp::Ordering::Greater if toward <= 0 => near.next_down(),
                std::cmp::Ordering::Less if toward > 0 => near.next_up(),
                _ => near,
            };
            bits(wanted)
        });
    }
}

#[test]
fn integer_to_integer() {
    let rows: Vec<_> = [
        0u64,
        1,
        127,
        128,
        255,
        256,
        0x7fff,
        0x8000,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ff80,
        0xffff_ffff,
    ]
    .iter()
    .map(|&v| [v, 0, 0])
    .collect();
    check(32, 16, "cvt.u16.u32 %d, %a;", &rows, |a, _, _| a & 0xffff);
    check(32, 16, "cvt.u8.u32 %d, %a;", &rows, |a, _, _| a & 0xff);
    check(32, 16, "cvt.s8.s32 %d, %a;", &rows, |a, _, _| u64::from(a as i8 as i16 as u16));
    check(32, 64, "cvt.s64.s32 %d, %a;", &rows, |a, _, _| i64::from(a as i32) as u64);
    check(32, 64, "cvt.u64.u32 %d, %a;", &rows, |a, _, _| a);
    check(32, 32, "cvt.s32.s8 %d, %a;", &rows, |a, _, _| u64::from(i32::from(a as i8) as u32));
    check(32, 32, "cvt.s32.s16 %d, %a;", &rows, |a, _, _| u64::from(i32::from(a as i16) as u32));
    check(32, 32, "cvt.u32.u16 %d, %a;", &rows, |a, _, _| a & 0xffff);
    check(32, 16, "cvt.sat.s8.s32 %d, %a;", &rows, |a, _, _| u64::from((a as i32).clamp(-128, 127) as i16 as u16));
    check(32, 16, "cvt.sat.u8.s32 %d, %a;", &rows, |a, _, _| (a as i32).clamp(0, 255) as u64);
    check(32, 32, "cvt.sat.u32.s32 %d, %a;", &rows, |a, _, _| (a as i32).max(0) as u64);
    check(64, 32, "cvt.u32.u64 %d, %a;", &[[0x1_2345_6789, 0, 0]], |a, _, _| a & 0xffff_ffff);
}

#[test]
fn between_floats() {
    let values: Vec<_> = FLOATS.iter().copied().chain(numbers(200, 6)).chain([1e-40, f32::MIN_POSITIVE]).collect();
    let r = rows(&values);
    check(32, 64, "cvt.f64.f32 %d, %a;", &rows(&values[..19]), |a, _, _| f64::from(f(a)).to_bits());
    check(32, 32, "cvt.sat.f32.f32 %d, %a;", &r, |a, _, _| {
        let x = f(a);
        bits(if x > 1.0 {
            1.0
        } else if x > 0.0 {
            x
        } else {
            0.0
        })
    });
    check(32, 32, "cvt.ftz.f32.f32 %d, %a;", &rows(&[1e-40, -1e-40, 1.0]), |a, _, _| {
        if f(a) == 1.0 { a } else { a & 0x8000_0000 }
    });
    let wide: Vec<_> =
        [1.0 + 1e-12, -1.0 - 1e-12, 1e300, -1e300, 1e-46, 0.1].map(|v: f64| [v.to_bits(), 0, 0]).to_vec();
    check(64, 32, "cvt.rn.f32.f64 %d, %a;", &wide, |a, _, _| bits(f64::from_bits(a) as f32));
    let one = 1f32;
    let down = [
        bits(one),
        bits((-one).next_down()),
        bits(f32::MAX),
        bits(f32::NEG_INFINITY),
        bits(0.0),
        bits(0.1f32.next_down()),
    ];
    assert_eq!(eval(64, 32, "cvt.rm.f32.f64 %d, %a;", &wide), down);
    let zero = [bits(one), bits(-one), bits(f32::MAX), bits(-f32::MAX), bits(0.0), bits(0.1f32.next_down())];
    assert_eq!(eval(64, 32, "cvt.rz.f32.f64 %d, %a;", &wide), zero);
    // TF32 keeps 10 bits of the fraction; rna rounds ties away from zero.
    for (x, want) in [
        (1.0 + 2f32.powi(-11), 1.0 + 2f32.powi(-10)),
        (-1.0 - 2f32.powi(-11), -1.0 - 2f32.powi(-10)),
        (1.0 + 2f32.powi(-12), 1.0),
    ] {
        assert_eq!(eval(32, 32, "cvt.rna.tf32.f32 %d, %a;", &rows(&[x])), [bits(want)]);
    }
}

/// All numbers of a 16-bit format with their values, from its definition.
fn table(digits: i32, lowest: i32, exponent_bits: u32) -> Vec<(u16, f64)> {
    let fraction_bits = digits as u32 - 1;
    let most = (1u16 << exponent_bits) - 1;
    (0..most << fraction_bits)
        .map(|code| {
            let (e, m) = (i32::from(code >> fraction_bits), f64::from(code & ((1 << fraction_bits) - 1)));
            let (hidden, e) = if e == 0 { (0.0, 1) } else { (1.0, e) };
            (code, (hidden + m * 2f64.powi(-(digits - 1))) * 2f64.powi(e - 1 + lowest))
        })
        .collect()
}

#[test]
fn halves_by_search() {
    for (ty, digits, lowest, exponent_bits) in [("f16", 11, -14, 5), ("bf16", 8, -126, 8)] {
        let table = table(digits, lowest, exponent_bits);
        // Every number of the format is exact in f32.
        let exact: Vec<_> = table.iter().map(|&(_, v)| [bits(v as f32), 0, 0]).collect();
        check(32, 16, &format!("cvt.rn.{ty}.f32 %d, %a;"), &exact, |a, _, _| {
            u64::from(table[table.partition_point(|t| t.1 < f64::from(f(a)))].0)
        });
        let codes: Vec<_> = table.iter().map(|&(c, _)| [c.into(), 0, 0]).collect();
        check(16, 32, &format!("cvt.f32.{ty} %d, %a;"), &codes, |a, _, _| bits(table[a as usize].1 as f32));
        // Others round to the nearer neighbour, ties to the even code.
        let mut values: Vec<f32> = numbers(2000, 7).iter().map(|v| (v * 15.0).exp2() * v.signum()).collect();
        for w in table.windows(2).step_by(37) {
            values.push(((w[0].1 + w[1].1) / 2.0) as f32);
        }
        let nearest = |x: f32| {
            let magnitude = f64::from(x.abs());
            let i = table.partition_point(|t| t.1 < magnitude).min(table.len() - 1);
            let (low, high) = (table[i.saturating_sub(1)], table[i]);
            let (below, above) = (magnitude - low.1, high.1 - magnitude);
            let code = if below < above || (below == above && low.0 % 2 == 0) { low.0 } else { high.0 };
            code | (x.to_bits() >> 16) as u16 & 0x8000
        };
        check(32, 16, &format!("cvt.rn.{ty}.f32 %d, %a;"), &rows(&values), |a, _, _| nearest(f(a)).into());
        let two: Vec<_> = values.iter().map(|&v| [bits(v), bits(-v / 3.0), 0]).collect();
        check(32, 32, &format!("cvt.rn.{ty}x2.f32 %d, %a, %b;"), &two, |a, b, _| {
            u64::from(nearest(f(a))) << 16 | u64::from(nearest(f(b)))
        });
        check(32, 16, &format!("cvt.rz.{ty}.f32 %d, %a;"), &rows(&values), |a, _, _| {
            let magnitude = f64::from(f(a).abs());
            let i = table.partition_point(|t| t.1 <= magnitude) - 1;
            u64::from(table[i].0 | (a >> 16) as u16 & 0x8000)
        });
        // Overflow, infinity and NaN.
        let infinity = u64::from(((1u16 << exponent_bits) - 1) << (digits - 1));
        let edge = rows(&[3.4e38, f32::INFINITY, -f32::INFINITY, f32::NAN]);
        assert_eq!(
            eval(32, 16, &format!("cvt.rn.{ty}.f32 %d, %a;"), &edge),
            [infinity, infinity, infinity | 0x8000, 0x7fff]
        );
    }
    assert_eq!(eval(32, 32, "cvt.rn.relu.bf16x2.f32 %d, %a, %b;", &[[bits(-2.0), bits(2.0), 0]]), [0x4000]);
}
