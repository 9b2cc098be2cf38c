//! `cp.async`: copies whose bytes appear in shared memory only when the copying thread waits for them.

use super::shared::Shared;
use super::simd::lanes;

/// One copy of one lane.
struct Copy {
    lane: usize,
    /// Number of the lane's group.
    group: u32,
    at: usize,
    bytes: [u8; 16],
    len: usize,
}

/// The copies of a warp that are under way.
#[derive(Default)]
pub struct Copies {
    pending: Vec<Copy>,
    /// Groups that each lane has committed.
    committed: [u32; 32],
}

impl Copies {
    /// Begins a copy. Its source is read now; hardware may read it at any time until the wait.
    pub fn begin(&mut self, lane: usize, at: usize, bytes: &[u8]) {
        let mut copy = Copy { lane, group: self.committed[lane], at, bytes: [0; 16], len: bytes.len() };
        copy.bytes[..bytes.len()].copy_from_slice(bytes);
        self.pending.push(copy);
    }

    /// `cp.async.commit_group`.
    pub fn commit(&mut self, mask: u32) {
        lanes(mask).for_each(|lane| self.committed[lane] += 1);
    }

    /// Waits until at most `keep` committed groups of each lane are pending; `None` waits for all copies.
    pub fn wait(&mut self, mask: u32, keep: Option<u32>, warp: usize, shared: &mut Shared) {
        let committed = self.committed;
        self.pending.retain(|c| {
            let landed = mask >> c.lane & 1 == 1 && keep.is_none_or(|keep| c.group + keep < committed[c.lane]);
            if landed {
                shared.end_copy(warp, c.lane, c.at, &c.bytes[..c.len]);
            }
            !landed
        });
    }
}
