//! A map that the agent stands in the middle of: what is seen is written on it, then it moves as the agent does.
//!
//! A map is a square of cells, each with the weights of K classes: what was seen there, 0 where nothing was. The agent stands on the middle cell and looks
//! towards row 0. It sees the cells of a square of V x V, the map's columns around it, from its own row ahead.
//! ```text
//! (E1) g_k  = sigmoid(c_{4 + k} + 2)                              how firmly class k is written
//! (E2) w_s  = sum_k z_{s k} g_k                                   for cell s of what is seen
//! (E3) n    = (1 - w_s) m + w_s z_s       within the view; n = m elsewhere
//! (E4) p    = softmax(c_0 .. c_3)                                 the agent stays, turns left, turns right, goes ahead
//! (E5) y_ij = p_0 n_ij + p_1 n_{S-1-j, i} + p_2 n_{j, S-1-i} + p_3 n_{i-1, j}      n_{-1, j} = 0
//! ```
//! The state is a row [h, m]; the next one is [x, y]. What moves the agent is not told: which action turns it, and what stops it, the linear layer in front has
//! to learn. Backward, with dy the gradient of y, and sums over the cells and classes of one row:
//! ```text
//! (E6) dp_t      = sum dy_ij n_{t ij}                             n_{t ij}: the cell that (E5) multiplies by p_t
//!       dc_t      += p_t (dp_t - sum_u p_u dp_u)
//! (E7) dn        = the sum of p_t dy over the cells that (E5) brings a cell to
//! (E8) dm        += (1 - w_s) dn          within the view; dm += dn elsewhere
//!       dw_s      = sum_k dn_{s k} (z_{s k} - m_{s k})
//! (E9) dz_{s k}  += w_s dn_{s k} + g_k dw_s
//!       dc_{4+k}  += g_k (1 - g_k) sum_s z_{s k} dw_s
//! (E10) dx       += dh
//! ```
//! With 2 K gates a class need not erase what was there, and the two are told apart. What is noted so stays between 0 and 1, and a cell may hold several classes:
//! ```text
//! (E11) e_k = sigmoid(c_{4 + K + k} + 2)                          how firmly class k erases
//!       v_s = sum_k z_{s k} e_k
//!       n_k = (1 - v_s) (1 - w_s z_{s k}) m_k + w_s z_{s k}       within the view, in place of (E3)
//! (E12) dm_k      += (1 - v_s) (1 - w_s z_{s k}) dn_k
//!       dw_s      = sum_k dn_k z_{s k} (1 - (1 - v_s) m_k)
//!       dv_s      = -sum_k dn_k m_k (1 - w_s z_{s k})
//!       dz_{s k}  += w_s (1 - (1 - v_s) m_k) dn_k + g_k dw_s + e_k dv_s
//!       dc_{4+K+k} += e_k (1 - e_k) sum_s z_{s k} dv_s            dc_{4+k} as in (E9)
//! ```
//! Sources: Parisotto and Salakhutdinov, 2018, "Neural Map", where a write at the agent's place changes an egocentric map that the known motion has moved; here the
//! motion is learned, and written is what is seen.
//!
//! | tensor | shape |
//! |---|---|
//! | x | [rows, H] |
//! | state, y | [rows, H + S S K]: a map row by row, the classes of a cell side by side |
//! | z | [rows, V V K] |
//! | c | [rows, 4 + K], or [rows, 4 + 2 K] |

use crate::autodiff::op::{Backward, Cost, Forward, Op, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::Result,
    device::cuda::kernels::{EgoMapBackwardControl, EgoMapBackwardMap, EgoMapBackwardSeen, EgoMapForward, Entry},
};

/// Ways in which the agent moves in a step: it stays, turns left, turns right, goes ahead.
pub const MOTIONS: usize = 4;
/// Added to the logits of [`EgoMap`]'s gates (E1), so that an untrained layer writes what is seen.
const WRITE: f64 = 2.0;

/// Sizes of a map and of what is seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapShape {
    /// S: cells along a side of the map, an odd number.
    pub side: usize,
    /// V: cells along a side of the view, an odd number; at most S / 2 + 1 rows of it lie ahead.
    pub view: usize,
    /// K: classes of a cell.
    pub classes: usize,
    /// Whether what is seen comes column by column, as MiniGrid's symbolic views do, and not row by row.
    pub columns: bool,
}

impl MapShape {
    /// S S K.
    pub fn map(&self) -> usize {
        self.side * self.side * self.classes
    }

    /// V V K.
    pub fn seen(&self) -> usize {
        self.view * self.view * self.classes
    }

