//! Bugs 3 and 7 (the entropy bonus): returns and losses of imagination against the formulas of the paper, computed from the
//! states that the step itself imagined.

use dreamer_fast::ops::normal_nll::HALF_LN_TAU;

use super::close;
use super::trial::{Trial, trial};

/// What the heads say of the states of imagination that the losses speak of, [states, N], and what follows from it.
struct ByHand {
    n: usize,
    /// Returns and weights [L, N].
    returns: Vec<f64>,
    weights: Vec<f64>,
    /// Weights of what the actor does in these states: those, or times the discount of the state itself.
    acting: Vec<f64>,
    values: Vec<f64>,
    /// ln pi(a | s) and entropy [H, N], for discrete actions.
    log_prob: Vec<f64>,
    entropy: Vec<f64>,
}

/// Dreamer eq. (5): rewards of `k` states from `t` on, then the value of the state after them, all discounted.
fn n_step(r: &[f64], v: &[f64], p: &[f64], t: usize, k: usize) -> f64 {
    let discount = |to: usize| p[t..to].iter().product::<f64>();
    (t..t + k).map(|at| discount(at) * r[at]).sum::<f64>() + discount(t + k) * v[t + k]
}

/// Dreamer eq. (6): the exponential average of all n-step returns that fit before the last state.
fn lambda_return(r: &[f64], v: &[f64], p: &[f64], t: usize, lambda: f64) -> f64 {
    let longest = r.len() - 1 - t;
    let shorter: f64 = (1..longest).map(|k| lambda.powi(k as i32 - 1) * n_step(r, v, p, t, k)).sum();
    (1.0 - lambda) * shorter + lambda.powi(longest as i32 - 1) * n_step(r, v, p, t, longest)
}

fn by_hand(trial: &mut Trial) -> ByHand {
    let c = trial.model.config.clone();
    let n = trial.model.starts();
    let all = trial.imagination();
    // Losses speak of states 1 .. H-1 with the dynamics gradient, of 0 .. H-1 with reinforce; the state after them is the bootstrap.
    let first = usize::from(!trial.reinforce());
    let widths = [trial.model.stoch(), trial.model.deter()];
    let feat = [0, 1].map(|part| all[part][first * n * widths[part]..].to_vec());
    let reward = trial.layer("reward", c.reward_layers, &feat);
    let value = trial.layer("value", c.value_layers, &feat);
    let target = if c.slow_value > 0.0 { trial.layer("slow", c.value_layers, &feat) } else { value.clone() };
    let p: Vec<f64> = if c.pcont {
        trial.layer("pcont", c.pcont_layers, &feat).iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect()
    } else {
        vec![c.discount; reward.len()]
    };
    let steps = reward.len() / n - 1;
    let column = |x: &[f64], i: usize| x.iter().skip(i).step_by(n).copied().collect::<Vec<_>>();
    let (mut returns, mut weights) = (vec![0.0; steps * n], vec![0.0; steps * n]);
    let mut acting = weights.clone();
    for i in 0..n {
        let (r, v, p) = (column(&reward, i), column(&target, i), column(&p, i));
        for t in 0..steps {
            returns[t * n + i] = lambda_return(&r, &v, &p, t, c.disclam);
            weights[t * n + i] = p[..t].iter().product();
            acting[t * n + i] = p[..t + usize::from(!c.actor_ends)].iter().product();
        }
    }
    let (mut log_prob, mut entropy) = (Vec::new(), Vec::new());
    if trial.model.actions.discrete() {
        let acted = [0, 1].map(|part| all[part][..c.horizon * n * widths[part]].to_vec());
        let logits = trial.layer("actor", c.actor_layers, &acted);
        let classes = trial.model.actions.size();
        for (logits, noise) in logits.chunks_exact(classes).zip(trial.action_noise.chunks_exact(classes)) {
            let sum: f64 = logits.iter().map(|x| x.exp()).sum();
            let ln: Vec<f64> = logits.iter().map(|x| x - sum.ln()).collect();
            let chosen = (0..classes).max_by(|&a, &b| (ln[a] + noise[a]).total_cmp(&(ln[b] + noise[b]))).unwrap();
            log_prob.push(ln[chosen]);
            entropy.push(-ln.iter().map(|ln| ln.exp() * ln).sum::<f64>());
        }
    }
    ByHand { n, returns, weights, acting, values: value[..steps * n].to_vec(), log_prob, entropy }
}

