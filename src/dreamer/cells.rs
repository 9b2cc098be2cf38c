//! The world model with a map (`map_size`): what is seen is coded cell by cell, and remembered where it was seen.
//!
//! A view of V x V cells has as many latent variables, one for each cell, and the deterministic state holds a map of S x S cells beside its D numbers.
//! ```text
//! (C1) post  = code of each cell, the same weights for all            q(s_t | o_t)
//! (C2) x     = elu(img1 [stoch, action, state])                       what does not lie in a place
//!      state = ego_map(x, state, stoch, move [stoch, action])         written, then moved
//! (C3) prior = img3 elu(img2 state) + 8 map_view(state)               p(s_t | state): what was seen is seen again
//! (C4) o_t   = each cell from its own code, the same weights for all  p(o_t | s_t)
//! (C5) layers read [stoch, x] alone, img2 [x, map_view(state)]        with map_dense = false
//! ```
//! They stand in place of the encoder, of the layers of `rssm.rs` and of the decoder; heads read [stoch, state] as they always do, but for (C5). There is no GRU, and nothing else remembers
//! but x, which reads the x before it; `gru_norm` and `decoder_units` have no effect. What turns the agent, what moves it and what stops it is learned by the layer `move`, and so is
//! how firmly each class is written; with `map_erase` how firmly it erases, too. DreamerV1 has nothing like it; for the map see [`ego_map`](crate::ops::ego_map).

use super::layer::{dense, finished, hidden};
use super::model::{Model, Observation, Table};
use super::rssm::State;
use crate::autodiff::{Graph, Var};
use crate::base::{Error, Real, Result};
use crate::config::{self, Config, Latent};
use crate::ops::Activation;
use crate::ops::ego_map::{MOTIONS, MapShape};

/// Nats by which a cell that the map holds is expected to show the same again, before anything is learned.
const AGAIN: f64 = 8.0;

/// The map of these settings, if they have one; an error where settings and observation do not go together with it.
pub(super) fn shape(c: &Config, observation: &Observation) -> Result<Option<MapShape>> {
    if c.map_sweeps == 0 && c.map_beside {
        return Err(Error::new(
            "map_beside=true says what a plan is told, and there is none: set map_beside=false, or map_sweeps above 0",
        ));
    }
    if c.map_size == 0 {
        let of_a_map = [
            (c.map_sweeps > 0, format!("map_sweeps={} plans on a map", c.map_sweeps), "map_sweeps=0"),
            (!c.map_dense, "map_dense=false keeps layers from reading the map".into(), "map_dense=true"),
            (c.map_erase, "map_erase=true erases what a map holds".into(), "map_erase=false"),
        ];
        return match of_a_map.into_iter().find(|(asked, ..)| *asked) {
            Some((_, asks, without)) => Err(Error::new(format!(
                "{asks}, and there is none: set {without}, or map_size=13 and what goes with it"
            ))),
            None => Ok(None),
        };
    }
    let (side, view) = (c.map_size, c.stoch_size.isqrt());
    let refuse = |text: String| Err(Error::new(format!("map_size={side} {text}")));
    match observation {
        Observation::Symbolic { cells, .. } if *cells == c.stoch_size => {}
        Observation::Symbolic { cells, .. } => {
            return refuse(format!("has a latent variable for every cell in view: set stoch_size={cells}"));
        }
        Observation::Image { height, .. } if height.is_multiple_of(view) => {}
        Observation::Image { height, .. } => {
            return refuse(format!("cannot cut an image of {height} rows into {view} x {view} cells of one size"));
        }
        Observation::Vector { .. } => {
            return refuse(
                "is for what is seen cell by cell, and this task is observed as a vector: set map_size=0".into(),
            );
        }
    }
    if c.latent != Latent::Categorical {
        return refuse("has a class in every cell: set latent=categorical".into());
    }
    if view * view != c.stoch_size || view % 2 == 0 {
        return refuse(format!(
            "has a latent variable for every cell in view: stoch_size={} is no square of an odd number; set 49 for a view of 7 x 7 cells",
            c.stoch_size
        ));
    }
    if side % 2 == 0 || side / 2 + 1 < view {
        return refuse(format!(
            "does not hold a view of {view} x {view} cells with the agent in the middle: set an odd number from {} on",
            2 * view - 1
        ));
    }
    if side == 1 && c.map_sweeps > 0 {
        return refuse("has no way to plan: set map_sweeps=0".into());
    }
    if c.action_product {
        return refuse("leaves no GRU whose state actions could multiply: set action_product=false".into());
    }
    if c.observation == config::Observation::RgbFull {
        return refuse("is drawn around the agent, from what it sees of its surroundings: set observation to symbolic or rgb_partial".into());
    }
    // MiniGrid's symbolic views come column by column.
    let columns = matches!(observation, Observation::Symbolic { .. });
    Ok(Some(MapShape { side, view, classes: c.latent_classes, columns }))
}

