//! A profile as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::rollout::Direction;
use super::{Label, Machine, Part, Pass, Profile, Tally};
use crate::report::Table;

/// The share of an update below which a layer gets no line of its own.
const SMALL: f64 = 0.001;

/// What several calls took together.
#[derive(Default, Clone)]
struct Sum {
    nanoseconds: f64,
    by_pass: BTreeMap<Pass, f64>,
    calls: usize,
    flops: f64,
    bytes: f64,
}

impl Sum {
    fn add(&mut self, label: &Label, tally: &Tally) {
        self.nanoseconds += tally.nanoseconds;
        *self.by_pass.entry(label.pass).or_default() += tally.nanoseconds;
        self.calls += 1;
        self.flops += label.flops;
        self.bytes += label.bytes;
    }

    fn join(&mut self, other: &Sum) {
        self.nanoseconds += other.nanoseconds;
        other.by_pass.iter().for_each(|(&pass, time)| *self.by_pass.entry(pass).or_default() += time);
        self.calls += other.calls;
        self.flops += other.flops;
        self.bytes += other.bytes;
    }
}

/// Everything that the command prints of a profile.
pub(super) fn tables(profile: &Profile, machine: &Machine) -> String {
    let mut text = String::new();
    let ms = |nanoseconds: f64| format!("{:.3}", nanoseconds / 1e6);
    let cost = 100.0 * (profile.wall / profile.wall_unrecorded - 1.0);
    write(
        &mut text,
        format_args!(
            "{} ms with the recorder; median {} ms without ({cost:+.1} %).\n",
            ms(profile.wall),
            ms(profile.wall_unrecorded)
        ),
    );
    if profile.dropped > 0 {
        write(
            &mut text,
            format_args!(
                "{} events found no room: the shares of ops are too small, those of waiting too large.\n",
                profile.dropped
            ),
        );
    }
    write(
        &mut text,
        format_args!(
            "\nBy op. A time is a share of the update's wall time: that of all workers over their number.\n{}",
            by_op(profile, machine)
        ),
    );
    write(
        &mut text,
        format_args!(
            "\nBy layer: the parameters that a call reads; where it reads none, its scope and op.\n{}",
            by_name(profile, machine)
        ),
    );
    write(&mut text, format_args!("\nThe rollouts, one time step of each\n{}", rollouts(profile, machine)));
    text += "\nOperations and bytes are those of the ops' `cost()`; of a backward pass the operations of the wanted gradients, and the bytes of the \
             forward pass. `peak` and `memory` are shares of what the machine can do; operands in cache can pass 100 % of memory.\n";
    text
}

fn write(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes all that is written to it");
}

/// Cells of a sum: time, share, calls, rates.
fn cells(sum: &Sum, profile: &Profile, machine: &Machine) -> [String; 7] {
    let [time, share] = time(sum.nanoseconds, profile);
    let wall = sum.nanoseconds / profile.threads as f64;
    let (gflops, gbytes) = (sum.flops / wall, sum.bytes / wall);
    let rate = |rate: f64, most: f64| {
        if rate > 0.0 && rate.is_finite() {
            [format!("{rate:.1}"), percent(rate / most)]
        } else {
            [String::new(), String::new()]
        }
    };
    let ([flops, of_peak], [bytes, of_memory]) = (rate(gflops, machine.gflops), rate(gbytes, machine.gbytes));
    [time, share, sum.calls.to_string(), flops, of_peak, bytes, of_memory]
}

/// A time of all workers in milliseconds of an update, and its share.
fn time(nanoseconds: f64, profile: &Profile) -> [String; 2] {
    let wall = nanoseconds / profile.threads as f64;
    [format!("{:.3}", wall / 1e6), percent(wall / profile.wall)]
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Sums in descending order of time.
fn sorted<K: Ord>(calls: &[(Label, Tally)], key: impl Fn(&Label) -> K) -> Vec<(K, Sum)> {
    let mut sums: BTreeMap<K, Sum> = BTreeMap::new();
    calls.iter().for_each(|(label, tally)| sums.entry(key(label)).or_default().add(label, tally));
    let mut sums: Vec<(K, Sum)> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.nanoseconds.total_cmp(&a.1.nanoseconds));
    sums
}

