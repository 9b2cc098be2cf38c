//! Floating-point arithmetic over lanes.
//!
//! Results are rounded as PTX says. Approximate functions are computed in f64 and rounded once, which is closer to the truth
//! than hardware is. A NaN result is the canonical NaN of PTX, `0x7fffffff`.

use super::convert::{from_half, to_half};
use super::simd::{Wide, Word, lanes_where, over_lanes, put};
use super::warp::Registers;
use crate::ptx::inst::{Cmp, Float, Mode, Num, R, Round, Test};

/// The canonical NaN.
pub const NAN32: u32 = 0x7fff_ffff;

/// Zero of the same sign in place of a subnormal.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    if x.to_bits() & 0x7f80_0000 == 0 { f32::from_bits(x.to_bits() & 0x8000_0000) } else { x }
}

/// The neighbour of `r` that directed rounding asks for, where `above` is the sign of the exact result minus `r`.
#[inline(always)]
pub fn direct(r: f32, above: f64, round: Round) -> f32 {
    match round {
        Round::Down if above < 0.0 => r.next_down(),
        Round::Up if above > 0.0 => r.next_up(),
        Round::Zero if above < 0.0 && r > 0.0 => r.next_down(),
        Round::Zero if above > 0.0 && r < 0.0 => r.next_up(),
        _ => r,
    }
}

