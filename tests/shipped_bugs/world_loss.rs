//! Bugs 4, 5 and 6: what the world model's loss is made of, and which rows a state depends on.

use super::close;
use super::trial::{OBS, Trial, trial};

fn scalar(trial: &Trial, name: &str) -> f64 {
    trial.step.metrics().find(|m| m.0 == name).unwrap_or_else(|| panic!("there is no {name}")).1
}

/// Fails when `world_loss` floors each state's divergence and takes the mean of that.
#[test]
fn bug_04_free_nats_are_granted_to_the_mean() {
    for latent in ["latent=gaussian", "latent=categorical"] {
        let with = |free: f64, each: bool| {
            let mut trial = trial(true, &[latent, &format!("free_nats={free}"), &format!("free_nats_each={each}")]);
            trial.run();
            trial
        };
        let kl = scalar(&with(0.0, false), "kl");
        let (below, above) = (0.95 * kl, 1.05 * kl);
        // States differ enough for the two rules to give different losses, on either side of the mean.
        assert!(scalar(&with(below, true), "div") > 1.01 * kl && scalar(&with(above, true), "div") > 1.01 * above);
        assert_eq!(scalar(&with(below, false), "div"), kl, "{latent}: the mean is above {below} free nats");
        assert_eq!(scalar(&with(above, false), "div"), above, "{latent}: the mean is below {above} free nats");
        // The prior learns from the divergence alone.
        let prior = |trial: &Trial| trial.params.grad("rssm.img3.w").iter().any(|&g| g != 0.0);
        assert!(prior(&with(below, false)) && !prior(&with(above, false)), "{latent}: gradients follow the mean");
    }
}

/// The states [T B] that change when one entry of an input does.
fn changed(trial: &mut Trial, name: &str, at: usize) -> Vec<bool> {
    let states = |trial: &mut Trial| -> Vec<Vec<f64>> {
        trial.run();
        let (s, d) = (trial.model.stoch(), trial.model.deter());
        let [stoch, deter] = trial.inferred();
        stoch.chunks(s).zip(deter.chunks(d)).map(|(s, d)| [s, d].concat()).collect()
    };
    let before = states(trial);
    let var = trial.step.plan.input(name).unwrap();
    trial.step.plan.input_mut(var)[at] += 0.5;
    let after = states(trial);
    trial.step.plan.input_mut(var)[at] -= 0.5;
    before.iter().zip(&after).map(|(a, b)| a != b).collect()
}

/// Fails when `obs_step` leaves the stochastic state, the deterministic state or the action unmasked, or when `observe`
/// takes the mask of the next row.
#[test]
fn bug_05_a_state_depends_on_its_own_episode_alone() {
    for discrete in [false, true] {
        let mut trial = trial(discrete, &[]);
        let (t_len, b) = (trial.model.config.batch_length, trial.model.config.batch_size);
        let width = trial.model.actions.size();
        let keep = trial.value(trial.step.batch.keep).to_vec();
        // Whether something at row `from` of chunk `i` reaches row `to`.
        let reaches = |from: usize, to: usize, i: usize| from <= to && (from + 1..=to).all(|t| keep[t * b + i] == 1.0);
        for from in 0..t_len {
            for i in 0..b {
                let row = from * b + i;
                let by_obs = changed(&mut trial, "batch.obs", row * OBS);
                let by_noise = changed(&mut trial, "noise.post", row * 4);
                let by_action = changed(&mut trial, "batch.action", row * width);
                for to in 0..t_len {
                    for j in 0..b {
                        let want = i == j && reaches(from, to, i);
                        let text = format!("row {from} of chunk {i}, state {to} of chunk {j}");
                        assert_eq!(by_obs[to * b + j], want, "observation: {text}");
                        assert_eq!(by_noise[to * b + j], want, "stochastic state: {text}");
                        // The action led here from the state before, of which nothing is left at a reset.
                        assert_eq!(by_action[to * b + j], want && keep[row] == 1.0, "action: {text}");
                    }
                }
            }
        }
    }
}

/// Fails when the continue loss enters the sum with a minus sign, or when `bernoulli_nll` is the log-probability itself.
#[test]
fn bug_06_the_continue_loss_is_a_negated_log_probability() {
    let mut trial = trial(true, &["pcont=true", "pcont_scale=7", "free_nats=0.1", "kl_scale=0.5"]);
    trial.run();
    let feat = trial.inferred();
    let logits = trial.layer("pcont", trial.model.config.pcont_layers, &feat);
    let target = trial.value(trial.step.batch.pcont_target).to_vec();
    let ln_p = |(x, target): (&f64, &f64)| {
        let p = 1.0 / (1.0 + (-x).exp());
        target * p.ln() + (1.0 - target) * (1.0 - p).ln()
    };
    let want = -logits.iter().zip(&target).map(ln_p).sum::<f64>() / target.len() as f64;
    let got = scalar(&trial, "pcont_loss");
    assert!(close(got, want), "the continue loss is {got}, not {want}");
    let rest = scalar(&trial, "image_loss") + scalar(&trial, "reward_loss") + 0.5 * scalar(&trial, "div");
    let (got, want) = (scalar(&trial, "model_loss"), rest + 7.0 * want);
    assert!(close(got, want), "the world model's loss is {got}, not {want}");
}
