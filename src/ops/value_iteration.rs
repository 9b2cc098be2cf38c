//! Value iteration on a map: what each motion of the agent is worth, if every cell pays and lets on as it is told.
//!
//! The agent stands on the middle cell of a map of S x S cells and looks towards row 0. Entering cell c pays r_c, and with o_c it goes on from there. With
//! c + h the cell ahead of c for who looks in direction h (up, right, down, left), V_0 = 0, and the discount a:
//! ```text
//! (B3) o_c        = sigmoid(u_c + 2)
//! (B4) A_t(c, h)  = r_{c+h} + a o_{c+h} V_{t-1}(c+h, h)             0 where the map ends
//! (B5) V_t(c, h)  = max(a V_{t-1}(c, h-1), a V_{t-1}(c, h+1), A_t(c, h))
//! (B6) q          = the three of (B5) for the middle, looking up, at t = T;   v = max q
//! (B7) y          = [v, (q_left - v) / (1 - a), (q_right - v) / (1 - a), (q_ahead - v) / (1 - a)]
//! ```
//! The last three are what the motions lose against the best of them, in steps: to turn away and back costs (1 - a^2) v / (1 - a), about 2 v.
//!
//! A maximum is as good as the way that leads to it: forward notes the T motions of the best way from each of the three, and all that is left for backward
//! are sums along these ways. Entering cell c at step s of one, g_s being what came so far and V_s what comes from there on:
//! ```text
//! (B8) g_0 = dq_m = dy_m / (1 - a), and the best of the three gains dy_0 - sum dy_m / (1 - a)
//! (B9) V_s = r_c + a o_c V_{s+1},  g_{s+1} = a o_c g_s               for a turn V_s = a V_{s+1},  g_{s+1} = a g_s
//!      dr_c += g_s,  du_c += o_c (1 - o_c) a g_s V_{s+1}
//! ```
//! Source: Tamar et al., 2016, "Value Iteration Networks", where convolutions learn how an agent moves; here it turns and goes as MiniGrid's does.
//!
//! | tensor | shape |
//! |---|---|
//! | x | [rows, S S 2]: r and u of each cell, row by row |
//! | y | [rows, 4] |
//! | way | [rows, 3 T]: 1 + the number of the cell that is entered, 0 for a turn |
//! | later | [rows, 3 T]: V_{s+1} |

use crate::autodiff::op::{Backward, Cost, Forward, Op, Reads, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{Entry, ValueIterationBackward, ValueIterationForward},
};

/// Numbers that the op gives for each row.
pub const PLANNED: usize = 4;
/// Directions to look in.
const HEADINGS: usize = 4;
/// Left, right, ahead.
const MOTIONS: usize = 3;
/// The last of them.
const AHEAD: usize = 2;
/// Added to the logits of (B3), so that an untrained layer lets the agent on.
const OPEN: f64 = 2.0;

impl<R: Real> Graph<R> {
    /// (B3) to (B7) of maps x [n, S S 2], after `sweeps` T of (B5), with this discount.
    pub fn value_iteration(&mut self, x: Var, side: usize, sweeps: usize, discount: f64) -> Var {
        assert!(
            side % 2 == 1 && side > 1 && sweeps > 0,
            "value_iteration: {sweeps} sweeps of a map of {side} cells a side"
        );
        assert_eq!(self.width(x), 2 * side * side, "value_iteration: two numbers for each cell of {side} x {side}");
        let (out, way) = (self.with_width(x, PLANNED), self.with_width(x, MOTIONS * sweeps));
        let op = ValueIteration { rows: self.height(x), side, sweeps, discount };
        let [y, _, _] = self.call(op, &[x], [&out, &way, &way]);
        y
    }
}

struct ValueIteration {
    rows: usize,
    /// S.
    side: usize,
    /// T.
    sweeps: usize,
    /// a.
    discount: f64,
}

/// A cell and the direction to look in.
#[derive(Clone, Copy)]
struct Pose {
    cell: usize,
    heading: usize,
}

impl ValueIteration {
    /// Numbers from a row of cells to the next, with a border, which pays nothing and lets nobody on. A multiple of half a line of the cache, so that most
    /// vectors of (B5) lie within one.
    fn stride(&self) -> usize {
        (self.side + 2).next_multiple_of(8)
    }

    /// Cells with the border.
    fn cells(&self) -> usize {
        (self.side + 2) * self.stride()
    }

    /// Values of one sweep: of every cell and heading.
    fn values(&self) -> usize {
        HEADINGS * self.cells()
    }