    /// Of each cell in view: where it begins on the map, and where in what is seen.
    pub(super) fn window(self) -> impl Iterator<Item = (usize, usize)> {
        let MapShape { side, view, classes, columns } = self;
        let (top, left) = (side / 2 + 1 - view, side / 2 - view / 2);
        (0..view * view).map(move |cell| {
            let (i, j) = (cell / view, cell % view);
            let seen = if columns { j * view + i } else { cell };
            (((top + i) * side + left + j) * classes, seen * classes)
        })
    }

    /// Of each cell in order: where the cells begin that (E5) makes it of, if it is there.
    fn sources(self) -> impl Iterator<Item = [Option<usize>; MOTIONS]> {
        let MapShape { side, classes, .. } = self;
        let far = side - 1;
        (0..side * side).map(move |cell| {
            let (i, j) = (cell / side, cell % side);
            let at = |i: usize, j: usize| Some((i * side + j) * classes);
            [at(i, j), at(far - j, i), at(j, far - i), if i > 0 { at(i - 1, j) } else { None }]
        })
    }

    /// The arguments of kernels.
    #[cfg(feature = "cuda")]
    pub(super) fn arguments(&self) -> [usize; 4] {
        [self.side, self.view, self.classes, usize::from(self.columns)]
    }

    pub(super) fn check(&self) {
        let MapShape { side, view, .. } = *self;
        assert!(side % 2 == 1 && view % 2 == 1 && side / 2 + 1 >= view, "a view of {view} on a map of {side}");
    }
}

impl<R: Real> Graph<R> {
    /// The next state [n, H + S S K] (E1) to (E5), from x [n, H], the state, what was seen in it [n, V V K] and the control of map and motion [n, 4 + K];
    /// [n, 4 + 2 K] where erasing has gates of its own (E11).
    pub fn ego_map(&mut self, x: Var, state: Var, seen: Var, control: Var, shape: MapShape) -> Var {
        shape.check();
        let (rows, own) = (self.height(x), self.width(x));
        let gates = if self.width(control) == MOTIONS + shape.classes { shape.classes } else { 2 * shape.classes };
        let widths = [state, seen, control].map(|v| (self.height(v), self.width(v)));
        assert_eq!(
            widths,
            [own + shape.map(), shape.seen(), MOTIONS + gates].map(|width| (rows, width)),
            "ego_map: state, seen and control do not fit {shape:?}"
        );
        let out = self.with_width(x, own + shape.map());
        let [y] = self.call(EgoMap { rows, own, gates, shape }, &[x, state, seen, control], [&out]);
        y
    }
}

struct EgoMap {
    rows: usize,
    /// H.
    own: usize,
    /// K, or 2 K.
    gates: usize,
    shape: MapShape,
}

/// One row of what the op reads, and what follows from it.
struct Row<'a, R> {
    map: &'a [R],
    seen: &'a [R],
    /// g.
    writes: &'a [R],
    /// e; nothing where what is written erases.
    erases: &'a [R],
    /// p.
    motion: [R; MOTIONS],
    shape: MapShape,
}

impl EgoMap {
    /// Numbers of a state.
    fn width(&self) -> usize {
        self.own + self.shape.map()
    }

    /// Row `row` of the inputs; `gates` is memory for their numbers.
    #[inline(always)]
    fn row<'a, R: Real>(&self, x: &[&'a [R]], row: usize, gates: &'a mut [R]) -> Row<'a, R> {
        let shape = self.shape;
        let (width, seen, controls) = (self.width(), shape.seen(), MOTIONS + self.gates);
        let control = &x[3][row * controls..(row + 1) * controls];
        for (gate, &c) in gates.iter_mut().zip(&control[MOTIONS..]) {
            *gate = (c + R::of(WRITE)).sigmoid(); // (E1) (E11)
        }
        let (writes, erases) = gates.split_at(shape.classes);
        let highest = control[..MOTIONS].iter().fold(control[0], |a, &b| a.max(b));
        let weights: [R; MOTIONS] = std::array::from_fn(|t| (control[t] - highest).exp());
        let sum = weights.iter().fold(R::ZERO, |sum, &w| sum + w);
        Row {
            map: &x[1][row * width + self.own..(row + 1) * width],
            seen: &x[2][row * seen..(row + 1) * seen],
            writes,
            erases,
            motion: weights.map(|w| w / sum), // (E4)
            shape,
        }
    }
}

