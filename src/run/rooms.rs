//! `dreamer-fast explain --op`: one op as its file tells it, with its gradient check run now.

use std::sync::Arc;

use super::gradcheck::{check_op, table};
use crate::autodiff::gradcheck::BOUND;
use crate::base::{Error, Result};
use crate::config::nearest;
use crate::device::Pool;
use crate::ops::registry::OPS;

/// A file of the floor of ops, and where the paper has what is in it.
pub(super) struct Room {
    file: &'static str,
    source: &'static str,
    paper: &'static str,
}

macro_rules! rooms {
    ($($file:literal: $paper:literal,)+) => {
        &[$(Room { file: $file, source: include_str!(concat!("../ops/", $file, ".rs")), paper: $paper }),+]
    };
}

const ROOMS: &[Room] = rooms! {
    "activation": "Dreamer, appendix A: ELU in dense layers, ReLU in convolutions; danijar/dreamer models.py.",
    "adam": "Dreamer, appendix A (hyper parameters): Adam, and gradient norms scaled down to 100.",
    "bernoulli_nll": "Dreamer, appendix A: the discount factor that a binary head predicts where episodes end; danijar/dreamer dreamer.py, pcont.",
    "categorical_entropy": "DreamerV2: the entropy bonus in the loss of the actor. DreamerV1 has none.",
    "categorical_nll": "Dreamer eq. (10), the observation term, for symbolic views; DreamerV2, ln pi of the chosen action in the loss of the actor.",
    "columns": "A part of the state, for layers that do not read the map. Dreamer has no map (`map_size = 0`).",
    "conv2d": "Dreamer, appendix A: the image encoder, after World Models (Ha and Schmidhuber, 2018).",
    "conv_transpose2d": "Dreamer, appendix A: the image decoder, after World Models (Ha and Schmidhuber, 2018).",
    "convolve": "The products that conv2d and conv_transpose2d are made of; it has no equation of its own in the paper.",
    "cumulative_discount": "Dreamer eqs. (7) and (8): the weights of imagined steps; danijar/dreamer dreamer.py, _train.",
    "ego_map": "Parisotto and Salakhutdinov, 2018: a map around the agent that moves as it does. Dreamer has no map (`map_size = 0`).",
    "gaussian": "Dreamer eq. (9): the states of the RSSM as diagonal normals; PlaNet eq. (4).",
    "gru_cell": "PlaNet (Hafner et al., 2019) eq. (4), the deterministic path that Dreamer eq. (9) keeps; Cho et al., 2014.",
    "kl_categorical": "DreamerV2: the divergence of categorical latents. Dreamer eq. (10) has it between normals.",
    "kl_gaussian": "Dreamer eq. (10): the divergence that regularises the posterior.",
    "lambda_return": "Dreamer eq. (6): V_lambda, in recursive form.",
    "linear": "Dreamer, appendix A: the dense layers of every network.",
    "map_now": "What is known at a moment, for value_iteration. Dreamer has no map (`map_size = 0`).",
    "map_view": "What the map of ego_map expects to be seen. Dreamer has no map (`map_size = 0`).",
    "mean": "Dreamer eqs. (7), (8), (10): expectations as means over the batch.",
    "noise": "Dreamer eq. (3): epsilon of the reparameterised samples. Philox: Salmon et al., 2011.",
    "norm": "DreamerV2: layer norm in the GRU; DreamerV3: RMS norm in every layer. DreamerV1 has neither.",
    "norm_gru_cell": "DreamerV2: the GRU whose projection is normalised. DreamerV1 has gru_cell instead.",
    "normal_nll": "Dreamer eq. (10), observation and reward terms; eq. (8), the value regression.",
    "outer": "Oh et al., 2015: actions that multiply the state. In Dreamer they are added to it (`action_product = false`).",
    "patches": "The windows of conv2d and conv_transpose2d; it has no equation of its own in the paper.",
    "phases": "How conv_transpose2d becomes a plain convolution; it has no equation of its own in the paper.",
    "pointwise": "Dreamer eq. (10): the sum of the losses, and free nats as a lower bound (Dreamer, appendix A).",
    "sample_onehot": "Dreamer, appendix A: straight-through gradients for discrete actions; DreamerV2 has them for latents.",
    "sample_tanh_normal": "Dreamer eq. (3): the reparameterised action, tanh(mu + sigma eps).",
    "silu": "DreamerV3: the activation of every layer; DreamerV1 has ELU and ReLU.",
    "softmax": "What the rooms of categorical variables share; it has no equation of its own in the paper.",
    "symlog": "DreamerV3 eq. (1): vector observations, and heads that predict the symlog of a number; DreamerV1 has neither.",
    "twohot": "DreamerV3: heads that predict a distribution over fixed bins; DreamerV1 has a normal head instead.",
    "unimix": "DreamerV3: one percent of the actor's distribution is uniform; DreamerV1 has no such share.",
    "value_iteration": "Tamar et al., 2016: a plan on the map. Dreamer does not plan (`map_sweeps = 0`).",
};

