//! Learning behaviours in imagination: Dreamer section 3.
//!
//! From every start state the actor acts H times in the world model. States are numbered 0 (the start) to H. With the reward r, value v and discount
//! p that the heads predict for each state,
//!
//! ```text
//! (I1) R_t = r_t + p_t [ (1 - lambda) v_{t+1} + lambda R_{t+1} ],  R_H = v_H          Dreamer eq. (6)
//! (I2) w_t = product of the discounts before state t, through which no gradient flows
//! (I3) dynamics:   actor loss = -mean w_t R_t                                       eq. (7)
//! (I4) reinforce:  actor loss = -mean w_t [ ln pi(a_t | s_t) sg(R_t - v_t) / range + entropy_weight H(pi) ]
//! (I5) value loss  =  mean w_t (-ln p(sg R_t | s_t))                                 eq. (8)
//! (I6) mixed:      actor loss = -mean w_t [ (mix R_t + (1 - mix) ln pi(a_t | s_t) sg(R_t - v_t)) / range + entropy_weight H(pi) ]
//! (I7) the value head minimises value loss + value_actor_grad actor loss
//! (I8) log barrier:  (I4) and (I6) gain actor_log_barrier mean w_t [ -mean_a ln pi(a | s_t) ]
//! (I9) without actor_ends:  (I4), (I8) and the second part of (I6) have w_t p_t in place of w_t
//! ```
//! In a state that has ended no action is taken: its p is 0, but its w is that of the state before, since its value is to be learned. The range of
//! returns is then that of states by their w_t p_t, too (DreamerV3: the weight of a state contains its own continue probability).
//! Without `discount_weights` every w_t is 1. With `actor_entropy_decay` the entropy's weight halves in so many updates, down to `actor_entropy_min`.
//! R_t and v_t contain the reward of state t itself. With (I3), as published, losses run over states 1 .. H-1: the start is a constant of the
//! actor. With (I4) and (I6) they run over 0 .. H-1, since the first action is as good as any other to learn from. The actor sees stopped
//! features; under (I3) its gradient flows through the actions into later states, rewards and values, and nowhere else. Source:
//! danijar/dreamer `dreamer.py`, `_train`, `_imagine_ahead`; DreamerV2 eq. (6) for (I4) and (I6); Agarwal et al., "On the theory of policy
//! gradient methods", 2021, for (I8). Unlike the entropy's, its gradient in the logits, pi - 1/A, does not vanish for an action that is never taken.

use super::actor::{self, ActDist};
use super::heads;
use super::model::{Model, SLOW};
use super::rssm::{State, img_step};
use crate::autodiff::{Graph, Plan, Var};
use crate::base::Real;
use crate::config::ActorGrad;
use crate::ops::lambda_return::Discount;

/// The losses of actor and value, and what they were made of.
#[derive(Debug, Clone, Copy)]
pub struct Behavior {
    /// Minimised by the actor.
    pub actor_loss: Var,
    /// How far the value is from the returns.
    pub value_loss: Var,
    /// Minimised by the value head: the value loss, and a share of the actor's with `value_actor_grad`.
    pub value_objective: Var,
    /// Returns [L, N].
    pub returns: Var,
    /// Values of the states whose returns these are [L, N].
    pub values: Var,
    /// How much it counts that a state has not ended [L, N], of (I9), where the settings ask for it.
    pub open: Option<Var>,
    /// Predicted rewards of the imagined states [H, N].
    pub rewards: Var,
    /// Imagined states 1 .. H: [H, N, ..].
    pub imagined: State,
    /// Mean entropy of the actor's distribution, for discrete actions.
    pub action_entropy: Option<Var>,
    /// The range that returns are divided by, an input `[1]` that the host fills.
    pub range: Option<Var>,
    /// The weight of the entropy where it changes from update to update, an input `[1]` that the host fills.
    pub entropy_weight: Option<Var>,
}

/// What was imagined.
#[derive(Debug, Clone)]
pub struct Imagined {
    /// States [H, N, ..], or [H + 1, N, ..] with the start in front.
    pub states: State,
    /// Actions of the H steps, each [N, A].
    pub actions: Vec<Var>,
    /// The distributions that they were drawn from.
    pub dists: Vec<ActDist>,
}