impl<R: Real> Row<'_, R> {
    /// (E2): w, how firmly the cell is written whose classes are `seen`; and (E11) v, how firmly it is erased.
    #[inline(always)]
    fn firmness(&self, seen: &[R]) -> (R, R) {
        let sum = |gates: &[R]| seen.iter().zip(gates).fold(R::ZERO, |w, (&z, &g)| w + z * g);
        (sum(self.writes), sum(self.erases))
    }

    /// (E3) or (E11), to `n`.
    #[inline(always)]
    fn write(&self, n: &mut [R]) {
        let k = self.shape.classes;
        n.copy_from_slice(self.map);
        for (at, from) in self.shape.window() {
            let seen = &self.seen[from..from + k];
            let (w, v) = self.firmness(seen);
            let cell = n[at..at + k].iter_mut().zip(seen);
            if self.erases.is_empty() {
                cell.for_each(|(n, &z)| *n = (R::ONE - w) * *n + w * z);
            } else {
                cell.for_each(|(n, &z)| *n = (R::ONE - v) * (R::ONE - w * z) * *n + w * z);
            }
        }
    }

    /// (E8) (E9) of the cell whose classes were seen as `z` and on the map were `m`: `dn` becomes dm; to dz and to the gates' sums it is added.
    #[inline(always)]
    fn backward(&self, z: &[R], m: &[R], dn: &mut [R], dz: Option<&mut [R]>, dgates: &mut [R]) {
        if !self.erases.is_empty() {
            return self.backward_apart(z, m, dn, dz, dgates);
        }
        let (w, _) = self.firmness(z);
        let dw = dn.iter().zip(z).zip(m).fold(R::ZERO, |dw, ((&dn, &z), &m)| dw + dn * (z - m));
        if let Some(dz) = dz {
            dz.iter_mut().zip(&*dn).zip(self.writes).for_each(|((dz, &dn), &g)| *dz += w * dn + g * dw);
        }
        dgates.iter_mut().zip(z).for_each(|(dg, &z)| *dg += z * dw);
        dn.iter_mut().for_each(|dn| *dn = (R::ONE - w) * *dn);
    }

    /// (E12), as `backward`.
    #[inline(always)]
    fn backward_apart(&self, z: &[R], m: &[R], dn: &mut [R], mut dz: Option<&mut [R]>, dgates: &mut [R]) {
        let (w, v) = self.firmness(z);
        let (mut dw, mut dv) = (R::ZERO, R::ZERO);
        for (k, dn) in dn.iter_mut().enumerate() {
            let (left, kept) = (R::ONE - (R::ONE - v) * m[k], R::ONE - w * z[k]);
            dw += *dn * z[k] * left;
            dv -= *dn * m[k] * kept;
            if let Some(dz) = &mut dz {
                dz[k] += w * left * *dn;
            }
            *dn *= (R::ONE - v) * kept;
        }
        if let Some(dz) = dz {
            let gates = self.writes.iter().zip(self.erases);
            dz.iter_mut().zip(gates).for_each(|(dz, (&g, &e))| *dz += g * dw + e * dv);
        }
        let (dwrites, derases) = dgates.split_at_mut(z.len());
        dwrites.iter_mut().zip(z).for_each(|(dg, &z)| *dg += z * dw);
        derases.iter_mut().zip(z).for_each(|(de, &z)| *de += z * dv);
    }
}

impl<R: Real> Op<R> for EgoMap {
    fn name(&self) -> &'static str {
        "ego_map"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn cost(&self) -> Cost {
        let (map, seen) = (self.shape.map(), self.shape.seen());
        let per_row = (2 * MOTIONS * map + 5 * seen) as f64;
        let numbers = (2 * self.width() + seen + MOTIONS + self.gates + self.own) as f64;
        Cost { flops: self.rows as f64 * per_row, bytes: 4.0 * self.rows as f64 * numbers }
    }