    /// The middle, looking up.
    fn root(&self) -> Pose {
        let middle = self.side / 2 + 1;
        Pose { cell: middle * self.stride() + middle, heading: 0 }
    }

    // Where the best way leads nobody foresees, a branch predictor neither: no branch in these two and in `best`.
    #[inline(always)]
    fn ahead(&self, Pose { cell, heading }: Pose) -> usize {
        let row = self.stride() as isize;
        cell.wrapping_add_signed([-row, 1, row, -1][heading % HEADINGS])
    }

    /// After a motion.
    #[inline(always)]
    fn moved(&self, at: Pose, motion: usize) -> Pose {
        let turned = turned(at, [3, 1, 0][motion]);
        Pose { cell: if motion == AHEAD { self.ahead(at) } else { at.cell }, ..turned }
    }

    /// What a cell of the map with a border is called in `way`.
    fn called(&self, cell: usize) -> usize {
        (cell / self.stride() - 1) * self.side + cell % self.stride()
    }

    /// r and a o of all cells of a row, with the border (B3).
    #[inline(always)]
    fn told<R: Real>(&self, x: &[R], pays: &mut [R], open: &mut [R]) {
        pays.fill(R::ZERO);
        open.fill(R::of(f64::NEG_INFINITY)); // u of the border
        for (i, x) in x.chunks_exact(2 * self.side).enumerate() {
            let first = (i + 1) * self.stride() + 1;
            let row = first..first + self.side;
            for ((pays, open), x) in pays[row.clone()].iter_mut().zip(&mut open[row]).zip(x.chunks_exact(2)) {
                (*pays, *open) = (x[0], x[1]);
            }
        }
        for open in open {
            *open = R::of(self.discount) * opened(*open);
        }
    }

    /// (B4) and (B5) for all cells and headings: V_t from V_{t-1}. It leaves the first and the last row as they are.
    #[inline(always)]
    fn sweep<R: Real>(&self, next: &mut [R], last: &[R], pays: &[R], open: &[R]) {
        let (up_right, down_left) = next.split_at_mut(2 * self.cells());
        let (up, right) = up_right.split_at_mut(self.cells());
        let (down, left) = down_left.split_at_mut(self.cells());
        self.sweep_axis(0, up, down, last, pays, open);
        self.sweep_axis(1, right, left, last, pays, open);
    }

    /// Two headings that turn to the same two others: up and down, or right and left. What it writes to the first and the last column nobody reads: `open`
    /// is 0 there.
    #[inline(always)]
    fn sweep_axis<R: Real>(&self, heading: usize, forth: &mut [R], back: &mut [R], last: &[R], pays: &[R], open: &[R]) {
        let (a, first, count) = (R::of(self.discount), self.stride(), self.side * self.stride());
        let values = |heading: usize| &last[heading % HEADINGS * self.cells()..][..self.cells()];
        let (forth, back) = (&mut forth[first..][..count], &mut back[first..][..count]);
        let (left, right) = (&values(heading + 3)[first..][..count], &values(heading + 1)[first..][..count]);
        let [before, behind] = [heading, heading + 2].map(|heading| self.ahead(Pose { cell: first, heading }));
        let (pays_before, pays_behind) = (&pays[before..][..count], &pays[behind..][..count]);
        let (open_before, open_behind) = (&open[before..][..count], &open[behind..][..count]);
        let v_before = &values(heading)[before..][..count];
        let v_behind = &values(heading + 2)[behind..][..count];
        for i in 0..count {
            let turn = a * left[i].max(right[i]);
            forth[i] = turn.max(pays_before[i] + open_before[i] * v_before[i]);
            back[i] = turn.max(pays_behind[i] + open_behind[i] * v_behind[i]);
        }
    }

    /// The three of (B5) in a pose, from V_{t-1}.
    #[inline(always)]
    fn motions<R: Real>(&self, at: Pose, last: &[R], pays: &[R], open: &[R]) -> [R; MOTIONS] {
        let v = |Pose { cell, heading }: Pose| last[heading * self.cells() + cell];
        let (a, ahead) = (R::of(self.discount), self.ahead(at));
        [a * v(turned(at, 3)), a * v(turned(at, 1)), pays[ahead] + open[ahead] * v(Pose { cell: ahead, ..at })]
    }

