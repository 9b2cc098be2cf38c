//! Integer arithmetic over lanes.

use super::simd::{Wide, Word, over_lanes, put};
use super::warp::Registers;
use crate::ptx::inst::{Int, R};

macro_rules! functions {
    ($value:ident, $signed:ty, $unsigned:ty, $double_s:ty, $double_u:ty) => {
        /// Functions that exist at every width, on one lane. Shift amounts have been clamped by the caller.
        #[inline(always)]
        pub fn $value(f: Int, a: $unsigned, b: $unsigned, c: $unsigned) -> Option<$unsigned> {
            const BITS: u32 = <$unsigned>::BITS;
            let (sa, sb) = (a as $signed, b as $signed);
            let high_s = || ((sa as $double_s * sb as $double_s) >> BITS) as $unsigned;
            let high_u = || ((a as $double_u * b as $double_u) >> BITS) as $unsigned;
            Some(match f {
                Int::Add => a.wrapping_add(b),
                Int::Sub => a.wrapping_sub(b),
                Int::AddSat => sa.saturating_add(sb) as $unsigned,
                Int::SubSat => sa.saturating_sub(sb) as $unsigned,
                Int::MulLo => a.wrapping_mul(b),
                Int::MulHiS => high_s(),
                Int::MulHiU => high_u(),
                Int::MadLo => a.wrapping_mul(b).wrapping_add(c),
                Int::MadHiS => high_s().wrapping_add(c),
                Int::MadHiU => high_u().wrapping_add(c),
                // Division by zero has no defined result in PTX; hardware gives all ones, and the dividend as remainder.
                Int::DivS => {
                    if b == 0 {
                        <$unsigned>::MAX
                    } else {
                        sa.wrapping_div(sb) as $unsigned
                    }
                }
                Int::DivU => a.checked_div(b).unwrap_or(<$unsigned>::MAX),
                Int::RemS => {
                    if b == 0 {
                        a
                    } else {
                        sa.wrapping_rem(sb) as $unsigned
                    }
                }
                Int::RemU => a.checked_rem(b).unwrap_or(a),
                Int::MinS => sa.min(sb) as $unsigned,
                Int::MinU => a.min(b),
                Int::MaxS => sa.max(sb) as $unsigned,
                Int::MaxU => a.max(b),
                Int::SadS => c.wrapping_add(sa.abs_diff(sb)),
                Int::SadU => c.wrapping_add(a.abs_diff(b)),
                Int::Neg => a.wrapping_neg(),
                Int::Abs => sa.wrapping_abs() as $unsigned,
                Int::And => a & b,
                Int::Or => a | b,
                Int::Xor => a ^ b,
                Int::Not => !a,
                Int::Cnot => (a == 0) as $unsigned,
                Int::Brev => a.reverse_bits(),
                _ => return None,
            })
        }
    };
}
functions!(value32, i32, u32, i64, u64);
functions!(value64, i64, u64, i128, u128);

/// A left shift whose amount may pass the width.
#[inline(always)]
fn shl(a: u64, by: u32, bits: u32) -> u64 {
    if by >= bits { 0 } else { a << by }
}

/// The field of `len` bits at bit `pos`, as `bfe` defines it; past the top a signed field is filled with the sign.
#[inline(always)]
fn bfe(a: u64, pos: u32, len: u32, bits: u32, signed: bool) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let top = bits - 1;
    let sign = signed && len != 0 && a >> (pos + len - 1).min(top) & 1 == 1;
    let kept = if pos >= bits { 0 } else { a >> pos };
    let have = bits.saturating_sub(pos);
    let field = len.min(have).min(bits);
    let mask = if field == 0 { 0 } else { u64::MAX >> (64 - field) };
    let all = u64::MAX >> (64 - bits);
    // Bits of the field that lie past the top, and all bits above it, repeat the sign.
    (if sign { kept & mask | !mask } else { kept & mask }) & all
}

