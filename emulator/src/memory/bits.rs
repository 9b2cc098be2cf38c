//! One bit per byte of an allocation.

/// A set of byte offsets. Its storage comes zeroed from the system and costs nothing until it is touched.
pub struct Bits(Vec<u64>);

/// The bits of `len` bytes from bit `at` of a word; `at + len` is 64 at most, and `len` at least 1.
#[inline(always)]
fn ones(at: u64, len: u64) -> u64 {
    (u64::MAX >> (64 - len)) << at
}

impl Bits {
    /// The empty set over `bytes` offsets.
    pub fn new(bytes: u64) -> Self {
        Bits(vec![0; bytes.div_ceil(64) as usize])
    }

    /// Calls `f` with every word that `at..at + len` touches and the bits of the range in it.
    #[inline(always)]
    fn each(&mut self, at: u64, len: u64, mut f: impl FnMut(&mut u64, u64)) {
        let (mut at, end) = (at, at + len);
        while at < end {
            let n = (64 - at % 64).min(end - at);
            f(&mut self.0[(at / 64) as usize], ones(at % 64, n));
            at += n;
        }
    }

    /// Adds a range.
    #[inline(always)]
    pub fn insert(&mut self, at: u64, len: u64) {
        self.each(at, len, |word, range| *word |= range);
    }

    /// Adds a range and returns how many of its bytes are new.
    #[inline(always)]
    pub fn insert_counting(&mut self, at: u64, len: u64) -> u64 {
        let mut new = 0;
        self.each(at, len, |word, range| {
            new += u64::from((range & !*word).count_ones());
            *word |= range;
        });
        new
    }

    /// Removes a range.
    #[inline(always)]
    pub fn remove(&mut self, at: u64, len: u64) {
        self.each(at, len, |word, range| *word &= !range);
    }

    /// The first offset of `at..at + len` that is not in the set.
    #[inline(always)]
    pub fn first_missing(&self, at: u64, len: u64) -> Option<u64> {
        let (mut from, end) = (at, at + len);
        while from < end {
            let n = (64 - from % 64).min(end - from);
            let missing = ones(from % 64, n) & !self.0[(from / 64) as usize];
            if missing != 0 {
                return Some(from / 64 * 64 + u64::from(missing.trailing_zeros()));
            }
            from += n;
        }
        None
    }

    /// Whether the set holds any offset of a range.
    #[inline(always)]
    pub fn any(&self, at: u64, len: u64) -> bool {
        let (mut from, end) = (at, at + len);
        while from < end {
            let n = (64 - from % 64).min(end - from);
            if ones(from % 64, n) & self.0[(from / 64) as usize] != 0 {
                return true;
            }
            from += n;
        }
        false
    }

    /// How many bytes of `at..at + len` are in neither set.
    #[inline(always)]
    pub fn count_missing_from_both(&self, other: &Bits, at: u64, len: u64) -> u64 {
        let (mut from, end, mut count) = (at, at + len, 0);
        while from < end {
            let n = (64 - from % 64).min(end - from);
            let i = (from / 64) as usize;
            count += u64::from((ones(from % 64, n) & !self.0[i] & !other.0[i]).count_ones());
            from += n;
        }
        count
    }
}
