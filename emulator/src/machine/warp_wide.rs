//! Functions of all lanes of a warp: shuffles, votes, matches and reductions.

use super::execute::{Core, Stopped, at_lane};
use super::integer::value32;
use super::shared::Shared;
use super::simd::{lanes, lanes_where, put};
use super::warp::Warp;
use crate::fault::{Fault, Kind};
use crate::ptx::inst::{Int, R, Shuffle, Vote};

impl Core<'_> {
    /// Checks that the lanes a `.sync` instruction names are all here, and returns the lanes of `mask` in groups with one
    /// member mask each. Lanes that have exited are excused.
    pub fn members(&self, warp: &Warp, shared: &mut Shared, mask: u32, members: R) -> Result<Vec<(u32, u32)>, Stopped> {
        let named = &warp.g.w[members as usize];
        let (mut groups, mut rest) = (Vec::new(), mask);
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            let group = lanes(rest).filter(|&i| named[i] == named[lane]).fold(0, |m, i| m | 1 << i);
            let missing = named[lane] & warp.launched & !warp.exited & !group;
            if named[lane] >> lane & 1 == 0 || missing != 0 {
                let message = if missing == 0 {
                    format!(
                        "a warp-wide instruction whose member mask {:#010x} leaves out the lane that executes it",
                        named[lane]
                    )
                } else {
                    format!(
                        "a warp-wide instruction with member mask {:#010x} in divergent code: lanes {missing:#010x} do not reach it together with lanes {group:#010x}",
                        named[lane]
                    )
                };
                return Err(at_lane(lane, Fault::new(Kind::DivergentBarrier, message)));
            }
            groups.push((named[lane], group));
            rest &= !group;
        }
        shared.tick(warp.index);
        Ok(groups)
    }

    /// `shfl.sync`.
    pub fn shuffle(
        &self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        how: Shuffle,
        d: R,
        p: Option<R>,
        a: R,
        b: R,
        c: R,
        members: R,
    ) -> Result<(), Stopped> {
        self.members(warp, shared, mask, members)?;
        let (a, b, c) = (&warp.g.w[a as usize], &warp.g.w[b as usize], &warp.g.w[c as usize]);
        let (mut out, mut valid) = ([0; 32], 0u32);
        for lane in lanes(mask) {
            let me = lane as u32;
            let (by, clamp, segment) = (b[lane] & 0x1f, c[lane] & 0x1f, c[lane] >> 8 & 0x1f);
            // Lanes of a segment share the bits of `segment`; `last` is the highest (or, for up, lowest) lane to read from.
            let last = (me & segment) | (clamp & !segment);
            let first = me & segment;
            let (from, inside) = match how {
                Shuffle::Up => (me.wrapping_sub(by), me as i32 - by as i32 >= last as i32),
                Shuffle::Down => (me + by, me + by <= last),
                Shuffle::Butterfly => (me ^ by, me ^ by <= last),
                Shuffle::Index => (first | (by & !segment), (first | (by & !segment)) <= last),
            };
            let from = if inside { from } else { me };
            if mask >> from & 1 == 0 {
                let message = format!("a shuffle reads lane {from}, which does not take part in it");
                return Err(at_lane(lane, Fault::new(Kind::DivergentBarrier, message)));
            }
            out[lane] = a[from as usize];
            valid |= u32::from(inside) << lane;
        }
        put(&mut warp.g.w[d as usize], out, mask);
        if let Some(p) = p {
            set(&mut warp.g.p[p as usize], valid, mask);
        }
        Ok(())
    }

    /// `vote.sync`.
    pub fn vote(
        &self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        how: Vote,
        d: R,
        votes: u32,
        members: R,
    ) -> Result<(), Stopped> {
        for (_, group) in self.members(warp, shared, mask, members)? {
            let yes = votes & group;
            let answer = match how {
                Vote::All => yes == group,
                Vote::Any => yes != 0,
                Vote::Uniform => yes == group || yes == 0,
                Vote::Ballot => {
                    put(&mut warp.g.w[d as usize], [yes; 32], group);
                    continue;
                }
            };
            set(&mut warp.g.p[d as usize], if answer { group } else { 0 }, group);
        }
        Ok(())
    }

    /// `match.sync`.
    pub fn matching(
        &self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        all: bool,
        wide: bool,
        d: R,
        p: Option<R>,
        a: R,
        members: R,
    ) -> Result<(), Stopped> {
        for (_, group) in self.members(warp, shared, mask, members)? {
            let value = |i: usize| if wide { warp.g.d[a as usize][i] } else { u64::from(warp.g.w[a as usize][i]) };
            let mut out = [0; 32];
            for lane in lanes(group) {
                out[lane] = group & lanes_where(|i| value(i) == value(lane));
            }
            let agree = lanes(group).all(|lane| out[lane] == group);
            if all && !agree {
                out = [0; 32];
            }
            put(&mut warp.g.w[d as usize], out, group);
            if let Some(p) = p {
                set(&mut warp.g.p[p as usize], if agree { group } else { 0 }, group);
            }
        }
        Ok(())
    }

    /// `redux.sync`.
    pub fn reduce(
        &self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        f: Int,
        d: R,
        a: R,
        members: R,
    ) -> Result<(), Stopped> {
        for (_, group) in self.members(warp, shared, mask, members)? {
            let a = &warp.g.w[a as usize];
            let total = lanes(group).map(|i| a[i]).reduce(|x, y| value32(f, x, y, 0).expect("a reduction"));
            put(&mut warp.g.w[d as usize], [total.unwrap_or(0); 32], group);
        }
        Ok(())
    }
}

/// Sets the bits of `mask` in a predicate.
#[inline(always)]
pub fn set(p: &mut u32, value: u32, mask: u32) {
    *p = *p & !mask | value & mask;
}