/// Inputs that hold one number each and never change.
const DISCOUNT: &str = "behavior.discount";
const UNIFORM: &str = "behavior.uniform";

/// Writes the inputs of a traced behavior that never change: the discount, and the probabilities of a uniform distribution over actions.
pub fn write_constants<R: Real>(plan: &mut Plan<R>, model: &Model) {
    for (name, number) in [(DISCOUNT, model.config.discount), (UNIFORM, 1.0 / model.actions.size() as f64)] {
        if let Some(input) = plan.input(name) {
            plan.input_mut(input).fill(R::of(number));
        }
    }
}

/// Traces H steps of imagination from `start` [N, ..], with noise [H, N, S] and [H, N, A]. No gradient flows into the start, or into the
/// features that the actor sees.
pub fn imagine<R: Real>(
    g: &mut Graph<R>,
    model: &Model,
    start: State,
    noise: Var,
    action_noise: Var,
    with_start: bool,
) -> Imagined {
    g.scope("imagine");
    let start = start.stop(g);
    let (mut stochs, mut deters) = (Vec::new(), Vec::new());
    if with_start {
        // A copy of the start, so that it can stand in front of the states that follow.
        stochs.push(g.sum(&[(start.stoch, 1.0)]));
        deters.push(g.sum(&[(start.deter, 1.0)]));
    }
    let mut state = start;
    let (mut actions, mut dists) = (Vec::new(), Vec::new());
    for t in 0..model.config.horizon {
        let (step_noise, step_action_noise) = (g.window(noise, t), g.window(action_noise, t));
        let feat = state.stop(g).feat();
        let act = actor::act(g, model, &feat, step_action_noise);
        g.scope("imagine");
        state = img_step(g, model, state, act.action, step_noise);
        stochs.push(state.stoch);
        deters.push(state.deter);
        actions.push(act.action);
        dists.push(act.dist);
    }
    Imagined { states: State { stoch: g.stack(&stochs), deter: g.stack(&deters) }, actions, dists }
}