    fn scratch(&self, _rows: usize) -> usize {
        // n, dn, the gates, and a sum for each.
        2 * self.shape.map() + 2 * self.gates
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (own, k) = (self.own, self.shape.classes);
        let (n, rest) = io.scratch.split_at_mut(self.shape.map());
        for (i, y) in y.chunks_exact_mut(self.width()).enumerate() {
            vectorize!(|| {
                let row = self.row(&io.x, i, &mut rest[..self.gates]);
                row.write(n);
                y[..own].copy_from_slice(&io.x[0][i * own..(i + 1) * own]);
                // (E5): where the agent stays or goes ahead, whole rows of cells; then where it turns, cell by cell.
                let (y, [stays, left, right, ahead]) = (&mut y[own..], row.motion);
                for (y, &n) in y.iter_mut().zip(&*n) {
                    *y = stays * n;
                }
                for (y, &n) in y[self.shape.side * k..].iter_mut().zip(&*n) {
                    *y += ahead * n;
                }
                for (y, [_, from_left, from_right, _]) in y.chunks_exact_mut(k).zip(self.shape.sources()) {
                    let (Some(from_left), Some(from_right)) = (from_left, from_right) else { continue };
                    let sources = n[from_left..from_left + k].iter().zip(&n[from_right..from_right + k]);
                    for (y, (&a, &b)) in y.iter_mut().zip(sources) {
                        *y += left * a + right * b;
                    }
                }
            });
        }
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(dy), ..] = io.dy else { return };
        let [mut dx, mut dstate, mut dseen, mut dcontrol, ..] = io.dx;
        let (own, width, k, seen) = (self.own, self.width(), self.shape.classes, self.shape.seen());
        let (n, rest) = io.scratch.split_at_mut(self.shape.map());
        let (dn, rest) = rest.split_at_mut(self.shape.map());
        let (gates, rest) = rest.split_at_mut(self.gates);
        let dgates = &mut rest[..self.gates];
        for (i, dy) in dy.chunks_exact(width).enumerate() {
            vectorize!(|| {
                let row = self.row(&io.x, i, gates);
                let (dh, dy) = dy.split_at(own);
                if let Some(dx) = &mut dx {
                    dx[i * own..(i + 1) * own].iter_mut().zip(dh).for_each(|(dx, &dh)| *dx += dh); // (E10)
                }
                row.write(n);
                // (E6) (E7)
                let mut dp = [R::ZERO; MOTIONS];
                dn.fill(R::ZERO);
                for (dy, sources) in dy.chunks_exact(k).zip(self.shape.sources()) {
                    for (t, source) in sources.into_iter().enumerate() {
                        let Some(source) = source else { continue };
                        let (n, dn) = (&n[source..source + k], &mut dn[source..source + k]);
                        for ((dn, &n), &dy) in dn.iter_mut().zip(n).zip(dy) {
                            *dn += row.motion[t] * dy;
                            dp[t] += n * dy;
                        }
                    }
                }
                // (E8) (E9) (E12)
                dgates.fill(R::ZERO);
                for (at, from) in self.shape.window() {
                    let (z, m, dn) = (&row.seen[from..from + k], &row.map[at..at + k], &mut dn[at..at + k]);
                    let dz = dseen.as_deref_mut().map(|dseen| &mut dseen[i * seen + from..i * seen + from + k]);
                    row.backward(z, m, dn, dz, dgates);
                }
                if let Some(dcontrol) = &mut dcontrol {
                    let dc = &mut dcontrol[i * (MOTIONS + self.gates)..(i + 1) * (MOTIONS + self.gates)];
                    let mean = dp.iter().zip(row.motion).fold(R::ZERO, |sum, (&dp, p)| sum + p * dp);
                    dc.iter_mut().zip(dp).zip(row.motion).for_each(|((dc, dp), p)| *dc += p * (dp - mean));
                    let gates = row.writes.iter().chain(row.erases);
                    for ((dc, &dg), &g) in dc[MOTIONS..].iter_mut().zip(&*dgates).zip(gates) {
                        *dc += g * (R::ONE - g) * dg;
                    }
                }
                if let Some(dstate) = &mut dstate {
                    let dm = &mut dstate[i * width + own..(i + 1) * width];
                    dm.iter_mut().zip(&*dn).for_each(|(dm, &dn)| *dm += dn);
                }
            });
        }
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let ([x, state, seen, control, ..], y, rows, own, gates) = (io.x, io.y[0], self.rows, self.own, self.gates);
        let [side, view, classes, columns] = self.shape.arguments();
        EgoMapForward { y, x, state, seen, control, rows, own, gates, side, view, classes, columns }
            .threads(io.on, rows * self.width())
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let ([_, state, seen, control, ..], dy) = (io.x, io.dy[0].read());
        let (rows, own, gates) = (self.rows, self.own, self.gates);
        let [dx, dstate, dseen, dcontrol, ..] = io.dx;
        let [side, view, classes, columns] = self.shape.arguments();
        if dx.is_some() || dstate.is_some() {
            EgoMapBackwardMap { dx, dstate, dy, seen, control, rows, own, gates, side, view, classes, columns }
                .threads(io.on, rows * self.width())?;
        }
        if dseen.is_some() {
            EgoMapBackwardSeen { dseen, dy, state, seen, control, rows, own, gates, side, view, classes, columns }
                .threads(io.on, rows * self.shape.seen())?;
        }
        if dcontrol.is_some() {
            EgoMapBackwardControl {
                dcontrol,
                dy,
                state,
                seen,
                control,
                rows,
                own,
                gates,
                side,
                view,
                classes,
                columns,
            }
            .warps(io.on, rows)?;
        }
        Ok(())
    }
}