/// `b` with `len` bits of `a` inserted at bit `pos`.
#[inline(always)]
fn bfi(a: u64, b: u64, pos: u32, len: u32, bits: u32) -> u64 {
    let (pos, len) = (pos & 0xff, (len & 0xff).min(bits));
    if len == 0 || pos >= bits {
        return b;
    }
    let mask = (u64::MAX >> (64 - len)) << pos & (u64::MAX >> (64 - bits));
    b & !mask | a << pos & mask
}

/// `prmt` in its default mode: every nibble of `c` selects a byte of `b:a`, or its sign.
#[inline(always)]
fn prmt(a: u32, b: u32, c: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let mut out = 0;
    for i in 0..4 {
        let select = c >> (4 * i) & 0xf;
        let byte = (bytes >> (8 * (select & 7))) as u32 & 0xff;
        let byte = if select & 8 == 0 { byte } else { (byte >> 7) * 0xff };
        out |= byte << (8 * i);
    }
    out
}

/// Any function of three bits, given as its truth table.
#[inline(always)]
fn lop3(table: u8, a: u32, b: u32, c: u32) -> u32 {
    let mut out = 0;
    for row in 0..8u32 {
        let (pa, pb, pc) = (row >> 2 & 1, row >> 1 & 1, row & 1);
        let agree = !(a ^ pa.wrapping_neg()) & !(b ^ pb.wrapping_neg()) & !(c ^ pc.wrapping_neg());
        out |= agree & (u32::from(table) >> row & 1).wrapping_neg();
    }
    out
}

/// `bfind`: the position of the highest bit that differs from the sign (or is one), or how far it is from the top; all ones if
/// there is none.
#[inline(always)]
fn bfind(f: Int, a: u64, bits: u32) -> u32 {
    let signed = matches!(f, Int::BfindS | Int::BfindShiftS);
    let a = if signed && a >> (bits - 1) & 1 == 1 { !a & (u64::MAX >> (64 - bits)) } else { a };
    let position = 63u32.wrapping_sub(a.leading_zeros());
    let shift = matches!(f, Int::BfindShiftS | Int::BfindShiftU) && a != 0;
    if shift { bits - 1 - position } else { position }
}

over_lanes! {
    /// One 32-bit function.
    pub fn int32(g: &mut Registers, mask: u32, f: Int, d: R, a: R, b: R, c: R) {
        let (a, b, c) = (&g.w[a as usize], &g.w[b as usize], &g.w[c as usize]);
        let mut out: Word = [0; 32];
        // The function is a constant in each arm, so that each arm is a loop of its own that can be vectorised.
        macro_rules! arms {
            ($($f:ident)*) => {
                match f {
                    $(Int::$f => for i in 0..32 { out[i] = value32(Int::$f, a[i], b[i], c[i]).unwrap_or(0) },)*
                    Int::Shl => for i in 0..32 { out[i] = if b[i] > 31 { 0 } else { a[i] << (b[i] & 31) } },
                    Int::ShrU => for i in 0..32 { out[i] = if b[i] > 31 { 0 } else { a[i] >> (b[i] & 31) } },
                    Int::ShrS => for i in 0..32 { out[i] = ((a[i] as i32) >> b[i].min(31)) as u32 },
                    Int::BfeU => for i in 0..32 { out[i] = bfe(a[i].into(), b[i], c[i], 32, false) as u32 },
                    Int::BfeS => for i in 0..32 { out[i] = bfe(a[i].into(), b[i], c[i], 32, true) as u32 },
                    Int::Prmt => for i in 0..32 { out[i] = prmt(a[i], b[i], c[i]) },
                    Int::Lop3(table) => for i in 0..32 { out[i] = lop3(table, a[i], b[i], c[i]) },
                    Int::ShfLWrap | Int::ShfLClamp | Int::ShfRWrap | Int::ShfRClamp => for i in 0..32 {
                        let wrap = matches!(f, Int::ShfLWrap | Int::ShfRWrap);
                        let by = if wrap { c[i] & 31 } else { c[i].min(32) };
                        let both = u64::from(b[i]) << 32 | u64::from(a[i]);
                        let left = matches!(f, Int::ShfLWrap | Int::ShfLClamp);
                        out[i] = if left { (both << by >> 32) as u32 } else { (both >> by) as u32 };
                    },
                    Int::Popc => for i in 0..32 { out[i] = a[i].count_ones() },
                    Int::Clz => for i in 0..32 { out[i] = a[i].leading_zeros() },
                    Int::BfindU | Int::BfindS | Int::BfindShiftU | Int::BfindShiftS => for i in 0..32 { out[i] = bfind(f, a[i].into(), 32) },
                    Int::Mul24U => for i in 0..32 { out[i] = (a[i] & 0xff_ffff).wrapping_mul(b[i] & 0xff_ffff) },
                    Int::Mul24S => for i in 0..32 {
                        let low = |v: u32| (v << 8) as i32 >> 8;
                        out[i] = low(a[i]).wrapping_mul(low(b[i])) as u32;
                    },
                }
            };
        }
        arms!(Add Sub AddSat SubSat MulLo MulHiS MulHiU MadLo MadHiS MadHiU DivS DivU RemS RemU MinS MinU MaxS MaxU SadS SadU
              Neg Abs And Or Xor Not Cnot Brev);
        put(&mut g.w[d as usize], out, mask);
    }
}