/// Numbers of a cell as the network sees it; for images, the side of a cell and the channels.
enum Cell {
    Planes(usize),
    Tile(usize, usize),
}

fn cell(model: &Model, map: MapShape) -> Cell {
    match model.observation {
        Observation::Image { height, channels, .. } => Cell::Tile(height / map.view, channels),
        _ => Cell::Planes(model.observation.size() / (map.view * map.view)),
    }
}

/// Parameters of (C1).
pub(super) fn encoder_params(model: &Model, map: MapShape, table: &mut Table) {
    match cell(model, map) {
        Cell::Planes(planes) => {
            let mut width = planes;
            for (i, &units) in model.config.encoder_units.iter().enumerate() {
                table.hidden(model, &format!("enc.h{i}"), width, units);
                width = units;
            }
            table.dense("enc.code", width, map.classes);
        }
        Cell::Tile(side, channels) => {
            let depth = model.config.cnn_depth;
            table.push("enc.conv1.w", &[side, side, channels, depth]);
            table.push("enc.conv1.b", &[depth]);
            table.norm(model.config.cnn_norm, "enc.conv1", depth);
            table.push("enc.code.w", &[1, 1, depth, map.classes]);
            table.push("enc.code.b", &[map.classes]);
        }
    }
}

/// (C1): the logits of the posterior [n, V V K] of observations [n, ...].
pub(super) fn encode<R: Real>(g: &mut Graph<R>, model: &Model, map: MapShape, obs: Var) -> Var {
    let (n, cells) = (g.shape(obs)[0], map.view * map.view);
    let code = match cell(model, map) {
        Cell::Planes(planes) => {
            let mut x = g.reshape(obs, &[n * cells, planes]);
            for i in 0..model.config.encoder_units.len() {
                x = hidden(g, model, &format!("enc.h{i}"), &[x]);
            }
            g.in_full(|g| dense(g, "enc.code", &[x]))
        }
        Cell::Tile(side, _) => {
            let (w, b) = (g.param("enc.conv1.w"), g.param("enc.conv1.b"));
            let (norm, act) = (model.config.cnn_norm, model.config.cnn_act);
            let x = finished(g, "enc.conv1", norm, act, |g, f| g.conv2d(obs, w, b, side, 0, f));
            let (w, b) = (g.param("enc.code.w"), g.param("enc.code.b"));
            g.in_full(|g| g.conv2d(x, w, b, 1, 0, Activation::Identity))
        }
    };
    g.reshape(code, &[n, map.seen()])
}

/// Parameters of (C2) and (C3).
pub(super) fn rssm_params(model: &Model, map: MapShape, table: &mut Table) {
    let (s, d, a) = (model.stoch(), model.deter(), model.actions.size());
    let (own, hidden) = (model.config.deter_size, model.config.hidden_size);
    table.hidden(model, "rssm.img1", s + a + model.read(), own);
    let gates = if model.config.map_erase { 2 * map.classes } else { map.classes };
    table.dense("rssm.move", s + a, MOTIONS + gates);
    table.hidden(model, "rssm.img2", if model.config.map_dense { d } else { own + map.seen() }, hidden);
    table.dense("rssm.img3", hidden, s);
}

/// What layers read of the deterministic state (C5).
pub(super) fn read<R: Real>(g: &mut Graph<R>, model: &Model, deter: Var) -> Var {
    if model.config.map_dense { deter } else { g.columns(deter, model.read()) }
}

/// (C2): the next deterministic state [n, D + S S K].
pub(super) fn step<R: Real>(g: &mut Graph<R>, model: &Model, map: MapShape, prev: State, action: Var) -> Var {
    let own = read(g, model, prev.deter);
    let x = hidden(g, model, "rssm.img1", &[prev.stoch, action, own]);
    let control = dense(g, "rssm.move", &[prev.stoch, action]);
    g.ego_map(x, prev.deter, prev.stoch, control, map)
}

