//! Blocks of time: wall clock, processor time, and whether other programs ran meanwhile. The definitions are those of
//! `benches/peers/common.py`.

use std::time::Instant;

use crate::base::Result;

/// Seconds that one measured block takes at least.
const BLOCK: f64 = 0.5;
/// The share of the machine below which other programs count as absent.
const CLEAN: f64 = 0.04;
/// Linux counts the time in `/proc/stat` in hundredths of a second.
const TICKS: f64 = 100.0;

/// Seconds of one block, for one call of the work where not said otherwise.
struct Block {
    wall: f64,
    cpu: Option<f64>,
    /// Whether other programs used less than [`CLEAN`] of the machine; `None` where the system does not tell.
    clean: Option<bool>,
}

/// Milliseconds that one call took.
pub(super) struct Measured {
    /// Median: with one thread of the processor time, which other programs do not stretch; with more, of the wall time, of clean blocks
    /// only if there are two of them.
    pub ms: f64,
    /// Least, of the blocks that the median is of.
    pub min: f64,
    /// Most, of the same.
    pub max: f64,
    /// Blocks that the median is of.
    pub n: usize,
    /// Median of the wall time of the same blocks.
    pub wall_ms: f64,
    /// Median of the processor time of all threads; `None` where the system does not tell.
    pub cpu_ms: Option<f64>,
    /// Blocks in which other programs used less than 4 % of the machine; `None` where the system does not tell.
    pub clean: Option<usize>,
    /// All blocks.
    pub blocks: usize,
    /// Whether `ms` is processor time.
    pub by_cpu: bool,
}

/// Times `work`: warms up, then measures blocks of at least half a second.
///
/// # Errors
/// Those of the work.
pub(super) fn measure(work: &mut dyn FnMut() -> Result<()>, blocks: usize, threads: usize) -> Result<Measured> {
    work()?;
    let begun = Instant::now();
    work()?;
    let repeats = (BLOCK / begun.elapsed().as_secs_f64()).ceil().max(1.0) as usize;
    let blocks = (0..blocks).map(|_| block(work, repeats)).collect::<Result<_>>()?;
    Ok(summary(blocks, threads))
}

fn block(work: &mut dyn FnMut() -> Result<()>, repeats: usize) -> Result<Block> {
    let (machine, cpu, begun) = (machine_time(), cpu_time(), Instant::now());
    (0..repeats).try_for_each(|_| work())?;
    let wall = begun.elapsed().as_secs_f64();
    // Before the first tick of its clock a process has run for 0 s; a kernel that does not count says so at the end of a block, too.
    let cpu = cpu_time().zip(cpu).filter(|&(after, _)| after > 0.0).map(|(after, before)| after - before);
    let machine = machine_time().zip(machine).map(|(after, before)| (after.0 - before.0, after.1));
    let clean = machine.zip(cpu).map(|((busy, cores), own)| {
        let others = (busy - own).max(0.0) / (cores * wall);
        // The clocks of /proc/stat tick, so that a short block can seem busier than it was.
        others < CLEAN + 2.0 / TICKS / wall
    });
    Ok(Block { wall: wall / repeats as f64, cpu: cpu.map(|cpu| cpu / repeats as f64), clean })
}

