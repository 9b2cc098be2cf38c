//! The colours of an animation: a GIF has at most 256, chosen once for all frames so that still parts do not flicker.
//!
//! Up to the limit the colours are kept exactly. Beyond it, boxes of colours are split, always the box with the largest
//! squared error, across the channel with the largest variance, at its mean (after Wu, "Efficient statistical computations
//! for optimal color quantization", 1991); then every colour goes to the nearest box mean. Gridworlds are of the first kind,
//! dreamed frames of the second.

use std::collections::HashMap;

use crate::report::canvas::{Canvas, Rgb};

/// A set of colours and the way from every colour of the frames to one of them.
#[derive(Debug)]
pub struct Palette {
    colors: Vec<Rgb>,
    index: HashMap<Rgb, u8>,
}

impl Palette {
    /// At most `limit <= 256` colours for these frames. The result depends on the frames alone.
    pub fn of(frames: &[Canvas], limit: usize) -> Self {
        assert!((1..=256).contains(&limit), "palette: a limit of {limit} colours");
        let mut counts: HashMap<Rgb, u64> = HashMap::new();
        for frame in frames {
            // Neighbours are often equal: one look-up a run, not one a pixel.
            for run in frame.pixels().as_chunks::<3>().0.chunk_by(|a, b| a == b) {
                *counts.entry(run[0]).or_default() += run.len() as u64;
            }
        }
        let mut counted: Vec<(Rgb, u64)> = counts.into_iter().collect();
        counted.sort_unstable();
        if counted.len() <= limit {
            let index = counted.iter().enumerate().map(|(i, (color, _))| (*color, i as u8)).collect();
            return Palette { colors: counted.into_iter().map(|(color, _)| color).collect(), index };
        }
        let colors = quantize(&mut counted, limit);
        let index = counted.iter().map(|(color, _)| (*color, nearest(&colors, *color))).collect();
        Palette { colors, index }
    }

    /// The colours.
    pub fn colors(&self) -> &[Rgb] {
        &self.colors
    }

    /// The indices of a frame's pixels, `[height * width]`. The frame must be one of those the palette was made of.
    pub fn indices(&self, frame: &Canvas) -> Vec<u8> {
        let mut indices = Vec::with_capacity(frame.width() * frame.height());
        for run in frame.pixels().as_chunks::<3>().0.chunk_by(|a, b| a == b) {
            indices.resize(indices.len() + run.len(), self.index[&run[0]]);
        }
        indices
    }
}

/// A run of `counted` that will become one colour.
struct Cell {
    start: usize,
    end: usize,
    mean: [f64; 3],
    /// Squared distance to the mean, summed over pixels, by channel.
    error: [f64; 3],
}

impl Cell {
    fn new(counted: &[(Rgb, u64)], start: usize, end: usize) -> Self {
        let (mut total, mut sum, mut squares) = (0.0, [0.0; 3], [0.0; 3]);
        for (color, count) in &counted[start..end] {
            let count = *count as f64;
            total += count;
            for c in 0..3 {
                let x = f64::from(color[c]);
                sum[c] += count * x;
                squares[c] += count * x * x;
            }
        }
        let mean = sum.map(|s| s / total);
        let error = [0, 1, 2].map(|c| if end - start == 1 { 0.0 } else { (squares[c] - sum[c] * mean[c]).max(0.0) });
        Cell { start, end, mean, error }
    }

    fn total_error(&self) -> f64 {
        self.error.iter().sum()
    }
}

/// Splits the colours, more than `limit` of them, into `limit` cells, reordering them, and returns the cells' means.
fn quantize(counted: &mut [(Rgb, u64)], limit: usize) -> Vec<Rgb> {
    let mut cells = vec![Cell::new(counted, 0, counted.len())];
    while cells.len() < limit {
        let worst = (0..cells.len()).max_by(|&a, &b| cells[a].total_error().total_cmp(&cells[b].total_error()));
        let cell = cells.swap_remove(worst.expect("there is a cell"));
        let channel = (0..3).max_by(|&a, &b| cell.error[a].total_cmp(&cell.error[b])).expect("there are channels");
        let part = &mut counted[cell.start..cell.end];
        part.sort_unstable_by_key(|(color, _)| (color[channel], *color));
        let below = part.partition_point(|(color, _)| f64::from(color[channel]) <= cell.mean[channel]);
        // With more colours than cells the worst cell holds at least two, and they differ in the chosen channel.
        let middle = cell.start + below.clamp(1, part.len() - 1);
        cells.push(Cell::new(counted, cell.start, middle));
        cells.push(Cell::new(counted, middle, cell.end));
    }
    cells.iter().map(|cell| cell.mean.map(|x| x.round() as u8)).collect()
}

fn nearest(colors: &[Rgb], color: Rgb) -> u8 {
    let distance = |other: &Rgb| {
        let d = [0, 1, 2].map(|c| i32::from(other[c]) - i32::from(color[c]));
        d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    };
    (0..colors.len()).min_by_key(|&i| distance(&colors[i])).expect("a palette has colours") as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Philox, philox::stream};

    #[test]
    fn few_colours_are_kept_exactly() {
        let frames = [Canvas::new(3, 2, [1, 2, 3]), Canvas::from_rgb(2, 1, vec![9, 9, 9, 1, 2, 3])];
        let palette = Palette::of(&frames, 2);
        assert_eq!(palette.colors(), [[1, 2, 3], [9, 9, 9]]);
        assert_eq!(palette.indices(&frames[1]), [1, 0]);
    }

    #[test]
    fn many_colours_come_near() {
        // A smooth picture of 4,096 colours with a flat half.
        let smooth: Vec<u8> = (0..64 * 64).flat_map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 128]).collect();
        let frames = [Canvas::from_rgb(64, 64, smooth), Canvas::new(64, 64, [24, 24, 28])];
        let palette = Palette::of(&frames, 255);
        assert_eq!(palette.colors().len(), 255);
        let mut worst = 0;
        for (pixel, index) in frames[0].pixels().chunks(3).zip(palette.indices(&frames[0])) {
            let color = palette.colors()[index as usize];
            worst = (0..3).map(|c| (i32::from(color[c]) - i32::from(pixel[c])).abs()).fold(worst, i32::max);
        }
        // 254 even cells of a 252 x 252 square have sides of 16: a distance of 8, and some more where cells are uneven.
        assert!(worst <= 16, "a channel is off by {worst}");
        assert_eq!(palette.colors()[palette.indices(&frames[1])[0] as usize], [24, 24, 28]);
    }

    #[test]
    fn noise_is_split_to_the_limit() {
        let mut rng = Philox::new(1, stream::TEST, 0);
        let noise: Vec<u8> = (0..3 * 1000).map(|_| rng.below(256) as u8).collect();
        let frames = [Canvas::from_rgb(100, 10, noise)];
        for limit in [1, 2, 7, 256] {
            let palette = Palette::of(&frames, limit);
            assert_eq!(palette.colors().len(), limit);
            assert!(palette.indices(&frames[0]).iter().all(|&i| usize::from(i) < limit));
        }
    }
}
