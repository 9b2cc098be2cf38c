//! Rollouts: one launch for all steps of a scan on CUDA.
//!
//! A scan (`observe` over T, `imagine` over H, and their backward passes) is a region whose layers come again with every step. Each of its steps
//! depends on the one before, and launched one by one they are hundreds of small kernels. But its rows know nothing of each other: that is what
//! a region is. So a block of the kernel `rollout` (`kernels/rollout.cu`) takes a few rows through the whole scan, and blocks never wait
//! for each other.
//!
//! What it does is a table: the very launches that a step-by-step run would make, each as the number of its kernel, the number of elements of a row, and
//! its arguments. [`CudaPlan::step_by_step`](super::cuda_exec::CudaPlan::step_by_step) makes the same launches one by one and is the oracle: both have the same bits.
//!
//! A scan is found by its layers. In a region, commands one after another that `rollout` knows form a run. Where a run comes to the same layer more than
//! once, it is a scan from the first of these layers to the last, and beyond them as far as there is no other layer: a layer of many rows that is
//! used once is better off with a grid of its own. A scan with an op that `rollout` does not know is launched step by step, and a note says so.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::base::Result;
use crate::device::cuda::kernels::{
    ActivationBackward, ActivationDifferentiate, ActivationForward, Entry as _, Fill, GaussianBackward,
    GaussianForward, GruCellBackward, GruCellForward, In, Kernels, LinearBackwardInput, LinearForward, Listed,
    MaskBackward, MaskForward, NormBackward, NormForward, NormGruCellBackward, NormGruCellForward, Out, OuterBackwardA,
    OuterBackwardX, OuterForward, Rollout, RolloutTranspose, SampleOnehotBackward, SampleOnehotForward,
    SampleTanhNormalBackward, SampleTanhNormalForward, SiluBackward, SiluForward, SumBackward, SumForward,
    UnimixBackward, UnimixForward,
};
use crate::device::cuda::{Arg, Buffer};

/// One thing that a run does.
pub(super) struct Command {
    pub work: Work,
    /// Where it stands, unless its rows are mixed.
    pub region: Option<Region>,
    /// Of the trace.
    pub call: Option<usize>,
    pub layer: Option<Layer>,
}

impl Command {
    /// Whether it belongs to one of these layers.
    fn is_of(&self, layers: &BTreeSet<Layer>) -> bool {
        self.layer.is_some_and(|layer| layers.contains(&layer))
    }

    /// The kernel that it launches.
    pub fn kernel(&self) -> Option<&'static str> {
        match &self.work {
            Work::Launch(launch) => Some(launch.name()),
            Work::Clear { .. } => None,
        }
    }
}

/// Weights that a call of a region reads, by where they lie, and the pass: the next step of a scan comes to them again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layer {
    pub weights: usize,
    pub backward: bool,
}

/// What a command does.
pub(super) enum Work {
    Launch(Listed),
    /// Clears elements of the work arena; the address is that of the first.
    Clear {
        offset: usize,
        len: usize,
        address: u64,
    },
}

/// A row-parallel region: the number of the stage, and its rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub stage: usize,
    pub rows: usize,
}

/// The kernels that `rollout` knows, in the order of its enumeration `Known`.
const KNOWN: [usize; 29] = [
    LinearForward::NUMBER,
    LinearBackwardInput::NUMBER,
    ActivationForward::NUMBER,
    ActivationBackward::NUMBER,
    ActivationDifferentiate::NUMBER,
    GaussianForward::NUMBER,
    GaussianBackward::NUMBER,
    GruCellForward::NUMBER,
    GruCellBackward::NUMBER,
    SumForward::NUMBER,
    SumBackward::NUMBER,
    MaskForward::NUMBER,
    MaskBackward::NUMBER,
    Fill::NUMBER,
    SampleOnehotForward::NUMBER,
    SampleOnehotBackward::NUMBER,
    SampleTanhNormalForward::NUMBER,
    SampleTanhNormalBackward::NUMBER,
    NormForward::NUMBER,
    NormBackward::NUMBER,
    NormGruCellForward::NUMBER,
    NormGruCellBackward::NUMBER,
    OuterForward::NUMBER,
    OuterBackwardX::NUMBER,
    OuterBackwardA::NUMBER,
    SiluForward::NUMBER,
    SiluBackward::NUMBER,
    UnimixForward::NUMBER,
    UnimixBackward::NUMBER,
];

/// Words of a table for each launch: the kernel, the elements of a row, the arguments. `WORDS` of `kernels/rollout.cu`.
const WORDS: usize = 20;

/// Rows that a block takes are a multiple of this, and at most that: a thread of a product has 4 rows of a column.
const GROUP: usize = 4;
const MOST: usize = 32;

