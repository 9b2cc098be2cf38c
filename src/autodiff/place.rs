//! Placement: every tensor gets its offset once, and tensors that are never alive together may share memory.

use std::collections::HashMap;

use super::schedule::Tenant;

/// Where all tensors of a trace are.
#[derive(Default)]
pub(super) struct Places {
    /// Offsets in the work arena.
    pub work: HashMap<Tenant, usize>,
    /// Elements of the work arena.
    pub len: usize,
    /// Offsets in the worker's memory, in elements of a row.
    pub local: HashMap<Tenant, usize>,
    /// Elements of a row in the worker's memory, by dispatch.
    pub local_rows: HashMap<usize, usize>,
}

/// When a tensor is needed, in dispatches (or in tasks of one), both ends included, and how large it is, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub from: usize,
    pub to: usize,
    pub len: usize,
}

/// Offsets for all leases, and the size of the arena that holds them. Larger tensors are placed first, each at the lowest
/// offset that is free during its whole lease (greedy by size; Pisarchyk and Lee, "Efficient memory management for deep neural net
/// inference", 2020). Lengths are multiples of the alignment, so offsets are, too.
pub(super) fn place(leases: &[Lease]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..leases.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(leases[i].len), i));
    let mut offsets = vec![0; leases.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut size = 0;
    for i in order {
        let lease = leases[i];
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| leases[j].from <= lease.to && lease.from <= leases[j].to)
            .map(|&j| (offsets[j], offsets[j] + leases[j].len))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if at + lease.len <= start {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = at;
        size = size.max(at + lease.len);
        placed.push(i);
    }
    (offsets, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_alive_together_never_overlap() {
        let mut rng = crate::base::Philox::new(3, crate::base::philox::stream::TEST, 0);
        let leases: Vec<Lease> = (0..300)
            .map(|_| {
                let from = rng.below(50);
                Lease { from, to: from + rng.below(12), len: 16 * (1 + rng.below(40)) }
            })
            .collect();
        let (offsets, size) = place(&leases);
        for i in 0..leases.len() {
            assert!(offsets[i] + leases[i].len <= size);
            for j in 0..i {
                let together = leases[i].from <= leases[j].to && leases[j].from <= leases[i].to;
                let overlap = offsets[i] < offsets[j] + leases[j].len && offsets[j] < offsets[i] + leases[i].len;
                assert!(!(together && overlap), "leases {j} and {i} overlap");
            }
        }
        let all: usize = leases.iter().map(|l| l.len).sum();
        assert!(size < all / 3, "memory is shared: {size} of {all}");
    }
}