fn by_op(profile: &Profile, machine: &Machine) -> Table {
    let mut table = Table::new(&["op", "pass", ">ms", ">share", ">calls", ">GFLOP/s", ">peak", ">GB/s", ">memory"]);
    for ((op, pass), sum) in sorted(&profile.calls, |label| (label.op, label.pass)) {
        let op = if op.is_empty() { "(gradients)" } else { op };
        let cells = cells(&sum, profile, machine);
        table.row([op.to_string(), pass.name().to_string()].into_iter().chain(cells));
    }
    table.rule();
    let mut all = 0.0;
    let mut line = |name: &str, nanoseconds: f64| {
        let [time, share] = time(nanoseconds, profile);
        table.row([name, "", &time, &share, "", "", "", "", ""]);
    };
    for &(part, nanoseconds) in &profile.parts {
        all += nanoseconds;
        line(part.name(), nanoseconds);
    }
    line("update", all);
    table
}

fn by_name(profile: &Profile, machine: &Machine) -> Table {
    let mut table = Table::new(&[
        "name",
        ">ms",
        ">share",
        ">calls",
        ">GFLOP/s",
        ">peak",
        ">GB/s",
        ">memory",
        ">forward",
        ">backward",
        ">weights",
    ]);
    let passes = |sum: &Sum| {
        [Pass::Forward, Pass::Backward, Pass::Weights].map(|pass| match sum.by_pass.get(&pass) {
            Some(&nanoseconds) => time(nanoseconds, profile)[0].clone(),
            None => String::new(),
        })
    };
    let (mut small, mut names) = (Sum::default(), 0);
    for (name, sum) in sorted(&profile.calls, |label| label.name.clone()) {
        if sum.nanoseconds < SMALL * profile.threads as f64 * profile.wall {
            small.join(&sum);
            names += 1;
            continue;
        }
        table.row([name].into_iter().chain(cells(&sum, profile, machine)).chain(passes(&sum)));
    }
    if names > 0 {
        let name = format!("({names} below {})", percent(SMALL));
        table.row([name].into_iter().chain(cells(&small, profile, machine)).chain(passes(&small)));
    }
    table.rule();
    let mut all = Sum::default();
    profile.calls.iter().for_each(|(label, tally)| all.add(label, tally));
    table.row([Part::Calls.name().to_string()].into_iter().chain(cells(&all, profile, machine)).chain(passes(&all)));
    table
}

fn rollouts(profile: &Profile, machine: &Machine) -> Table {
    let mut table = Table::new(&[
        "rollout",
        "pass",
        ">steps",
        ">rows",
        ">us",
        ">calls",
        ">pieces",
        ">linear",
        ">GFLOP/s",
        ">peak",
        ">of the update",
    ]);
    for rollout in &profile.rollouts {
        for (pass, d) in [(Pass::Forward, rollout.forward), (Pass::Backward, rollout.backward)] {
            let Direction { nanoseconds, linear, calls, pieces, flops } = d;
            let wall = nanoseconds / profile.threads as f64;
            table.row([
                rollout.name.to_string(),
                pass.name().to_string(),
                rollout.steps.to_string(),
                rollout.rows.to_string(),
                format!("{:.1}", wall / 1e3),
                format!("{calls:.1}"),
                format!("{pieces:.1}"),
                percent(linear / nanoseconds),
                format!("{:.1}", flops / wall),
                percent(flops / wall / machine.gflops),
                percent(rollout.steps as f64 * wall / profile.wall),
            ]);
        }
    }
    table
}
