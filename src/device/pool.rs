//! The worker threads. Work is cut into pieces by the caller, never by the number of threads, and no piece adds into
//! what another piece writes: so a result does not depend on how many threads there are.

use rayon::prelude::*;

use crate::base::{Error, Result};

/// A fixed set of worker threads.
pub struct Pool {
    threads: usize,
    rayon: rayon::ThreadPool,
}

impl Pool {
    /// A pool of `threads` workers; 0 means one for every core this process may use.
    pub fn new(threads: usize) -> Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let rayon = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("worker-{i}"))
            .build()
            .map_err(|e| Error::new(format!("cannot start {threads} worker threads: {e}. Try a smaller --threads.")))?;
        Ok(Pool { threads, rayon })
    }

    /// Number of workers.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` on one of the workers, which then takes part in every [`each`](Self::each) that it calls: otherwise each of them
    /// would put the calling thread to sleep and wake it again.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        if self.threads == 1 { work() } else { self.rayon.install(work) }
    }

    /// Calls `work(piece, worker)` once for every piece in `0..pieces`, in any order, on any worker; returns when all are
    /// done. `worker < self.threads()` says whose scratch memory the piece may use.
    pub fn each(&self, pieces: usize, work: impl Fn(usize, usize) + Sync) {
        if pieces <= 1 || self.threads == 1 {
            (0..pieces).for_each(|piece| work(piece, 0));
        } else {
            self.rayon.install(|| {
                (0..pieces)
                    .into_par_iter()
                    .with_max_len(1)
                    .for_each(|piece| work(piece, rayon::current_thread_index().expect("a worker of this pool")));
            });
        }
    }
}