fn mean(x: impl Iterator<Item = f64>) -> f64 {
    let x: Vec<f64> = x.collect();
    x.iter().sum::<f64>() / x.len() as f64
}

/// Settings that change what a return is made of; each is tried with both ways of training the actor.
const WAYS: [&[&str]; 4] = [&["pcont=false"], &["pcont=true"], &["pcont=true", "imag_starts=6"], &["slow_value=0.5"]];

/// Settings that change what the actor's loss is made of, with reinforce.
const OPEN_STATES: &[&str] = &["pcont=true", "actor_ends=false"];

fn trials() -> impl Iterator<Item = (String, Trial)> {
    let dynamics = WAYS.iter().flat_map(|way| [(true, way.to_vec()), (false, way.to_vec())]);
    let reinforce = WAYS.iter().chain(&[OPEN_STATES]).map(|way| (true, [way, &["actor_grad=reinforce"][..]].concat()));
    dynamics.chain(reinforce).map(|(discrete, mut way)| {
        way.push(if discrete { "actor_entropy=0.05" } else { "actor_entropy=0" });
        (format!("discrete {discrete}, {way:?}"), trial(discrete, &way))
    })
}

/// Fails when `behavior` passes the values of states 0 .. instead of 1 .. as those that follow, drops the first reward, or
/// when `lambda_return` forgets the bootstrap.
#[test]
fn bug_03_the_lambda_return_is_the_average_of_all_n_step_returns() {
    for (way, mut trial) in trials() {
        let hand = by_hand(trial.run());
        let behavior = trial.step.behavior;
        let (returns, values) = (trial.value(behavior.returns), trial.value(behavior.values));
        assert_eq!((returns.len(), values.len()), (hand.returns.len(), hand.values.len()), "{way}");
        for (at, (got, want)) in returns.iter().zip(&hand.returns).enumerate() {
            let (t, i) = (at / hand.n, at % hand.n);
            assert!(close(*got, *want), "{way}: the return of start {i} at step {t} is {got}, not {want}");
        }
        assert!(
            values.iter().zip(&hand.values).all(|(a, b)| close(*a, *b)),
            "{way}: values stand beside other returns"
        );
    }
}

/// Fails when `cumulative_discount` multiplies along the batch, includes a step's own discount, or when the value loss goes
/// without the weights.
#[test]
fn bug_03_the_discount_is_cumulated_along_time() {
    for (way, mut trial) in trials() {
        let hand = by_hand(trial.run());
        let nll = |i: usize| 0.5 * (hand.values[i] - hand.returns[i]).powi(2) + HALF_LN_TAU;
        let want = mean((0..hand.returns.len()).map(|i| hand.weights[i] * nll(i)));
        let got = trial.step.plan.scalar(trial.step.behavior.value_loss);
        assert!(close(got, want), "{way}: the value loss is {got}, not {want}");
    }
}

/// Fails when the entropy's term in the actor loss is left out, doubled, or replaces the other term, or when `actor_ends` changes nothing.
#[test]
fn bug_07_the_entropy_bonus_is_there_exactly_once() {
    for (way, mut trial) in trials() {
        let hand = by_hand(trial.run());
        let weight = trial.model.config.actor_entropy;
        let rows = 0..hand.returns.len();
        let want = if trial.reinforce() {
            let gain = |i: usize| hand.log_prob[i] * (hand.returns[i] - hand.values[i]) + weight * hand.entropy[i];
            -mean(rows.map(|i| hand.acting[i] * gain(i)))
        } else {
            let bonus = if hand.entropy.is_empty() { 0.0 } else { weight * mean(hand.entropy.iter().copied()) };
            -mean(rows.map(|i| hand.weights[i] * hand.returns[i])) - bonus
        };
        let got = trial.step.plan.scalar(trial.step.behavior.actor_loss);
        assert!(close(got, want), "{way}: the actor loss is {got}, not {want}");
        assert!(hand.entropy.is_empty() || weight * mean(hand.entropy.into_iter()) > 1e-3, "{way}: no bonus to miss");
    }
}