over_lanes! {
    /// One 64-bit function. Shift amounts, positions and lengths are 32-bit registers.
    pub fn int64(g: &mut Registers, mask: u32, f: Int, d: R, a: R, b: R, c: R) {
        let mut out: Wide = [0; 32];
        let first = &g.d[a as usize];
        match f {
            Int::Shl | Int::ShrU | Int::ShrS => {
                let by = &g.w[b as usize];
                match f {
                    Int::Shl => for i in 0..32 { out[i] = shl(first[i], by[i], 64) },
                    Int::ShrU => for i in 0..32 { out[i] = if by[i] > 63 { 0 } else { first[i] >> by[i] } },
                    _ => for i in 0..32 { out[i] = (first[i] as i64 >> by[i].min(63)) as u64 },
                }
            }
            Int::BfeU | Int::BfeS => {
                let (pos, len) = (&g.w[b as usize], &g.w[c as usize]);
                for i in 0..32 {
                    out[i] = bfe(first[i], pos[i], len[i], 64, f == Int::BfeS);
                }
            }
            _ => {
                let (b, c) = (&g.d[b as usize], &g.d[c as usize]);
                macro_rules! arms {
                    ($($f:ident)*) => {
                        match f {
                            $(Int::$f => for i in 0..32 { out[i] = value64(Int::$f, first[i], b[i], c[i]).unwrap_or(0) },)*
                            _ => unreachable!("not decoded for 64 bits"),
                        }
                    };
                }
                arms!(Add Sub MulLo MulHiS MulHiU MadLo MadHiS MadHiU DivS DivU RemS RemU MinS MinU MaxS MaxU SadS SadU
                      Neg Abs And Or Xor Not Cnot Brev);
            }
        }
        put(&mut g.d[d as usize], out, mask);
    }
}

