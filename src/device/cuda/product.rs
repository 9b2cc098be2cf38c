//! How a product is cut into blocks, and what it multiplies. Both follow from shapes and options alone, never from the device or the time.

use std::fmt;
use std::str::FromStr;

/// What products multiply. Sums, and everything else, are f32 in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Numbers as they are, by ordinary units.
    #[default]
    F32,
    /// Numbers rounded to 10 bits behind the point, by tensor cores: a relative error of 2^-11 at most.
    Tf32,
    /// Numbers rounded to 7 bits behind the point, by tensor cores: a relative error of 2^-8 at most.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

    /// The name in flags and reports.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Precision::ALL.into_iter().find(|precision| precision.name() == name);
        found.ok_or_else(|| format!("{name} is no precision of products on a device: write f32, tf32 or bf16."))
    }
}

/// The part of a result that a block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
}

impl Tile {
    /// Enough of them to fill a device with a small result.
    pub const SMALL: Tile = Tile { rows: 64, columns: 64 };
    /// Reads its operands half as often.
    pub const LARGE: Tile = Tile { rows: 128, columns: 128 };
    /// For results of few columns.
    pub const NARROW: Tile = Tile { rows: 128, columns: 32 };

    /// Tiles that cover a result.
    pub fn cover(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.rows) * columns.div_ceil(self.columns)
    }
}

/// The tiles that product kernels are compiled for.
pub const TILES: [Tile; 3] = [Tile::SMALL, Tile::LARGE, Tile::NARROW];

/// Blocks that keep a device busy: two for each multiprocessor of an H100, roughly.
const BLOCKS: usize = 256;

/// A part of a sum has at least this many terms: adding the parts up costs as much as a few terms.
const LEAST_TERMS: usize = 256;

/// Depth of a piece, DEPTH of `kernels/stage.cuh`: a part ends with one.
const DEPTH: usize = 16;

/// Numbers in the parts of any product: no more parts than blocks, each a tile.
pub const MOST_PARTIAL: usize = BLOCKS * Tile::LARGE.rows * Tile::LARGE.columns;

/// Options of the compiler for product kernels.
pub fn options(tile: Tile, precision: Precision) -> [String; 3] {
    let Tile { rows, columns } = tile;
    let precision = precision.name().to_uppercase();
    [format!("-DTILE_ROWS={rows}"), format!("-DTILE_COLUMNS={columns}"), format!("-DPRECISION={precision}")]
}

/// The tile of a product of `rows` x `columns`: the largest that is at least half full, if there are enough of it to fill a device.
pub(super) fn tile(rows: usize, columns: usize) -> Tile {
    let best = match columns {
        ..=32 => Tile::NARROW,
        33..=64 => Tile::SMALL,
        _ => Tile::LARGE,
    };
    if best.cover(rows, columns) >= BLOCKS / 2 { best } else { Tile::SMALL }
}

/// The tile of a product that is summed in parts, which fill the device in any case: the largest that is not mostly empty.
pub(super) fn tile_of_sum(rows: usize, columns: usize) -> Tile {
    match (rows, columns) {
        (65.., ..=32) => Tile::NARROW,
        (65.., 65..) => Tile::LARGE,
        _ => Tile::SMALL,
    }
}

/// A product whose result is the pixels under the windows of images [images, h, w, c], cut by phases: `Phases` of `kernels/prelude.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// The stride that the kernel gets. Where there is one window only, nothing strides, so that each pixel may be a phase of its own.
    pub stride: usize,
    /// Rows of the product: places of a whole stride.
    pub rows: usize,
    /// Columns of the product: the pixels of a stride, with their channels.
    pub columns: usize,
}

impl Phases {
    /// The phases of so many images under [oh, ow] windows each.
    pub fn of(
        images: usize,
        [h, w, c]: [usize; 3],
        kernel: usize,
        stride: usize,
        pad: usize,
        [oh, ow]: [usize; 2],
    ) -> Self {
        let stride = if oh * ow == 1 { kernel } else { stride };
        let along = |pixels: usize| (pixels - 1 + pad) / stride - pad / stride + 1;
        Phases { stride, rows: images * along(h) * along(w), columns: stride * stride * c }
    }
}

/// A sum that is cut into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub parts: usize,
    /// Terms of each part but the last, which may have fewer.
    pub each: usize,
}

impl Parts {
    /// The parts of a sum of `terms` that `blocks` blocks compute: as many as fill a device.
    pub fn of(blocks: usize, terms: usize) -> Self {
        let parts = (BLOCKS / blocks.max(1)).min(terms / LEAST_TERMS).max(1);
        let each = terms.div_ceil(parts).next_multiple_of(DEPTH).max(DEPTH);
        Parts { parts: terms.div_ceil(each).max(1), each }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_sum_and_fit_their_memory() {
        for (rows, columns) in [(1, 1), (30, 200), (64, 65), (200, 600), (1024, 200), (2048, 256), (4000, 3000)] {
            let blocks = tile_of_sum(rows, columns).cover(rows, columns);
            for terms in [1, 15, 50, 511, 2450, 36_750, 2_402_500] {
                let Parts { parts, each } = Parts::of(blocks, terms);
                assert!((parts - 1) * each < terms && parts * each >= terms, "{parts} of {each}: {terms}");
                assert!(parts == 1 || (each >= LEAST_TERMS && parts * blocks <= BLOCKS), "{parts} of {each}: {terms}");
                assert!(parts == 1 || parts * rows * columns <= MOST_PARTIAL);
            }
        }
        assert_eq!(Parts::of(1, 2_402_500).parts, 256);
        assert_eq!(Parts::of(8, 2450), Parts { parts: 9, each: 288 });
    }

    #[test]
    fn large_results_have_large_tiles() {
        let (small, large, narrow) = (Tile::SMALL, Tile::LARGE, Tile::NARROW);
        let tiles = [tile(50, 600), tile(2500, 400), tile(36_750, 400), tile(480_500, 32), tile(480_500, 64)];
        assert_eq!(tiles, [small, small, large, narrow, small]);
        assert_eq!([tile(2450, 30), tile(36_750, 30)], [small, narrow]);
        assert_eq!([tile_of_sum(48, 32), tile_of_sum(400, 1), tile_of_sum(512, 64)], [small, narrow, small]);
    }
}