    /// The best way from each of the three motions of (B6), and V_{s+1} along it. The three go side by side: the steps of one wait for each other.
    #[inline(always)]
    fn follow<R: Real>(&self, values: &[R], pays: &[R], open: &[R], ways: &mut [R], later: &mut [R]) {
        let (mut at, mut motion) = ([self.root(); MOTIONS], [0, 1, 2]);
        for s in 0..self.sweeps {
            let t = self.sweeps - 1 - s;
            let value = &values[t * self.values()..][..self.values()];
            let last = &values[t.saturating_sub(1) * self.values()..][..self.values()];
            for (way, (at, motion)) in at.iter_mut().zip(&mut motion).enumerate() {
                *at = self.moved(*at, *motion);
                // Never the border: no turn is worth less than the 0 that it pays.
                let entered = if *motion == AHEAD { self.called(at.cell) } else { 0 };
                ways[way * self.sweeps + s] = R::of(entered as f64);
                later[way * self.sweeps + s] = value[at.heading * self.cells() + at.cell];
                *motion = best(self.motions(*at, last, pays, open));
            }
        }
    }
}

/// After so many quarter turns to the right.
#[inline(always)]
fn turned(at: Pose, quarters: usize) -> Pose {
    Pose { heading: (at.heading + quarters) % HEADINGS, ..at }
}

/// (B3)
#[inline(always)]
fn opened<R: Real>(u: R) -> R {
    (u + R::of(OPEN)).sigmoid()
}

/// The first of the highest numbers.
#[inline(always)]
fn best<R: Real>(q: [R; MOTIONS]) -> usize {
    let (turn, value) = if q[1] > q[0] { (1, q[1]) } else { (0, q[0]) };
    if q[AHEAD] > value { AHEAD } else { turn }
}

