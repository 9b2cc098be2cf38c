//! Conversions between the types of values.

use super::float::{NAN32, direct, flush};
use super::simd::{Wide, Word, over_lanes, put};
use super::warp::Registers;
use crate::ptx::inst::{Num, R, Round};

/// The value of a 16-bit float.
#[inline(always)]
pub fn from_half(ty: Num, bits: u16) -> f32 {
    if ty == Num::Bf16 {
        return f32::from_bits(u32::from(bits) << 16);
    }
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    match exponent {
        // Subnormal: the fraction counts units of 2^-24.
        0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The 16-bit float nearest to `x` in the sense of `round`. NaN is canonical (`0x7fff`).
#[inline(always)]
pub fn to_half(ty: Num, x: f64, round: Round) -> u16 {
    let (digits, lowest, infinity, top) = match ty {
        Num::Bf16 => (8, -126, 0x7f80u16, 128),
        _ => (11, -14, 0x7c00, 16),
    };
    if x.is_nan() {
        return 0x7fff;
    }
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = x.abs();
    if magnitude == 0.0 || magnitude.is_infinite() {
        return sign | if magnitude == 0.0 { 0 } else { infinity };
    }
    // The unit in the last place at this magnitude; scaling by a power of two is exact, since f64 has room to spare.
    let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(lowest);
    let unit = exponent - (digits - 1);
    let scaled = magnitude * 2f64.powi(-unit);
    let negative = sign != 0;
    let whole = match round {
        Round::Nearest => scaled.round_ties_even(),
        Round::Away => scaled.round(),
        Round::Zero => scaled.floor(),
        Round::Down => {
            if negative {
                scaled.ceil()
            } else {
                scaled.floor()
            }
        }
        Round::Up => {
            if negative {
                scaled.floor()
            } else {
                scaled.ceil()
            }
        }
    };
    if whole * 2f64.powi(unit) >= 2f64.powi(top) {
        // Past the largest number: infinity, or that number where rounding goes toward zero.
        let inward = match round {
            Round::Zero => true,
            Round::Down => !negative,
            Round::Up => negative,
            _ => false,
        };
        return sign | if inward { infinity - 1 } else { infinity };
    }
    // Biased so that a carry out of the fraction reaches the exponent by itself.
    let fraction_bits = digits - 1;
    let biased = ((exponent - lowest + 1) as u64) << fraction_bits;
    sign | (biased + whole as u64 - (1 << fraction_bits)) as u16
}

/// TF32: f32 with the low 13 bits of the fraction rounded away.
#[inline(always)]
fn to_tf32(x: f32, round: Round) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() {
        return NAN32;
    }
    match round {
        Round::Nearest => bits.wrapping_add(0xfff + (bits >> 13 & 1)) & !0x1fff,
        Round::Away => bits.wrapping_add(0x1000) & !0x1fff,
        _ => bits & !0x1fff,
    }
}

/// Two's complement of a source operand, extended to 128 bits.
#[inline(always)]
fn integer(ty: Num, bits: u64) -> i128 {
    match ty {
        Num::U8 => i128::from(bits as u8),
        Num::S8 => i128::from(bits as i8),
        Num::U16 => i128::from(bits as u16),
        Num::S16 => i128::from(bits as i16),
        Num::U32 => i128::from(bits as u32),
        Num::S32 => i128::from(bits as i32),
        Num::S64 => i128::from(bits as i64),
        _ => i128::from(bits),
    }
}

#[inline(always)]
fn real(ty: Num, bits: u64) -> f64 {
    match ty {
        Num::F16 | Num::Bf16 => f64::from(from_half(ty, bits as u16)),
        Num::F64 => f64::from_bits(bits),
        _ => f64::from(f32::from_bits(bits as u32)),
    }
}

#[inline(always)]
fn integral(x: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => x.round_ties_even(),
        Round::Away => x.round(),
        Round::Zero => x.trunc(),
        Round::Down => x.floor(),
        Round::Up => x.ceil(),
    }
}

/// A float of type `to` from an exact value `x`, or from the integer `whole` where there is one.
#[inline(always)]
fn to_float(to: Num, x: f64, whole: Option<i128>, round: Round) -> u64 {
    match to {
        Num::F64 => x.to_bits(),
        Num::F16 | Num::Bf16 => u64::from(to_half(to, x, round)),
        Num::Tf32 => u64::from(to_tf32(x as f32, round)),
        _ => {
            let r = whole.map_or(x as f32, |w| w as f32);
            let above = match whole {
                Some(w) => (w - r as i128) as f64,
                None => x - f64::from(r),
            };
            let r = if round == Round::Nearest { r } else { direct(r, above, round) };
            u64::from(if r.is_nan() { NAN32 } else { r.to_bits() })
        }
    }
}

