//! Which pixels of a gridworld's picture show an object.
//!
//! A picture consists of tiles, each drawn from what stands in its cell, so the bytes of a tile tell whether that is an object. The tiles of all
//! objects are drawn once; one that looks like a tile without an object, as an open door does with 4 pixels, does not count.

use std::collections::HashSet;

use crate::env::render::{Cell, tile};

/// Object types that count: door, key, ball, box, goal, lava.
pub const OBJECTS: std::ops::RangeInclusive<u8> = 4..=9;

/// All types that a cell can hold, but for the agent, which is drawn over them.
const TYPES: std::ops::Range<u8> = 0..10;

/// A wall is grey. (One in green would look like the goal.)
const WALL: (u8, u8) = (2, 5);

/// The pictures of all cells that hold an object.
#[derive(Debug)]
pub struct ObjectTiles {
    tile_size: usize,
    tiles: HashSet<Vec<u8>>,
}

impl ObjectTiles {
    /// For pictures whose tiles have this side in pixels.
    pub fn new(tile_size: usize) -> Self {
        let (mut objects, mut others) = (HashSet::new(), HashSet::new());
        for object in TYPES {
            for (color, state) in (0..6).flat_map(|color| (0..3).map(move |state| (color, state))) {
                if object == WALL.0 && color != WALL.1 {
                    continue;
                }
                for agent in [None, Some(0), Some(1), Some(2), Some(3)] {
                    for highlight in [false, true] {
                        let mut bytes = vec![0; tile_size * tile_size * 3];
                        tile(Cell { object, color, state }, agent, highlight, tile_size, &mut bytes);
                        if OBJECTS.contains(&object) { &mut objects } else { &mut others }.insert(bytes);
                    }
                }
            }
        }
        ObjectTiles { tile_size, tiles: objects.difference(&others).cloned().collect() }
    }

    /// The side of a tile in pixels.
    pub fn side(&self) -> usize {
        self.tile_size
    }

    /// The bytes [side, side, 3] of every tile that shows an object, tile after tile in ascending order, for the kernel `weights_from_pixels`.
    pub fn table(&self) -> Vec<u8> {
        let mut tiles: Vec<&[u8]> = self.tiles.iter().map(Vec::as_slice).collect();
        tiles.sort_unstable();
        tiles.concat()
    }

    /// Writes a number for every pixel of pictures [n, height, width, 3]: `weight` where there is an object, otherwise 1.
    pub fn weights(&self, pictures: &[u8], height: usize, width: usize, weight: f32, out: &mut [f32]) {
        let side = self.tile_size;
        let mut seen = vec![0; side * side * 3];
        for (picture, out) in pictures.chunks_exact(height * width * 3).zip(out.chunks_exact_mut(height * width)) {
            for (top, left) in (0..height / side).flat_map(|y| (0..width / side).map(move |x| (y * side, x * side))) {
                let rows = (top..top + side).map(|y| y * width + left);
                for (line, at) in seen.chunks_exact_mut(side * 3).zip(rows.clone()) {
                    line.copy_from_slice(&picture[at * 3..(at + side) * 3]);
                }
                let weight = if self.tiles.contains(&seen) { weight } else { 1.0 };
                rows.for_each(|at| out[at..at + side].fill(weight));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Action, Options, View, make};

    /// The same world seen both ways: a tile is an object's where the symbolic view says so.
    #[test]
    fn pixels_of_objects_are_those_of_the_symbolic_view() {
        let tasks = ["Simple-10x10", "MiniGrid-DoorKey-5x5-v0", "MiniGrid-KeyCorridorS3R1-v0", "MiniGrid-LavaGapS5-v0"];
        for (task, tile_size) in tasks.into_iter().flat_map(|task| [4, 8].map(|size| (task, size))) {
            let options = |view| Options { view, tile_size, ..Options::default() };
            let [mut cells, mut pixels] =
                [View::Symbolic, View::RgbPartial].map(|view| make(task, &options(view)).unwrap());
            let tiles = ObjectTiles::new(tile_size);
            let side = 7 * tile_size;
            let (mut symbols, mut picture) = (vec![0; 7 * 7 * 3], vec![0; side * side * 3]);
            let mut weights = vec![0.0; side * side];
            let mut met = [0; 2];
            for step in 0..400_u64 {
                if step.is_multiple_of(20) {
                    cells.reset(Some(step));
                    pixels.reset(Some(step));
                }
                cells.write_bytes(&mut symbols);
                pixels.write_bytes(&mut picture);
                tiles.weights(&picture, side, side, 10.0, &mut weights);
                for at in 0..side * side {
                    let (x, y) = (at % side / tile_size, at / side / tile_size);
                    let symbol = &symbols[(x * 7 + y) * 3..][..3];
                    // An open door is a line at the edge of its tile, which 4 pixels are too few to show.
                    if tile_size == 4 && symbol[0] == 4 && symbol[2] == 0 {
                        continue;
                    }
                    let object = OBJECTS.contains(&symbol[0]);
                    assert_eq!(
                        weights[at],
                        if object { 10.0 } else { 1.0 },
                        "{task}, step {step}, cell {x} {y}: {symbol:?}"
                    );
                    met[usize::from(object)] += 1;
                }
                let actions = cells.spec().actions.clone();
                let crate::env::Actions::Discrete { n } = actions else { panic!("{task} has discrete actions") };
                let action = Action::Discrete((step * step / 7 % n as u64) as usize);
                let ended = cells.step(action).ended();
                assert_eq!(pixels.step(action).ended(), ended);
                if ended {
                    cells.reset(Some(1000 + step));
                    pixels.reset(Some(1000 + step));
                }
            }
            assert!(met.iter().all(|&n| n > 100), "{task}: {met:?}");
        }
    }
}