/// (C3): the logits of the prior [n, V V K].
pub(super) fn prior<R: Real>(g: &mut Graph<R>, model: &Model, map: MapShape, deter: Var) -> Var {
    let x = if model.config.map_dense {
        hidden(g, model, "rssm.img2", &[deter])
    } else {
        let (own, known) = (read(g, model, deter), g.map_view(deter, map, 1.0));
        hidden(g, model, "rssm.img2", &[own, known])
    };
    let known = g.map_view(deter, map, AGAIN);
    let (w, b) = (g.param("rssm.img3.w"), g.param("rssm.img3.b"));
    g.in_full(|g| g.linear_add(&[x], w, Some(b), Some(known), Activation::Identity))
}

/// Parameters of (C4).
pub(super) fn decoder_params(model: &Model, map: MapShape, table: &mut Table) {
    match cell(model, map) {
        Cell::Planes(planes) => table.dense("dec.cell", map.classes, planes),
        Cell::Tile(side, channels) => {
            table.push("dec.deconv1.w", &[map.classes, side, side, channels]);
            table.push("dec.deconv1.b", &[channels]);
        }
    }
}

/// (C4): the mean of observations [n, ...], or their logits, from codes [n, V V K].
pub(super) fn decode<R: Real>(g: &mut Graph<R>, model: &Model, map: MapShape, stoch: Var) -> Var {
    let (n, MapShape { view, classes, .. }) = (g.height(stoch), map);
    match cell(model, map) {
        Cell::Planes(_) => {
            let x = g.reshape(stoch, &[n * view * view, classes]);
            let x = dense(g, "dec.cell", &[x]);
            g.reshape(x, &[n, model.observation.size()])
        }
        Cell::Tile(side, _) => {
            let x = g.reshape(stoch, &[n, view, view, classes]);
            let (w, b) = (g.param("dec.deconv1.w"), g.param("dec.deconv1.b"));
            g.conv_transpose2d(x, w, b, side, 0, Activation::Identity)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dreamer::Actions;

    #[test]
    fn a_map_that_does_not_fit_is_refused() {
        let cells = |n| Observation::Symbolic { cells: n, classes: vec![3] };
        let pixels = |side| Observation::Image { height: side, width: side, channels: 3 };
        let refused = |observation, change: fn(&mut Config)| {
            let mut config = Config {
                latent: Latent::Categorical,
                map_size: 13,
                stoch_size: 49,
                observation: config::Observation::Symbolic,
                ..Config::default()
            };
            change(&mut config);
            Model::new(&config, observation, Actions::Discrete(3)).err().map(|error| error.to_string())
        };
        assert_eq!(refused(cells(49), |_| ()), None);
        assert_eq!(refused(pixels(28), |_| ()), None);
        type Change = fn(&mut Config);
        let wrong: [(Observation, Change, &str); 10] = [
            (cells(49), |c| c.latent = Latent::Gaussian, "set latent=categorical"),
            (cells(49), |c| c.stoch_size = 16, "set stoch_size=49"),
            (pixels(28), |c| c.stoch_size = 16, "stoch_size=16 is no square of an odd number"),
            (cells(49), |c| c.map_size = 11, "from 13 on"),
            (cells(49), |c| c.map_size = 14, "an odd number"),
            (cells(1), |c| (c.map_size, c.stoch_size, c.map_sweeps) = (1, 1, 5), "set map_sweeps=0"),
            (cells(49), |c| c.action_product = true, "set action_product=false"),
            (cells(49), |c| c.observation = config::Observation::RgbFull, "rgb_partial"),
            (cells(25), |_| (), "set stoch_size=25"),
            (pixels(64), |_| (), "an image of 64 rows"),
        ];
        for (observation, change, named) in wrong {
            let error = refused(observation, change).expect(named);
            assert!(error.starts_with("map_size=") && error.contains(named), "{error}: {named} is wanted");
        }
        assert!(refused(Observation::Vector { size: 3 }, |_| ()).expect("a vector").contains("set map_size=0"));
        let unmapped = |c: &mut Config| (c.map_size, c.map_sweeps) = (0, 20);
        assert!(refused(cells(49), unmapped).expect("no map").starts_with("map_sweeps=20 plans on a map"));
        assert!(refused(cells(49), |c| c.map_beside = true).expect("no plan").starts_with("map_beside=true says"));
        let unmapped = |c: &mut Config| (c.map_size, c.map_erase) = (0, true);
        assert!(refused(cells(49), unmapped).expect("no map").starts_with("map_erase=true erases"));
        let unmapped = |c: &mut Config| (c.map_size, c.map_dense) = (0, false);
        assert!(refused(cells(49), unmapped).expect("no map").starts_with("map_dense=false keeps layers"));
    }
}