fn summary(blocks: Vec<Block>, threads: usize) -> Measured {
    let clean = blocks.iter().map(|b| b.clean.map(usize::from)).sum::<Option<usize>>();
    let by_cpu = threads == 1 && blocks.iter().all(|b| b.cpu.is_some());
    let only_clean = threads > 1 && clean.is_some_and(|clean| clean >= 2);
    let used: Vec<&Block> = blocks.iter().filter(|b| !only_clean || b.clean == Some(true)).collect();
    let sorted = |time: &dyn Fn(&Block) -> Option<f64>| -> Option<Vec<f64>> {
        let mut times = used.iter().map(|b| time(b).map(|t| 1e3 * t)).collect::<Option<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        Some(times)
    };
    let median = |times: &[f64]| times[times.len() / 2];
    let wall = sorted(&|b| Some(b.wall)).expect("a block has a wall time");
    let cpu = sorted(&|b| b.cpu);
    let times = match &cpu {
        Some(cpu) if by_cpu => cpu,
        _ => &wall,
    };
    Measured {
        ms: median(times),
        min: times[0],
        max: times[times.len() - 1],
        n: times.len(),
        wall_ms: median(&wall),
        cpu_ms: cpu.as_deref().map(median),
        clean,
        blocks: blocks.len(),
        by_cpu,
    }
}

impl Measured {
    /// The time of a call, and what it is the time of.
    pub fn in_words(&self) -> String {
        let kind = if self.by_cpu { "processor time" } else { "wall time" };
        let mut text = format!(
            "median {:.4} ms   min {:.4}   max {:.4}   of {} blocks, {kind}",
            self.ms, self.min, self.max, self.n
        );
        match self.cpu_ms {
            Some(_) if self.by_cpu => text += &format!("; wall time {:.4} ms", self.wall_ms),
            Some(cpu) => text += &format!("; processor time {cpu:.4} ms"),
            None => {}
        }
        if let Some(clean) = self.clean {
            text += &format!("\n{clean} of {} blocks without other programs on the machine", self.blocks);
        }
        text
    }
}

/// Seconds that all processors together were busy since the machine started, and how many processors there are.
fn machine_time() -> Option<(f64, f64)> {
    parse_machine_time(&std::fs::read_to_string("/proc/stat").ok()?)
}

fn parse_machine_time(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal
    let ticks: Vec<f64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks[..] else { return None };
    let cores = stat.lines().skip(1).filter(|line| line.starts_with("cpu")).count();
    Some(((user + nice + system + irq + softirq + steal) / TICKS, cores.max(1) as f64))
}

/// Seconds that the threads of this process have run: the first number of each thread's `schedstat`, in nanoseconds. Threads that ended do
/// not count. 0 where the kernel does not count.
fn cpu_time() -> Option<f64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(nanoseconds.sum::<u64>() as f64 / 1e9)
}

/// Peak resident memory of this process in MB; 0 where the system does not tell.
pub(super) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).map_or(0, |kb| kb / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(wall: f64, cpu: Option<f64>, clean: Option<bool>) -> Block {
        Block { wall, cpu, clean }
    }

    #[test]
    fn one_thread_is_measured_by_processor_time() {
        let blocks = || {
            vec![
                block(3.0, Some(1.0), Some(false)),
                block(2.0, Some(1.5), Some(true)),
                block(9.0, Some(1.2), Some(true)),
            ]
        };
        let one = summary(blocks(), 1);
        assert_eq!((one.ms, one.min, one.max, one.n, one.clean), (1200.0, 1000.0, 1500.0, 3, Some(2)));
        assert!(one.by_cpu && one.wall_ms == 3000.0);
        // With more, wall time of the clean blocks.
        let two = summary(blocks(), 2);
        assert_eq!((two.ms, two.min, two.n, two.by_cpu), (9000.0, 2000.0, 2, false));
        // Where the system tells nothing, wall time of all blocks.
        let blind = summary(vec![block(3.0, None, None), block(2.0, None, None)], 1);
        assert_eq!((blind.ms, blind.n, blind.clean, blind.cpu_ms), (3000.0, 2, None, None));
    }

    #[test]
    fn busy_time_is_neither_idle_nor_waiting() {
        let stat = "cpu  100 20 30 4000 500 6 7 8 9 10\ncpu0 1 2\ncpu1 1 2\nintr 5\n";
        assert_eq!(parse_machine_time(stat), Some((1.71, 2.0)));
        assert_eq!(parse_machine_time("cpu  1 2 3\n"), None);
    }
}