impl<R: Real> Op<R> for ValueIteration {
    fn name(&self) -> &'static str {
        "value_iteration"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let (cells, rows) = ((self.side * self.side) as f64, self.rows as f64);
        let numbers = 2.0 * cells + (PLANNED + 2 * MOTIONS * self.sweeps) as f64;
        Cost { flops: rows * cells * (HEADINGS * self.sweeps * 5) as f64, bytes: 4.0 * rows * numbers }
    }

    fn reads(&self) -> Reads {
        Reads { x: 0b1, y: 0b111 }
    }

    fn scratch(&self, _rows: usize) -> usize {
        // r, a o, and V_0 .. V_{T-1}.
        2 * self.cells() + self.sweeps * self.values()
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y, ways, later] = take(io.y);
        // V_0, and the borders of all others.
        io.scratch.fill(R::ZERO);
        let (pays, rest) = io.scratch.split_at_mut(self.cells());
        let (open, values) = rest.split_at_mut(self.cells());
        let rows = io.x[0].chunks_exact(2 * self.side * self.side);
        let ways = ways.chunks_exact_mut(MOTIONS * self.sweeps).zip(later.chunks_exact_mut(MOTIONS * self.sweeps));
        for ((x, y), (ways, later)) in rows.zip(y.chunks_exact_mut(PLANNED)).zip(ways) {
            vectorize!(|| {
                self.told(x, pays, open);
                for t in 1..self.sweeps {
                    let (done, rest) = values.split_at_mut(t * self.values());
                    self.sweep(&mut rest[..self.values()], &done[(t - 1) * self.values()..], pays, open);
                }
                // (B6) (B7)
                let q = self.motions(self.root(), &values[(self.sweeps - 1) * self.values()..], pays, open);
                let v = q[best(q)];
                y[0] = v;
                y[1..].iter_mut().zip(q).for_each(|(y, q)| *y = (q - v) / R::of(1.0 - self.discount));
                self.follow(values, pays, open, ways, later);
            });
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let ([Some(dy), ..], [Some(dx), ..], [y, ways, later, ..]) = (io.dy, io.dx, io.y) else { return };
        let (row, all, a) = (2 * self.side * self.side, MOTIONS * self.sweeps, R::of(self.discount));
        for (i, (dy, dx)) in dy.chunks_exact(PLANNED).zip(dx.chunks_exact_mut(row)).enumerate() {
            let (x, lost) = (&io.x[0][i * row..(i + 1) * row], &y[i * PLANNED + 1..(i + 1) * PLANNED]);
            // (B8)
            let mut dq: [R; MOTIONS] = std::array::from_fn(|m| dy[1 + m] / R::of(1.0 - self.discount));
            let sum = dq.iter().fold(R::ZERO, |sum, &dq| sum + dq);
            dq[best([lost[0], lost[1], lost[2]])] += dy[0] - sum;
            // (B9)
            let (ways, later) = (&ways[i * all..(i + 1) * all], &later[i * all..(i + 1) * all]);
            for (s, (&entered, &later)) in ways.iter().zip(later).enumerate() {
                let g = &mut dq[s / self.sweeps];
                *g = match (entered.f64() as usize).checked_sub(1) {
                    None => a * *g,
                    Some(cell) => {
                        let o = opened(x[2 * cell + 1]);
                        dx[2 * cell] += *g;
                        dx[2 * cell + 1] += o * (R::ONE - o) * a * *g * later;
                        a * o * *g
                    }
                };
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([y, way, later, ..], x) = (io.y, io.x[0]);
        let (rows, side, sweeps, discount) = (self.rows, self.side, self.sweeps, self.discount as f32);
        // V_{t-1}, V_t, r and a o; two bits for the best motion of each pose in each sweep, whole warps of them.
        let poses = HEADINGS * side * side;
        let bytes = 4 * (2 * poses + 2 * side * side + 2 * sweeps * poses.div_ceil(32));
        ValueIterationForward { y, way, later, x, rows, side, sweeps, discount }.blocks_with(io.on, rows, bytes)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([y, way, later, ..], x, dx, dy) = (io.y, io.x[0], io.dx[0], io.dy[0].read());
        if !dx.is_some() {
            return Ok(());
        }
        let (y, way, later) = (y.read(), way.read(), later.read());
        let (rows, side, sweeps, discount) = (self.rows, self.side, self.sweeps, self.discount as f32);
        ValueIterationBackward { dx, dy, x, y, way, later, rows, side, sweeps, discount }.threads(io.on, rows)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use super::*;
    use crate::autodiff::{Clock, Layout, Params, Plan};
    use crate::base::{Philox, philox::stream};
    use crate::device::Pool;

    /// Motions to the goal from the middle, looking up, by a breadth-first search; `None` where there is no way.
    fn distance(walls: &[bool], goal: usize, side: usize) -> Option<u32> {
        let mut queue = VecDeque::from([((side / 2 * side + side / 2, 0), 0)]);
        let mut known = vec![false; 4 * side * side];
        while let Some(((cell, heading), steps)) = queue.pop_front() {
            if cell == goal {
                return Some(steps);
            }
            if std::mem::replace(&mut known[4 * cell + heading], true) {
                continue;
            }
            let (i, j) = (cell / side, cell % side);
            let ahead = match heading {
                0 => i.checked_sub(1).map(|i| (i, j)),
                1 => Some((i, j + 1)),
                2 => Some((i + 1, j)),
                _ => j.checked_sub(1).map(|j| (i, j)),
            };
            queue.extend([((cell, (heading + 3) % 4), steps + 1), ((cell, (heading + 1) % 4), steps + 1)]);
            let ahead = ahead.filter(|&(i, j)| i < side && j < side).map(|(i, j)| i * side + j);
            queue.extend(ahead.filter(|&c| !walls[c]).map(|c| ((c, heading), steps + 1)));
        }
        None
    }

    #[test]
    fn a_goal_is_worth_its_distance() {
        let (side, sweeps, a) = (7, 60, 0.9);
        let mut rng = Philox::new(5, stream::TEST, 0);
        let (mut found, mut lost) = (0, 0);
        for _ in 0..200 {
            let middle = side / 2 * side + side / 2;
            let mut walls: Vec<bool> = (0..side * side).map(|_| rng.uniform() < 0.3).collect();
            let goal = rng.below(side * side);
            if goal == middle {
                continue;
            }
            (walls[goal], walls[middle]) = (false, false);
            let cell = |c| if c == goal { [1.0, -60.0] } else { [0.0, if walls[c] { -60.0 } else { 60.0 }] };
            let x: Vec<f64> = (0..side * side).flat_map(cell).collect();
            let mut g = Graph::<f64>::new(Arc::new(Layout::new()));
            let input = g.input("x", &[1, x.len()]);
            let y = g.value_iteration(input, side, sweeps, a);
            g.keep(y);
            let mut plan = Plan::new(g, &[], Arc::new(Pool::new(1).unwrap()));
            plan.input_mut(input).copy_from_slice(&x);
            plan.poison();
            let layout = Arc::new(Layout::new());
            plan.run(&mut Params::new(layout), Clock::default());
            let &[v, ref lost_by @ ..] = plan.value(y) else { panic!("four numbers") };
            match distance(&walls, goal, side) {
                Some(steps) => {
                    found += 1;
                    assert!((v - a.powi(steps as i32 - 1)).abs() < 1e-9, "{steps} steps are worth {v}");
                    assert!(lost_by.contains(&0.0) && lost_by.iter().all(|&l| l <= 0.0));
                }
                None => {
                    lost += 1;
                    assert!(v.abs() < 1e-9, "no way is worth {v}");
                }
            }
        }
        assert!(found > 100 && lost > 10, "{found} mazes with a way, {lost} without");
    }
}
