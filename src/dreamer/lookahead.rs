//! Heads that look ahead on the map (`map_sweeps`): actor and value, and the slow copy of the value.
//!
//! What pays and where one gets through is learned for each class of a cell, by the losses of actor and value; the way there is then a matter of
//! [`value_iteration`](crate::ops::value_iteration). With T = `map_sweeps` it looks so many steps ahead.
//! ```text
//! (Y3) plan = symlog value_iteration(10 (map_now(state, stoch) W + b))    two numbers of each cell from its classes
//! (Y4) out  = [head([stoch, state, plan]), plan] W' + b'               head: the hidden layers
//! ```
//! With `map_beside` the classes of a cell are those that the map holds and those that are seen, side by side.
//! An untrained actor's last layer lets each motion speak for the action of its number: left, right and ahead are MiniGrid's first three. At first nothing pays, so
//! that they say nothing. DreamerV1 has no such heads; Tamar et al., 2016, "Value Iteration Networks".

use super::layer::dense;
use super::model::{Model, SLOW, Table};
use crate::autodiff::{Entry, Graph, Var};
use crate::base::Real;
use crate::ops::ego_map::MapShape;
use crate::ops::value_iteration::PLANNED;

/// The discount of a step of a plan.
const DISCOUNT: f64 = 0.95;
/// What a class pays and how open it is are a few numbers that everything hangs on: so many times the step of the optimizer.
const PACE: f64 = 10.0;
/// Weight of a motion in the logit of its action, before anything is learned.
const PLAIN: f64 = 2.0;

/// Whether the head of this name looks ahead on the map: those that judge what will come, not those that say what is.
fn plans(model: &Model, name: &str) -> Option<MapShape> {
    model.map.filter(|_| model.config.map_sweeps > 0 && ["actor", "value", SLOW].contains(&name))
}

/// Numbers that are known of a cell.
fn known(model: &Model, map: MapShape) -> usize {
    if model.config.map_beside { 2 * map.classes } else { map.classes }
}

/// Parameters of (Y3), if this head has it; how many numbers (Y4) adds to the inputs of its first layer and of its last.
pub(super) fn params(model: &Model, name: &str, table: &mut Table) -> usize {
    let Some(map) = plans(model, name) else { return 0 };
    table.dense(&format!("{name}.map"), known(model, map), 2);
    PLANNED
}

/// What parameters of (Y3) begin with: nothing pays and all cells are open, and each motion speaks for the action of its number. MiniGrid's are these: left,
/// right, ahead.
pub(super) fn begin(model: &Model, entry: &Entry, values: &mut [f64]) {
    let Some((head, layer)) = entry.name.split_once('.') else { return };
    if plans(model, head).is_none() {
        return;
    }
    match layer {
        "map.w" => values.fill(0.0),
        "out.w" if head == "actor" => {
            let actions = entry.shape[1];
            let planned = values.len() - PLANNED * actions;
            for (m, row) in values[planned..].chunks_exact_mut(actions).enumerate() {
                row.iter_mut().enumerate().for_each(|(action, w)| *w = if m == action + 1 { PLAIN } else { 0.0 });
            }
        }
        _ => {}
    }
}

/// (Y3): what the head of this name sees by looking ahead [n, 4], from features [stoch, state]; `None` where it does not.
pub(super) fn lookahead<R: Real>(g: &mut Graph<R>, model: &Model, name: &str, feat: &[Var]) -> Option<Var> {
    let map = plans(model, name)?;
    let &[stoch, deter] = feat else { panic!("{name}: features are [stoch, state]") };
    g.scope(name);
    let (n, cells) = (g.height(stoch), map.side * map.side);
    let now = g.map_now(deter, stoch, map, model.config.map_beside);
    let now = g.reshape(now, &[n * cells, known(model, map)]);
    let told = g.in_full(|g| dense(g, &format!("{name}.map"), &[now]));
    let told = g.sum(&[(told, PACE)]);
    let told = g.reshape(told, &[n, 2 * cells]);
    let plan = g.value_iteration(told, map.side, model.config.map_sweeps, DISCOUNT);
    Some(g.symlog(plan))
}
