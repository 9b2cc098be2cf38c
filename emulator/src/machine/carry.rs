//! Arithmetic of several words: `add.cc`, `addc`, `sub.cc`, `subc`, `mad.cc` and `madc` with the warp's carry flags.

use super::simd::lanes;
use super::warp::Registers;
use crate::ptx::inst::{Carry, R};

/// One instruction. The carry of a subtraction is its borrow.
pub fn carry(g: &mut Registers, mask: u32, f: Carry, d: R, a: R, b: R, c: R) {
    let bits = if f.wide { 64 } else { 32 };
    let get = |g: &Registers, r: R, lane: usize| -> u128 {
        if f.wide { g.d[r as usize][lane].into() } else { g.w[r as usize][lane].into() }
    };
    for lane in lanes(mask) {
        let (x, y, z) = (get(g, a, lane), get(g, b, lane), get(g, c, lane));
        let flag = u128::from(f.takes && g.carry >> lane & 1 == 1);
        let low = (1u128 << bits) - 1;
        // The terms of the sum, or what is subtracted from what.
        let (left, right) = match f.high {
            None => (x, y),
            Some(false) => ((x * y) & low, z),
            Some(true) if f.signed => {
                let extend = |v: u128| (v << (128 - bits)) as i128 >> (128 - bits);
                ((extend(x).wrapping_mul(extend(y)) >> bits) as u128 & low, z)
            }
            Some(true) => ((x * y) >> bits, z),
        };
        let (value, out) = if f.subtracts {
            (left.wrapping_sub(right + flag), left < right + flag)
        } else {
            (left + right + flag, left + right + flag > low)
        };
        if f.wide {
            g.d[d as usize][lane] = value as u64;
        } else {
            g.w[d as usize][lane] = value as u32;
        }
        if f.gives {
            g.carry = g.carry & !(1 << lane) | u32::from(out) << lane;
        }
    }
}
