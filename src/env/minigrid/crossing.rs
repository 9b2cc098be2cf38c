//! SimpleCrossing and LavaCrossing: rivers of walls or lava across the room, each with one opening, so that a path to the
//! goal exists (`minigrid/envs/crossing.py`).

use super::cell::Cell;
use super::grid::Point;
use super::task::Task;
use super::world::World;

/// A square grid with rivers.
pub struct Crossing {
    /// Side of the grid, walls included; odd.
    pub size: usize,
    /// How many rivers.
    pub crossings: usize,
    /// What flows in them: [`Cell::WALL`] or [`Cell::LAVA`].
    pub obstacle: Cell,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// A river from top to bottom; a step of the path to the right crosses it.
    Vertical,
    /// A river from left to right; a step of the path downwards crosses it.
    Horizontal,
}

impl Task for Crossing {
    fn size(&self) -> (usize, usize) {
        (self.size, self.size)
    }

    fn max_steps(&self) -> u32 {
        4 * (self.size as u32).pow(2)
    }

    fn summary(&self) -> &'static str {
        if self.obstacle == Cell::LAVA {
            "avoid the lava and get to the green goal square"
        } else {
            "find the opening and get to the green goal square"
        }
    }

    fn generate(&self, world: &mut World) {
        let size = self.size as i32;
        world.grid.border();
        world.set_agent(Point::new(1, 1), 0);
        world.grid.set(Point::new(size - 2, size - 2), Cell::GOAL);

        let rows = || (2..size - 2).step_by(2);
        let mut rivers: Vec<(Way, i32)> = rows().map(|x| (Way::Vertical, x)).collect();
        rivers.extend(rows().map(|y| (Way::Horizontal, y)));
        world.rng.shuffle(&mut rivers);
        rivers.truncate(self.crossings);
        let chosen = |way| {
            let mut lines: Vec<i32> = rivers.iter().filter(|river| river.0 == way).map(|river| river.1).collect();
            lines.sort_unstable();
            lines
        };
        let (columns, rows) = (chosen(Way::Vertical), chosen(Way::Horizontal));
        rows.iter().for_each(|&y| world.grid.horizontal(1, y, size - 2, self.obstacle));
        columns.iter().for_each(|&x| world.grid.vertical(x, 1, size - 2, self.obstacle));

        // A path to the goal crosses the rivers in a random order; each crossing is an opening in the part of the river that
        // borders the part of the room where the path is.
        let mut path = vec![Way::Vertical; columns.len()];
        path.resize(rivers.len(), Way::Horizontal);
        world.rng.shuffle(&mut path);
        let bounds = |lines: &[i32]| [&[0], lines, &[size - 1]].concat();
        let (bounds_x, bounds_y) = (bounds(&columns), bounds(&rows));
        let (mut i, mut j) = (0, 0);
        for way in path {
            let opening = match way {
                Way::Vertical => {
                    let y = world.integer(bounds_y[j] + 1, bounds_y[j + 1]);
                    i += 1;
                    Point::new(bounds_x[i], y)
                }
                Way::Horizontal => {
                    let x = world.integer(bounds_x[i] + 1, bounds_x[i + 1]);
                    j += 1;
                    Point::new(x, bounds_y[j])
                }
            };
            world.grid.set(opening, Cell::EMPTY);
        }
    }
}