/// What the rollouts of a plan have on the device.
#[derive(Default)]
pub(super) struct Rollouts {
    tables: Vec<Buffer<u64>>,
    /// Transposed weights, by the address of the weights, their rows and their columns: another part of the same weights may begin at the same place.
    transposed: BTreeMap<[u64; 3], Buffer<f32>>,
    notes: Vec<String>,
}

impl Rollouts {
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same run with one launch for every scan, and, in front of all, one that transposes the weights that their backward passes read.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn roll(&mut self, commands: Vec<Command>, kernels: &Kernels) -> Result<Vec<Command>> {
        let mut matrices: Vec<[u64; 4]> = Vec::new();
        let info = kernels.stream().context().info();
        let scans = self.scans(&commands, info.shared_per_block as usize / size_of::<f32>() / GROUP);
        let rolled: Vec<Command> = scans
            .iter()
            .map(|scan| self.rollout(&commands[scan.clone()], kernels, &mut matrices))
            .collect::<Result<_>>()?;
        let mut out = Vec::new();
        if !matrices.is_empty() {
            out.push(self.transpose(&matrices, kernels)?);
        }
        let mut rolled = scans.into_iter().zip(rolled).peekable();
        for (number, command) in commands.into_iter().enumerate() {
            match rolled.next_if(|(scan, _)| scan.end == number + 1) {
                Some((_, rollout)) => out.push(rollout),
                None if rolled.peek().is_some_and(|(scan, _)| scan.contains(&number)) => {}
                None => out.push(command),
            }
        }
        Ok(out)
    }

    /// The ranges of commands that are scans whose products are not wider than `widest`.
    fn scans(&mut self, commands: &[Command], widest: usize) -> Vec<Range<usize>> {
        let mut scans = Vec::new();
        let known = |command: &Command| entry(command).is_some_and(|entry| entry.width <= widest);
        let mut from = 0;
        for region in commands.chunk_by(|a, b| a.region.is_some() && a.region == b.region) {
            let layers = repeated(region);
            let uses = |commands: &[Command]| commands.iter().filter(|command| command.is_of(&layers)).count();
            let mut left = uses(region);
            let mut at = from;
            for run in region.chunk_by(|a, b| known(a) && known(b)) {
                if let Some(scan) = scan(run) {
                    left -= uses(&run[scan.clone()]);
                    scans.push(at + scan.start..at + scan.end);
                }
                at += run.len();
            }
            if let (true, Some(Region { rows, .. })) = (left > 0, region[0].region) {
                let unknown = region.iter().filter(|command| !known(command)).find_map(Command::kernel);
                let cause = unknown.map_or(String::new(), |kernel| format!(": no rollout takes its {kernel}"));
                self.notes.push(format!("a scan over {rows} rows is launched step by step{cause}."));
            }
            from += region.len();
        }
        scans
    }

    /// One launch in place of these commands; `matrices` gains those that it reads transposed.
    fn rollout(&mut self, commands: &[Command], kernels: &Kernels, matrices: &mut Vec<[u64; 4]>) -> Result<Command> {
        let (context, region) = (kernels.stream().context(), commands[0].region);
        let rows = region.map_or(1, |region| region.rows);
        let mut words = Vec::with_capacity(WORDS * commands.len());
        let mut width = 0;
        for command in commands {
            let mut entry = entry(command).expect("a scan has known commands only");
            debug_assert!(entry.items.is_multiple_of(rows));
            width = width.max(entry.width);
            if KNOWN[entry.known] == LinearBackwardInput::NUMBER {
                let [weights, n, k] = [2, 4, 5].map(|position| entry.args[position]);
                let to = match self.transposed.entry([weights, k, n]) {
                    Place::Occupied(there) => there.into_mut(),
                    Place::Vacant(place) => {
                        let to = place.insert(Buffer::new(context, (k * n) as usize)?);
                        matrices.push([weights, to.address(), k, n]);
                        to
                    }
                };
                entry.args[2] = to.address();
            }
            let end = words.len() + WORDS;
            words.extend([entry.known as u64, (entry.items / rows) as u64]);
            words.extend(entry.args);
            words.resize(end, 0);
        }
        let mut table = Buffer::new(context, words.len())?;
        table.upload(kernels.stream(), &words)?;
        // A block for every multiprocessor, if that is possible: each block reads all weights at every step.
        let info = context.info();
        kernels.kernel::<Rollout>().allow_shared(info.shared_per_block)?;
        let fit = info.shared_per_block as usize / (size_of::<f32>() * width.max(1)) / GROUP * GROUP;
        let tile = rows.div_ceil(info.multiprocessors as usize).next_multiple_of(GROUP).min(MOST).min(fit);
        let shared = size_of::<f32>() * tile * width;
        let launch = Rollout { table: In::at(table.address()), launches: commands.len(), rows, tile };
        self.tables.push(table);
        let work = Work::Launch(launch.listed([rows.div_ceil(tile), 1, 1], shared as u32, None)?);
        Ok(Command { work, region, call: commands.iter().find_map(|command| command.call), layer: None })
    }