/// Converts one value. Float to integer clamps to the range of the target, and NaN becomes 0.
#[inline(always)]
fn convert(from: Num, to: Num, round: Option<Round>, ftz: bool, sat: bool, relu: bool, bits: u64) -> u64 {
    let nearest = round.unwrap_or(Round::Nearest);
    if !from.float() {
        let whole = integer(from, bits);
        if to.float() {
            let value = to_float(to, whole as f64, Some(whole), nearest);
            return if sat { saturate(to, value) } else { value };
        }
        let clamped = if sat { clamp(to, whole) } else { whole };
        return truncate(to, clamped as u64);
    }
    let mut x = real(from, bits);
    if ftz && from == Num::F32 {
        x = f64::from(flush(x as f32));
    }
    if !to.float() {
        let whole = integral(x, nearest);
        // `as` clamps to i128 and makes NaN 0.
        return truncate(to, clamp(to, whole as i128) as u64);
    }
    if from == to && round.is_some() {
        x = integral(x, nearest);
    }
    if relu && x <= 0.0 {
        x = 0.0;
    }
    let value = to_float(to, x, None, nearest);
    let value = if ftz && to == Num::F32 { u64::from(flush(f32::from_bits(value as u32)).to_bits()) } else { value };
    if sat { saturate(to, value) } else { value }
}

#[inline(always)]
fn saturate(to: Num, bits: u64) -> u64 {
    let x = real(to, bits);
    if x > 0.0 { if x < 1.0 { bits } else { to_float(to, 1.0, None, Round::Nearest) } } else { 0 }
}

#[inline(always)]
fn clamp(to: Num, v: i128) -> i128 {
    let bits = to.bits();
    if to.signed() { v.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { v.clamp(0, (1 << bits) - 1) }
}

/// The register contents of an integer: a signed byte fills a 16-bit register.
#[inline(always)]
fn truncate(to: Num, v: u64) -> u64 {
    match to {
        Num::U8 => v & 0xff,
        Num::S8 => u64::from(v as i8 as i16 as u16),
        Num::U16 | Num::S16 => v & 0xffff,
        Num::U32 | Num::S32 => v & 0xffff_ffff,
        _ => v,
    }
}

over_lanes! {
    /// `cvt`.
    pub fn cvt(
        g: &mut Registers, mask: u32, from: Num, to: Num, round: Option<Round>, ftz: bool, sat: bool, relu: bool, d: R, a: R,
        from_wide: bool,
    ) {
        let i = a as usize;
        let plain = !ftz && !sat && !relu;
        let mut word: Word = [0; 32];
        let mut wide: Wide = [0; 32];
        // The conversions of index arithmetic and of mixed precision have loops of their own.
        match (from, to) {
            (Num::S32, Num::S64 | Num::U64) if plain => {
                for k in 0..32 { wide[k] = g.w[i][k] as i32 as i64 as u64 }
            }
            (Num::U32, Num::S64 | Num::U64) if plain => {
                for k in 0..32 { wide[k] = u64::from(g.w[i][k]) }
            }
            (Num::S64 | Num::U64, Num::S32 | Num::U32) if plain => {
                for k in 0..32 { word[k] = g.d[i][k] as u32 }
            }
            (Num::S32, Num::F32) if plain && round == Some(Round::Nearest) => {
                for k in 0..32 { word[k] = (g.w[i][k] as i32 as f32).to_bits() }
            }
            (Num::U32, Num::F32) if plain && round == Some(Round::Nearest) => {
                for k in 0..32 { word[k] = (g.w[i][k] as f32).to_bits() }
            }
            (Num::F32, Num::S32) if plain && round == Some(Round::Zero) => {
                for k in 0..32 { word[k] = f32::from_bits(g.w[i][k]) as i32 as u32 }
            }
            (Num::Bf16, Num::F32) if plain => {
                for k in 0..32 { word[k] = g.w[i][k] << 16 }
            }
            (Num::F32, Num::F32) if sat && round.is_none() => {
                for k in 0..32 {
                    let x = f32::from_bits(g.w[i][k]);
                    let x = if ftz { flush(x) } else { x };
                    word[k] = if x > 0.0 { x.min(1.0).to_bits() } else { 0 };
                }
            }
            (Num::F32, Num::Bf16) if plain && round == Some(Round::Nearest) => {
                for k in 0..32 {
                    let bits = g.w[i][k];
                    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
                    word[k] = if f32::from_bits(bits).is_nan() { 0x7fff } else { rounded };
                }
            }
            _ => {
                for k in 0..32 {
                    let bits = if from_wide { g.d[i][k] } else { u64::from(g.w[i][k]) };
                    wide[k] = convert(from, to, round, ftz, sat, relu, bits);
                    word[k] = wide[k] as u32;
                }
            }
        }
        if to.bits() == 64 { put(&mut g.d[d as usize], wide, mask) } else { put(&mut g.w[d as usize], word, mask) }
    }
}

over_lanes! {
    /// `cvt` of two f32 into the halves of a register.
    pub fn cvt_pair(g: &mut Registers, mask: u32, to: Num, round: Round, relu: bool, d: R, a: R, b: R) {
        let (a, b) = (&g.w[a as usize], &g.w[b as usize]);
        let mut out: Word = [0; 32];
        let one = |bits: u32| {
            let x = f64::from(f32::from_bits(bits));
            u32::from(to_half(to, if relu && x <= 0.0 { 0.0 } else { x }, round))
        };
        for i in 0..32 {
            out[i] = one(a[i]) << 16 | one(b[i]);
        }
        put(&mut g.w[d as usize], out, mask);
    }
}