/// `a b + c` with directed rounding: the product of two f32 is exact in f64, and so is the error of the sum.
#[inline(always)]
fn fma_directed(a: f32, b: f32, c: f32, round: Round) -> f32 {
    let (p, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let s = p + c;
    if !s.is_finite() {
        return s as f32;
    }
    let part = s - p;
    let error = (p - (s - part)) + (c - part);
    if s == 0.0 && error == 0.0 {
        // An exact zero is negative only if both terms are, or if rounding goes down and they cancel.
        let both_negative = p.is_sign_negative() && c.is_sign_negative();
        let cancelled = p.is_sign_negative() != c.is_sign_negative() && round == Round::Down;
        return if both_negative || cancelled { -0.0 } else { 0.0 };
    }
    let r = s as f32;
    let above = s - f64::from(r);
    direct(r, if above != 0.0 { above } else { error }, round)
}

/// `a b + c` of 16-bit floats, to be rounded to one: in f64, with the last bit set where something was lost behind it, so that no tie appears
/// that was none.
#[inline(always)]
fn fma_sticky(a: f32, b: f32, c: f32) -> f64 {
    let (p, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let s = p + c;
    let part = s - p;
    let error = (p - (s - part)) + (c - part);
    if !s.is_finite() || error == 0.0 || s.to_bits() & 1 == 1 {
        return s;
    }
    // The neighbour on the side of what was lost has the last bit set.
    if error > 0.0 { s.next_up() } else { s.next_down() }
}

/// The lesser (or greater) of two numbers; a NaN loses against a number, and -0 is less than +0.
#[inline(always)]
fn extreme(a: f32, b: f32, max: bool) -> f32 {
    let (x, y) = (a.to_bits() as i32, b.to_bits() as i32);
    // Bits as integers that order like the numbers, including the zeros.
    let key = |v: i32| v ^ ((v >> 31) as u32 >> 1) as i32;
    let first = if max { key(x) >= key(y) } else { key(x) <= key(y) };
    if b.is_nan() || (first && !a.is_nan()) { a } else { b }
}

/// Values that only the f64 functions of the standard library give.
#[inline(always)]
fn transcendental(f: Float, x: f64) -> f64 {
    match f {
        Float::Rsqrt => 1.0 / x.sqrt(),
        Float::Ex2 => x.exp2(),
        Float::Lg2 => x.log2(),
        Float::Sin => x.sin(),
        Float::Cos => x.cos(),
        _ => x.tanh(),
    }
}

over_lanes! {
    /// One f32 function.
    pub fn float32(g: &mut Registers, mask: u32, f: Float, mode: Mode, d: R, a: R, b: R, c: R) {
        let (a, b, c) = (&g.w[a as usize], &g.w[b as usize], &g.w[c as usize]);
        let mut out: Word = [0; 32];
        let (ftz, round) = (mode.ftz, mode.round);
        if matches!(f, Float::Abs | Float::Neg | Float::Copysign) {
            for i in 0..32 {
                let x = if ftz { flush(f32::from_bits(a[i])).to_bits() } else { a[i] };
                out[i] = match f {
                    Float::Abs => x & 0x7fff_ffff,
                    Float::Neg => x ^ 0x8000_0000,
                    // The sign of the first operand, the magnitude of the second.
                    _ => x & 0x8000_0000 | b[i] & 0x7fff_ffff,
                };
            }
            put(&mut g.w[d as usize], out, mask);
            return;
        }
        macro_rules! each {
            ($value:expr) => {{
                let value = $value;
                if ftz {
                    for i in 0..32 {
                        let [x, y, z] = [a[i], b[i], c[i]].map(|v| flush(f32::from_bits(v)));
                        out[i] = flush(value(x, y, z)).to_bits();
                    }
                } else {
                    for i in 0..32 {
                        out[i] = value(f32::from_bits(a[i]), f32::from_bits(b[i]), f32::from_bits(c[i])).to_bits();
                    }
                }
            }};
        }
        let nearest = round == Round::Nearest;
        match f {
            Float::Add if nearest => each!(|x: f32, y: f32, _| x + y),
            Float::Sub if nearest => each!(|x: f32, y: f32, _| x - y),
            Float::Mul if nearest => each!(|x: f32, y: f32, _| x * y),
            Float::Fma if nearest => each!(|x: f32, y: f32, z: f32| x.mul_add(y, z)),
            Float::Add => each!(|x: f32, y: f32, _| fma_directed(x, 1.0, y, round)),
            Float::Sub => each!(|x: f32, y: f32, _| fma_directed(x, 1.0, -y, round)),
            // A zero of the product's sign leaves the sign of an exact zero alone.
            Float::Mul => each!(|x: f32, y: f32, _| fma_directed(x, y, 0f32.copysign(x * y), round)),
            Float::Fma => each!(|x: f32, y: f32, z: f32| fma_directed(x, y, z, round)),
            Float::Div if nearest => each!(|x: f32, y: f32, _| x / y),
            Float::Rcp if nearest => each!(|x: f32, _, _| 1.0 / x),
            Float::Sqrt if nearest => each!(|x: f32, _, _| x.sqrt()),
            Float::Div | Float::Rcp => each!(|x: f32, y: f32, _| {
                let (n, m) = if f == Float::Rcp { (1.0, x) } else { (x, y) };
                let r = n / m;
                let rest = (-f64::from(r)).mul_add(f64::from(m), f64::from(n)) * f64::from(m).signum();
                if n.is_finite() && m.is_finite() && m != 0.0 { direct(r, rest, round) } else { r }
            }),
            Float::Sqrt => each!(|x: f32, _, _| {
                let r = x.sqrt();
                if x.is_finite() { direct(r, (-f64::from(r)).mul_add(f64::from(r), f64::from(x)), round) } else { r }
            }),
            Float::Min => each!(|x, y, _| extreme(x, y, false)),
            Float::Max => each!(|x, y, _| extreme(x, y, true)),
            Float::MinNan => each!(|x: f32, y: f32, _| if x.is_nan() { x } else if y.is_nan() { y } else { extreme(x, y, false) }),
            Float::MaxNan => each!(|x: f32, y: f32, _| if x.is_nan() { x } else if y.is_nan() { y } else { extreme(x, y, true) }),
            _ => each!(|x: f32, _, _| transcendental(f, f64::from(x)) as f32),
        }
        for i in 0..32 {
            if mode.sat {
                let x = f32::from_bits(out[i]);
                out[i] = if x > 0.0 { if x < 1.0 { out[i] } else { 0x3f80_0000 } } else { 0 };
            }
            out[i] = if f32::from_bits(out[i]).is_nan() { NAN32 } else { out[i] };
        }
        put(&mut g.w[d as usize], out, mask);
    }
}

over_lanes! {
    /// One f64 function, rounded to nearest.
    pub fn float64(g: &mut Registers, mask: u32, f: Float, d: R, a: R, b: R, c: R) {
        let (a, b, c) = (&g.d[a as usize], &g.d[b as usize], &g.d[c as usize]);
        let mut out: Wide = [0; 32];
        for i in 0..32 {
            let (x, y, z) = (f64::from_bits(a[i]), f64::from_bits(b[i]), f64::from_bits(c[i]));
            let key = |v: f64| v.to_bits() as i64 ^ ((v.to_bits() as i64 >> 63) as u64 >> 1) as i64;
            let extreme = |max: bool| {
                let first = if max { key(x) >= key(y) } else { key(x) <= key(y) };
                if y.is_nan() || (first && !x.is_nan()) { x } else { y }
            };
            let value = match f {
                Float::Add => x + y,
                Float::Sub => x - y,
                Float::Mul => x * y,
                Float::Fma => x.mul_add(y, z),
                Float::Div => x / y,
                Float::Rcp => 1.0 / x,
                Float::Sqrt => x.sqrt(),
                Float::Abs => x.abs(),
                Float::Neg => -x,
                Float::Min => extreme(false),
                Float::Max => extreme(true),
                Float::MinNan | Float::MaxNan if x.is_nan() || y.is_nan() => f64::NAN,
                Float::MinNan => extreme(false),
                Float::MaxNan => extreme(true),
                Float::Copysign => y.copysign(x),
                _ => transcendental(f, x),
            };
            out[i] = value.to_bits();
        }
        put(&mut g.d[d as usize], out, mask);
    }
}

over_lanes! {
    /// Arithmetic of 16-bit floats: computed in f64, which has room for what two of them give, and rounded once.
    pub fn half(g: &mut Registers, mask: u32, f: Float, ty: Num, pair: bool, mode: Mode, d: R, a: R, b: R, c: R) {
        let (a, b, c) = (&g.w[a as usize], &g.w[b as usize], &g.w[c as usize]);
        let mut out: Word = [0; 32];
        let one = |x: u32, y: u32, z: u32| {
            let (nx, ny, nz) = (from_half(ty, x as u16), from_half(ty, y as u16), from_half(ty, z as u16));
            let value = match f {
                Float::Neg => return u32::from(x as u16 ^ 0x8000),
                Float::Abs => return u32::from(x as u16 & 0x7fff),
                Float::Min => f64::from(extreme(nx, ny, false)),
                Float::Max => f64::from(extreme(nx, ny, true)),
                Float::MinNan | Float::MaxNan if nx.is_nan() || ny.is_nan() => f64::NAN,
                Float::MinNan => f64::from(extreme(nx, ny, false)),
                Float::MaxNan => f64::from(extreme(nx, ny, true)),
                Float::Add => f64::from(nx) + f64::from(ny),
                Float::Sub => f64::from(nx) - f64::from(ny),
                Float::Mul => f64::from(nx) * f64::from(ny),
                Float::Fma => fma_sticky(nx, ny, nz),
                _ => transcendental(f, f64::from(nx)),
            };
            let value = if mode.sat { if value > 0.0 { value.min(1.0) } else { 0.0 } } else { value };
            u32::from(to_half(ty, value, Round::Nearest))
        };
        for i in 0..32 {
            out[i] = one(a[i], b[i], c[i]);
            if pair {
                out[i] |= one(a[i] >> 16, b[i] >> 16, c[i] >> 16) << 16;
            }
        }
        put(&mut g.w[d as usize], out, mask);
    }
}

macro_rules! compare {
    ($cmp:expr, $a:ident, $b:ident, $get:expr, $nan:expr) => {{
        let (get, nan) = ($get, $nan);
        let either_nan = || lanes_where(|i| nan(get($a[i])) || nan(get($b[i])));
        match $cmp {
            Cmp::Eq => lanes_where(|i| get($a[i]) == get($b[i])),
            Cmp::Ne => lanes_where(|i| get($a[i]) != get($b[i])) & !either_nan(),
            Cmp::Lt => lanes_where(|i| get($a[i]) < get($b[i])),
            Cmp::Le => lanes_where(|i| get($a[i]) <= get($b[i])),
            Cmp::Gt => lanes_where(|i| get($a[i]) > get($b[i])),
            Cmp::Ge => lanes_where(|i| get($a[i]) >= get($b[i])),
            Cmp::EqU => lanes_where(|i| get($a[i]) == get($b[i])) | either_nan(),
            Cmp::NeU => lanes_where(|i| get($a[i]) != get($b[i])),
            Cmp::LtU => lanes_where(|i| get($a[i]) < get($b[i])) | either_nan(),
            Cmp::LeU => lanes_where(|i| get($a[i]) <= get($b[i])) | either_nan(),
            Cmp::GtU => lanes_where(|i| get($a[i]) > get($b[i])) | either_nan(),
            Cmp::GeU => lanes_where(|i| get($a[i]) >= get($b[i])) | either_nan(),
            Cmp::Num => !either_nan(),
            Cmp::Nan => either_nan(),
        }
    }};
}

over_lanes! {
    /// The lanes for which a comparison is true.
    pub fn compare(g: &Registers, ty: Num, cmp: Cmp, ftz: bool, a: R, b: R) -> u32 {
        let (wa, wb) = (a as usize, b as usize);
        match ty.bits() {
            64 => {
                let (a, b) = (&g.d[wa], &g.d[wb]);
                match ty {
                    Num::F64 => compare!(cmp, a, b, f64::from_bits, f64::is_nan),
                    Num::S64 => compare!(cmp, a, b, |v: u64| v as i64, |_| false),
                    _ => compare!(cmp, a, b, |v: u64| v, |_| false),
                }
            }
            _ => {
                let (a, b) = (&g.w[wa], &g.w[wb]);
                match ty {
                    Num::F32 if ftz => compare!(cmp, a, b, |v: u32| flush(f32::from_bits(v)), f32::is_nan),
                    Num::F32 => compare!(cmp, a, b, f32::from_bits, f32::is_nan),
                    Num::S32 => compare!(cmp, a, b, |v: u32| v as i32, |_| false),
                    Num::S16 => compare!(cmp, a, b, |v: u32| v as u16 as i16, |_| false),
                    Num::U16 => compare!(cmp, a, b, |v: u32| v as u16, |_| false),
                    _ => compare!(cmp, a, b, |v: u32| v, |_| false),
                }
            }
        }
    }
}

/// The lanes whose value is of a class.
pub fn test(g: &Registers, test: Test, wide: bool, a: R) -> u32 {
    use std::num::FpCategory::{Infinite, Nan, Normal, Subnormal, Zero};
    lanes_where(|i| {
        let class = if wide {
            f64::from_bits(g.d[a as usize][i]).classify()
        } else {
            f32::from_bits(g.w[a as usize][i]).classify()
        };
        match test {
            Test::Finite => matches!(class, Normal | Subnormal | Zero),
            Test::Infinite => class == Infinite,
            Test::Number => class != Nan,
            Test::NotANumber => class == Nan,
            // Zero counts as normal for testp.
            Test::Normal => matches!(class, Normal | Zero),
            Test::Subnormal => class == Subnormal,
        }
    })
}