    /// The launch that transposes matrices: from, to, rows, columns.
    fn transpose(&mut self, matrices: &[[u64; 4]], kernels: &Kernels) -> Result<Command> {
        let mut table = Buffer::new(kernels.stream().context(), 4 * matrices.len())?;
        table.upload(kernels.stream(), matrices.as_flattened())?;
        let tiles = matrices.iter().map(|&[_, _, k, n]| k.div_ceil(32) * n.div_ceil(32)).max().unwrap_or(0);
        let launch = RolloutTranspose { table: In::at(table.address()) };
        let launch = launch.listed([tiles as usize, matrices.len(), 1], 0, None)?;
        self.tables.push(table);
        Ok(Command { work: Work::Launch(launch), region: None, call: None, layer: None })
    }
}

/// The layers that more than one call of these commands comes to.
fn repeated(commands: &[Command]) -> BTreeSet<Layer> {
    let mut first: BTreeMap<Layer, Option<usize>> = BTreeMap::new();
    let again = commands.iter().filter_map(|command| {
        let layer = command.layer?;
        (*first.entry(layer).or_insert(command.call) != command.call).then_some(layer)
    });
    again.collect()
}

/// The part of a run that is a scan.
fn scan(run: &[Command]) -> Option<Range<usize>> {
    let layers = repeated(run);
    let of_scan = |command: &Command| command.is_of(&layers);
    let (first, last) = (run.iter().position(of_scan)?, run.iter().rposition(of_scan)?);
    let before = run[..first].iter().rev().take_while(|command| command.layer.is_none()).count();
    let after = run[last + 1..].iter().take_while(|command| command.layer.is_none()).count();
    Some(first - before..last + 1 + after)
}

/// A launch as it stands in a table.
struct Entry {
    /// Position in [`KNOWN`].
    known: usize,
    /// Elements of all rows; 0 for a product.
    items: usize,
    args: Vec<u64>,
    /// Of a product: width of a row in shared memory.
    width: usize,
}

/// A command as an entry of a table, if `rollout` knows it.
fn entry(command: &Command) -> Option<Entry> {
    let (number, items, args) = match &command.work {
        Work::Launch(launch) => (launch.number, launch.items.unwrap_or(0), launch.args.clone()),
        &Work::Clear { len, address, .. } => {
            (Fill::NUMBER, len, Fill { y: Out::at(address), n: len, c: 0.0 }.args().ok()?)
        }
    };
    let known = KNOWN.iter().position(|&known| known == number)?;
    let args: Vec<u64> = args.iter().map(word).collect();
    // `padded` of kernels/rollout.cu, over the inputs of the product; positions are those of the kernels' parameters.
    let padded = |k: &u64| (*k as usize).next_multiple_of(16);
    let width = match number {
        LinearForward::NUMBER => args[13..17].iter().map(padded).sum(),
        LinearBackwardInput::NUMBER => padded(&args[4]),
        _ => 0,
    };
    Some(Entry { known, items, args, width })
}

/// An argument as a word of a table.
fn word(arg: &Arg) -> u64 {
    match *arg {
        Arg::Ptr(x) | Arg::U64(x) => x,
        Arg::U32(x) => x.into(),
        Arg::I32(x) => x as u64,
        Arg::F32(x) => x.to_bits().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cuda::kernels::{NAMES, SOURCES};

    /// Kernels whose elements are the work of a warp.
    const WARPS: [&str; 6] = [
        "sample_onehot_forward",
        "sample_onehot_backward",
        "norm_forward",
        "norm_backward",
        "unimix_forward",
        "unimix_backward",
    ];

    #[test]
    fn the_kernel_reads_the_tables_that_are_written() {
        let text = SOURCES.iter().find(|source| source.name == "kernels/rollout.cu").expect("a source").text;
        let (_, listed) = text.split_once("enum Known {").expect("an enumeration");
        let (listed, _) = listed.split_once("};").expect("its end");
        let listed: Vec<String> = listed.split(',').map(|name| name.trim().to_lowercase()).collect();
        assert_eq!(listed, KNOWN.map(|number| NAMES[number].1));
        assert!(text.contains(&format!("WORDS = {WORDS};")));
        for name in KNOWN.map(|number| NAMES[number].1) {
            let by = if WARPS.contains(&name) { "warps" } else { "threads" };
            let calls = [format!("entry.{by}<{name}_at>();"), format!("entry.{name}();")];
            assert!(calls.iter().any(|call| text.contains(call)), "{name}");
        }
    }
}
