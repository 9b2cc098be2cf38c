//! Tensor-core products and the loads that feed them. The fragment layouts are those of the PTX ISA, sections "Matrix fragments
//! for mma.m16n8k16", "... m16n8k8" and "ldmatrix".

use super::convert::from_half;
use super::execute::{Core, Stopped, at_lane};
use super::shared::{Access, Shared, extra_passes};
use super::simd::over_lanes;
use super::warp::{Registers, Warp};
use super::{SHARED_WINDOW, WINDOW};
use crate::fault::{Fault, Kind};
use crate::ptx::inst::{Addr, Matrix, Num, R};

impl Core<'_> {
    /// Checks that the whole warp executes a warp-wide instruction that has no member mask.
    pub fn whole_warp(&self, mask: u32, what: &str) -> Result<(), Stopped> {
        if mask == u32::MAX {
            return Ok(());
        }
        let lane = mask.trailing_zeros() as usize;
        let message = format!("{what} in divergent code: only lanes {mask:#010x} reach it together");
        Err(at_lane(lane, Fault::new(Kind::DivergentBarrier, message)))
    }

    /// `ldmatrix`: lanes 8m to 8m + 7 give the rows of matrix m, 16 bytes each; every lane receives two elements of it.
    pub fn ldmatrix(
        &mut self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        addr: &Addr,
        trans: bool,
        d: &[R],
    ) -> Result<(), Stopped> {
        self.whole_warp(mask, "ldmatrix")?;
        let mut at = warp.g.addresses(addr);
        if addr.space.is_none() {
            at = at.map(|a| if a.wrapping_sub(SHARED_WINDOW) < WINDOW { a - SHARED_WINDOW } else { u64::MAX });
        }
        for (m, &d) in d.iter().enumerate() {
            let mut rows = [[0u8; 16]; 8];
            for (row, bytes) in rows.iter_mut().enumerate() {
                let lane = 8 * m + row;
                let a =
                    shared.read(warp.index, lane, at[lane], 16, Access::Plain, true).map_err(|f| at_lane(lane, f))?;
                bytes.copy_from_slice(&shared.data[a..a + 16]);
            }
            self.counters.shared_accesses += 1;
            self.counters.bank_conflicts += extra_passes(&at, 0xff << (8 * m), 16);
            let element = |row: usize, column: usize| {
                u32::from(u16::from_le_bytes([rows[row][2 * column], rows[row][2 * column + 1]]))
            };
            for lane in 0..32 {
                let (group, two) = (lane / 4, lane % 4 * 2);
                warp.g.w[d as usize][lane] = if trans {
                    element(two, group) | element(two + 1, group) << 16
                } else {
                    element(group, two) | element(group, two + 1) << 16
                };
            }
        }
        shared.tick(warp.index);
        Ok(())
    }
}

/// The two 16-bit elements of a register.
#[inline(always)]
fn pair(ty: Matrix, bits: u32) -> [f32; 2] {
    let num = if ty == Matrix::Bf16 { Num::Bf16 } else { Num::F16 };
    [from_half(num, bits as u16), from_half(num, (bits >> 16) as u16)]
}

/// What a tensor core sees of an f32.
#[inline(always)]
fn tf32(bits: u32) -> f32 {
    f32::from_bits(bits & !0x1fff)
}

over_lanes! {
    /// `mma.sync` of 16 x k by k x 8: products are exact, their sum is taken in f64 in ascending k and rounded once.
    pub fn mma(g: &mut Registers, ty: Matrix, k: u32, d: &[R; 4], a: &[R], b: &[R], c: &[R; 4]) {
        let k = k as usize;
        let (mut left, mut right) = ([[0f32; 16]; 16], [[0f64; 8]; 16]);
        for lane in 0..32 {
            let (group, thread) = (lane / 4, lane % 4);
            // Registers of A alternate between rows `group` and `group + 8`, then move on to the next columns.
            for (i, &r) in a.iter().enumerate() {
                let (row, bits) = (group + i % 2 * 8, g.w[r as usize][lane]);
                if ty == Matrix::Tf32 {
                    left[row][thread + i / 2 * 4] = tf32(bits);
                } else {
                    let column = thread * 2 + i / 2 * 8;
                    [left[row][column], left[row][column + 1]] = pair(ty, bits);
                }
            }
            for (i, &r) in b.iter().enumerate() {
                let bits = g.w[r as usize][lane];
                if ty == Matrix::Tf32 {
                    right[thread + i * 4][group] = f64::from(tf32(bits));
                } else {
                    let row = thread * 2 + i * 8;
                    let [x, y] = pair(ty, bits);
                    (right[row][group], right[row + 1][group]) = (f64::from(x), f64::from(y));
                }
            }
        }
        let mut sums = [[0f64; 8]; 16];
        let place = |lane: usize, i: usize| (lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2);
        for lane in 0..32 {
            for i in 0..4 {
                let (row, column) = place(lane, i);
                sums[row][column] = f64::from(f32::from_bits(g.w[c[i] as usize][lane]));
            }
        }
        for row in 0..16 {
            for step in 0..k {
                let x = f64::from(left[row][step]);
                for column in 0..8 {
                    sums[row][column] += x * right[step][column];
                }
            }
        }
        for lane in 0..32 {
            for i in 0..4 {
                let (row, column) = place(lane, i);
                g.w[d[i] as usize][lane] = (sums[row][column] as f32).to_bits();
            }
        }
    }
}