/// Traces imagination and both losses from `start` [N, ..], with noise [H, N, S] and [H, N, A].
pub fn behavior<R: Real>(g: &mut Graph<R>, model: &Model, start: State, noise: Var, action_noise: Var) -> Behavior {
    let c = &model.config;
    let (h, n) = (c.horizon, g.height(start.stoch));
    // Whether the probabilities of the actions have a part in the gradient.
    let reinforce = c.actor_grad != ActorGrad::Dynamics;

    let Imagined { states, actions, dists } = imagine(g, model, start, noise, action_noise, reinforce);
    // States that losses may speak of: 0 .. H with the start, 1 .. H without.
    let count = g.shape(states.stoch)[0];
    let steps = count - 1;
    let flat = states.flat(g);

    let reward = heads::reward(g, model, &flat.feat()).mean(g, model);
    let value_head = heads::value(g, model, "value", &flat.feat());
    let value = value_head.mean(g, model);
    let target_value =
        if c.slow_value > 0.0 { heads::value(g, model, SLOW, &flat.feat()).mean(g, model) } else { value };
    g.scope("returns");
    let by_step = |g: &mut Graph<R>, x: Var, from: usize, to: usize| {
        let x = g.reshape(x, &[count, n]);
        g.rows(x, from, to)
    };
    let predicted = c.pcont.then(|| {
        let logit = heads::pcont(g, model, &flat.feat());
        g.scope("returns");
        let p = g.activation(logit, crate::ops::Activation::Sigmoid);
        by_step(g, p, 0, steps)
    });
    let weights = c.discount_weights.then(|| {
        let p = match predicted {
            Some(p) => g.stop(p),
            // The discount as a tensor that nothing writes but the host, once.
            None => g.input(DISCOUNT, &[steps, n]),
        };
        g.cumulative_discount(p, None) // (I2)
    });
    let weighted_mean = |g: &mut Graph<R>, x: Var, weights: Option<Var>| match weights {
        Some(w) => g.weighted_mean(x, w),
        None => g.mean(x),
    };
    // (I9)
    let open = match (weights, predicted) {
        (Some(w), Some(p)) if !c.actor_ends => {
            let p = g.stop(p);
            Some(g.mul(w, p))
        }
        _ => None,
    };
    let acting = open.or(weights);
    let discount = predicted.map_or(Discount::Constant(c.discount), Discount::Tensor);
    let (now, next) = (by_step(g, reward, 0, steps), by_step(g, target_value, 1, count));
    let returns = g.lambda_return(now, next, discount, c.disclam); // (I1)
    let values = by_step(g, value, 0, steps);

    g.scope("actor_loss");
    let entropy = match dists[0] {
        ActDist::OneHot(_) => {
            let logits: Vec<Var> = dists
                .iter()
                .map(|d| match *d {
                    ActDist::OneHot(logits) => logits,
                    ActDist::TanhNormal { .. } => panic!("one actor has one kind of distribution"),
                })
                .collect();
            let logits = g.stack(&logits);
            let logits = g.reshape(logits, &[h * n, model.actions.size()]);
            Some((logits, g.categorical_entropy(logits, model.actions.size())))
        }
        ActDist::TanhNormal { .. } => None,
    };
    let action_entropy = entropy.map(|(_, e)| g.mean(e));
    let entropy_weight =
        (c.actor_entropy > 0.0 && c.actor_entropy_decay > 0.0).then(|| g.input("behavior.entropy_weight", &[1]));
    let weigh_entropy = |g: &mut Graph<R>, entropy: Var| match entropy_weight {
        Some(weight) => (g.mul(entropy, weight), -1.0),
        None => (entropy, -c.actor_entropy),
    };
    let (actor_loss, range) = if reinforce {
        // (I4) (I6)
        let (logits, entropy) = entropy.expect("a model refuses reinforce for continuous actions");
        let chosen = g.stack(&actions);
        let chosen = g.reshape(chosen, &[h * n, model.actions.size()]);
        let nll = g.categorical_nll(logits, chosen, None, &[model.actions.size()]);
        let advantage = g.sum(&[(returns, 1.0), (values, -1.0)]);
        let weighted = acting.map_or(advantage, |w| g.mul(advantage, w));
        let mut policy = g.weighted_mean(nll, weighted);
        if c.actor_grad == ActorGrad::Mixed {
            let through_dynamics = weighted_mean(g, returns, weights);
            policy = g.sum(&[(policy, 1.0 - c.actor_grad_mix), (through_dynamics, -c.actor_grad_mix)]);
        }
        let range = g.input("behavior.inverse_range", &[1]);
        let scaled = g.mul(policy, range);
        let bonus = weighted_mean(g, entropy, acting);
        let mut terms = vec![(scaled, 1.0), weigh_entropy(g, bonus)];
        if c.actor_log_barrier > 0.0 {
            // (I8)
            let uniform = g.input(UNIFORM, &[h * n, model.actions.size()]);
            let barrier = g.categorical_nll(logits, uniform, None, &[model.actions.size()]);
            terms.push((weighted_mean(g, barrier, acting), c.actor_log_barrier));
        }
        (g.sum(&terms), Some(range))
    } else {
        // (I3)
        let gain = weighted_mean(g, returns, weights);
        let mut terms = vec![(gain, -1.0)];
        if let (Some(entropy), true) = (action_entropy, c.actor_entropy > 0.0) {
            terms.push(weigh_entropy(g, entropy));
        }
        (g.sum(&terms), None)
    };

    g.scope("value_loss");
    let target = g.stop(returns);
    let target = g.reshape(target, &[steps * n]);
    // (I5)
    let nll = value_head.rows(g, 0, steps * n).nll(g, model, target);
    let value_loss = weighted_mean(g, nll, weights);
    // (I7)
    let value_objective = match c.value_actor_grad {
        0.0 => value_loss,
        share => g.sum(&[(value_loss, 1.0), (actor_loss, share)]),
    };
    let imagined = if reinforce { states.rows(g, 1, count) } else { states };
    let rewards = by_step(g, reward, count - h, count);
    Behavior {
        actor_loss,
        value_loss,
        value_objective,
        returns,
        values,
        open,
        rewards,
        imagined,
        action_entropy,
        range,
        entropy_weight,
    }
}
