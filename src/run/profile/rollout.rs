//! The scans of the world model: what one time step of them takes.

use super::{Label, Pass, Subject, Tally};

/// One direction of a scan; all figures are those of one time step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Direction {
    /// Nanoseconds of all workers.
    pub nanoseconds: f64,
    /// Of these, in linear layers: products with their epilogues.
    pub linear: f64,
    /// Calls of ops.
    pub calls: f64,
    /// Pieces that workers were handed.
    pub pieces: f64,
    /// Floating point operations.
    pub flops: f64,
}

/// A scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// `observe` or `imagine`.
    pub name: &'static str,
    /// Time steps.
    pub steps: usize,
    /// Rows of each time step.
    pub rows: usize,
    /// The forward passes.
    pub forward: Direction,
    /// The backward passes of all sweeps, without the gradients of weights, which are gathered over all time steps.
    pub backward: Direction,
}

/// The scans of a training step: `observe` over the rows of a batch, and `imagine` with its actor over the rows of the starts.
pub(super) fn rollouts(subject: &mut Subject, calls: &[(Label, Tally)]) -> Vec<Rollout> {
    let (config, starts) = (subject.model().config.clone(), subject.model().starts());
    let infos = subject.step().plan.calls();
    let of = |name: &'static str, scopes: &[&str], steps: usize, rows: usize| {
        // What is computed for all time steps at once has other rows.
        let belongs = |call: usize| scopes.contains(&infos[call].scope.as_str()) && infos[call].rows == rows;
        let direction = |pass: Pass| {
            let mut sum = Direction::default();
            for (label, tally) in
                calls.iter().filter(|(label, _)| label.pass == pass && label.call.is_some_and(belongs))
            {
                sum.nanoseconds += tally.nanoseconds;
                sum.linear += if label.op == "linear" { tally.nanoseconds } else { 0.0 };
                sum.calls += 1.0;
                sum.pieces += tally.pieces;
                sum.flops += label.flops;
            }
            let n = steps as f64;
            Direction {
                nanoseconds: sum.nanoseconds / n,
                linear: sum.linear / n,
                calls: sum.calls / n,
                pieces: sum.pieces / n,
                flops: sum.flops / n,
            }
        };
        Rollout { name, steps, rows, forward: direction(Pass::Forward), backward: direction(Pass::Backward) }
    };
    vec![
        of("observe", &["observe"], config.batch_length, config.batch_size),
        of("imagine", &["imagine", "actor"], config.horizon, starts),
    ]
}