impl Room {
    /// Names of the ops in this file: the words in its `name` functions.
    fn ops(&self) -> Vec<&'static str> {
        let bodies = self.source.split("fn name(&self) -> &'static str {").skip(1);
        let bodies = bodies.filter_map(|part| part.find("\n    }").map(|end| &part[..end]));
        bodies.flat_map(|body| body.split('"').skip(1).step_by(2)).collect()
    }
}

/// The file of `src/ops` and of `kernels` that an op is in; its own name, if no file has it.
#[cfg(feature = "cuda")]
pub(super) fn file_of(op: &'static str) -> &'static str {
    ROOMS.iter().find(|room| room.ops().contains(&op)).map_or(op, |room| room.file)
}

/// The room of an op, or of a file by its name. An unknown name is refused and the nearest named.
pub(super) fn find(name: &str) -> Result<&'static Room> {
    ROOMS.iter().find(|room| room.file == name || room.ops().contains(&name)).ok_or_else(|| {
        let mut names: Vec<&str> = ROOMS.iter().flat_map(|room| std::iter::once(room.file).chain(room.ops())).collect();
        names.sort_unstable();
        names.dedup();
        let hint = nearest(name, &names).map(|near| format!("; did you mean {near}?")).unwrap_or_else(|| ".".into());
        Error::new(format!("there is no op {name}{hint} Ops: {}.", names.join(", ")))
    })
}

/// What a room says of itself, asked for by this name: equations, code, the gradient check run now, and where the paper has it.
pub(super) fn explain(room: &Room, name: &str) -> Result<String> {
    let lines = || room.source.lines();
    let equations: String = lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| line.trim_start_matches("//!").strip_prefix(' ').unwrap_or_default().to_string() + "\n")
        .collect();
    let code: String = lines().skip_while(|line| line.starts_with("//!")).map(|line| line.to_string() + "\n").collect();
    Ok(format!(
        "# {name}: src/ops/{}.rs\n\n{}\nIn the paper: {}\n\n## Code\n{code}\n## Gradient check, run now in f64\n\n{}",
        room.file,
        equations,
        room.paper,
        gradients(room, name)?
    ))
}

/// The gradient checks of the named op, or of all ops of the room if it is the room that was named.
fn gradients(room: &Room, name: &str) -> Result<String> {
    let ops = room.ops();
    let named: Vec<&str> = if ops.contains(&name) { vec![name] } else { ops };
    let pool = Arc::new(Pool::new(1)?);
    let mut judged = Vec::new();
    for op in named.into_iter().filter(|op| OPS.contains(op)) {
        judged.extend(check_op(op, &pool)?.into_iter().map(|outcome| (outcome, BOUND)));
    }
    if judged.is_empty() {
        return Ok("No gradient passes through this room, so there is none to check.\n".into());
    }
    Ok(table(&judged).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_op_has_a_room() {
        for op in OPS {
            let room = ROOMS.iter().find(|room| room.ops().contains(op)).unwrap_or_else(|| panic!("{op} has no room"));
            assert!(!room.paper.is_empty());
        }
        // Every file of the floor is a room, but those that only name or list the others.
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops")).unwrap() {
            let file = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
            let known = ROOMS.iter().any(|room| room.file == file) || ["mod", "registry"].contains(&file.as_str());
            assert!(known, "src/ops/{file}.rs is no room");
        }
    }

    #[test]
    fn a_shared_room_is_found_by_each_of_its_ops() {
        for (op, file) in
            [("sample_gaussian", "gaussian"), ("floor", "pointwise"), ("mask", "pointwise"), ("twohot_nll", "twohot")]
        {
            let text = explain(find(op).unwrap(), op).unwrap();
            assert!(text.starts_with(&format!("# {op}: src/ops/{file}.rs\n")));
            assert!(text.contains(&format!("{op} ")) && text.contains("worst error"), "{op}");
        }
        let error = find("gru_cel").err().expect("a typo").to_string();
        assert!(error.contains("did you mean gru_cell?"), "{error}");
    }
}