over_lanes! {
    /// One 16-bit function: the 32-bit one on extended operands, cut back to 16 bits.
    pub fn int16(g: &mut Registers, mask: u32, f: Int, signed: bool, d: R, a: R, b: R, c: R) {
        let (a, b, c) = (&g.w[a as usize], &g.w[b as usize], &g.w[c as usize]);
        let extend = |v: u32| if signed { v as u16 as i16 as i32 as u32 } else { v & 0xffff };
        let mut out: Word = [0; 32];
        for i in 0..32 {
            let (x, y, z) = (extend(a[i]), extend(b[i]), extend(c[i]));
            let value = match f {
                Int::Shl => shl(x.into(), b[i], 16) as u32,
                Int::ShrU | Int::ShrS if signed => (x as i32 >> b[i].min(31)) as u32,
                Int::ShrU | Int::ShrS => if b[i] > 15 { 0 } else { x >> b[i] },
                Int::MulHiS | Int::MulHiU => x.wrapping_mul(y) >> 16,
                Int::MadHiS | Int::MadHiU => (x.wrapping_mul(y) >> 16).wrapping_add(z),
                Int::DivS | Int::DivU if y == 0 => 0xffff,
                _ => value32(f, x, y, z).expect("decoded for 16 bits"),
            };
            out[i] = value & 0xffff;
        }
        put(&mut g.w[d as usize], out, mask);
    }
}

over_lanes! {
    /// `popc`, `clz` and `bfind` of 64 bits.
    pub fn count64(g: &mut Registers, mask: u32, f: Int, d: R, a: R) {
        let a = &g.d[a as usize];
        let mut out: Word = [0; 32];
        for i in 0..32 {
            out[i] = match f {
                Int::Popc => a[i].count_ones(),
                Int::Clz => a[i].leading_zeros(),
                _ => bfind(f, a[i], 64),
            };
        }
        put(&mut g.w[d as usize], out, mask);
    }
}

over_lanes! {
    /// `a b + c` of 32-bit factors in 64 bits.
    pub fn wide32(g: &mut Registers, mask: u32, signed: bool, d: R, a: R, b: R, c: R) {
        let (a, b, c) = (&g.w[a as usize], &g.w[b as usize], &g.d[c as usize]);
        let mut out: Wide = [0; 32];
        if signed {
            for i in 0..32 {
                out[i] = (i64::from(a[i] as i32) * i64::from(b[i] as i32)).wrapping_add(c[i] as i64) as u64;
            }
        } else {
            for i in 0..32 {
                out[i] = (u64::from(a[i]) * u64::from(b[i])).wrapping_add(c[i]);
            }
        }
        put(&mut g.d[d as usize], out, mask);
    }
}

over_lanes! {
    /// `a b + c` of 16-bit factors in 32 bits.
    pub fn wide16(g: &mut Registers, mask: u32, signed: bool, d: R, a: R, b: R, c: R) {
        let (a, b, c) = (&g.w[a as usize], &g.w[b as usize], &g.w[c as usize]);
        let extend = |v: u32| if signed { v as u16 as i16 as i32 as u32 } else { v & 0xffff };
        let mut out: Word = [0; 32];
        for i in 0..32 {
            out[i] = extend(a[i]).wrapping_mul(extend(b[i])).wrapping_add(c[i]);
        }
        put(&mut g.w[d as usize], out, mask);
    }
}

over_lanes! {
    /// `bfi` of 32 bits.
    pub fn bfi32(g: &mut Registers, mask: u32, d: R, a: R, b: R, pos: R, len: R) {
        let (a, b, pos, len) = (&g.w[a as usize], &g.w[b as usize], &g.w[pos as usize], &g.w[len as usize]);
        let mut out: Word = [0; 32];
        for i in 0..32 {
            out[i] = bfi(a[i].into(), b[i].into(), pos[i], len[i], 32) as u32;
        }
        put(&mut g.w[d as usize], out, mask);
    }
}

over_lanes! {
    /// `bfi` of 64 bits.
    pub fn bfi64(g: &mut Registers, mask: u32, d: R, a: R, b: R, pos: R, len: R) {
        let (a, b, pos, len) = (&g.d[a as usize], &g.d[b as usize], &g.w[pos as usize], &g.w[len as usize]);
        let mut out: Wide = [0; 32];
        for i in 0..32 {
            out[i] = bfi(a[i], b[i], pos[i], len[i], 64);
        }
        put(&mut g.d[d as usize], out, mask);
    }
}
