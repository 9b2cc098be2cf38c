//! Moves and selections over lanes.

use super::simd::{lanes_where, over_lanes, put};
use super::warp::Registers;
use crate::ptx::inst::R;

over_lanes! {
    /// `mov` of 32 bits.
    pub fn mov32(g: &mut Registers, mask: u32, d: R, a: R) {
        let value = g.w[a as usize];
        put(&mut g.w[d as usize], value, mask);
    }
}

over_lanes! {
    /// `mov` of 64 bits.
    pub fn mov64(g: &mut Registers, mask: u32, d: R, a: R) {
        let value = g.d[a as usize];
        put(&mut g.d[d as usize], value, mask);
    }
}

over_lanes! {
    /// `a` in the lanes of `first`, `b` in the others.
    pub fn select32(g: &mut Registers, mask: u32, d: R, a: R, b: R, first: u32) {
        let mut out = g.w[b as usize];
        put(&mut out, g.w[a as usize], first);
        put(&mut g.w[d as usize], out, mask);
    }
}

over_lanes! {
    /// `a` in the lanes of `first`, `b` in the others.
    pub fn select64(g: &mut Registers, mask: u32, d: R, a: R, b: R, first: u32) {
        let mut out = g.d[b as usize];
        put(&mut out, g.d[a as usize], first);
        put(&mut g.d[d as usize], out, mask);
    }
}

over_lanes! {
    /// The lanes in which `slct` takes its first operand: those where `c` is not negative. NaN counts as negative.
    pub fn not_negative(g: &Registers, float: bool, c: R) -> u32 {
        let c = &g.w[c as usize];
        if float { lanes_where(|i| f32::from_bits(c[i]) >= 0.0) } else { lanes_where(|i| c[i] as i32 >= 0) }
    }
}

over_lanes! {
    /// Elements of `bits` bits into one register, the first into the lowest bits.
    pub fn pack(g: &mut Registers, mask: u32, d: R, to_wide: bool, bits: u32, parts: &[R]) {
        let (mut out, keep) = ([0u64; 32], u64::MAX >> (64 - bits));
        for (k, &r) in parts.iter().enumerate() {
            for i in 0..32 {
                out[i] |= (u64::from(g.w[r as usize][i]) & keep) << (k as u32 * bits);
            }
        }
        if to_wide { put(&mut g.d[d as usize], out, mask) } else { put(&mut g.w[d as usize], out.map(|v| v as u32), mask) }
    }
}

over_lanes! {
    /// One register into elements of `bits` bits, the lowest bits into the first.
    pub fn unpack(g: &mut Registers, mask: u32, a: R, from_wide: bool, bits: u32, parts: &[Option<R>]) {
        let value = if from_wide { g.d[a as usize] } else { g.w[a as usize].map(u64::from) };
        let keep = u64::MAX >> (64 - bits);
        for (k, r) in parts.iter().enumerate() {
            if let Some(r) = r {
                put(&mut g.w[*r as usize], value.map(|v| (v >> (k as u32 * bits) & keep) as u32), mask);
            }
        }
    }
}

over_lanes! {
    /// Adds `by` to a 64-bit register.
    pub fn offset64(g: &mut Registers, mask: u32, d: R, a: R, by: u64) {
        let mut value = g.d[a as usize];
        for i in 0..32 {
            value[i] = value[i].wrapping_add(by);
        }
        put(&mut g.d[d as usize], value, mask);
    }
}
