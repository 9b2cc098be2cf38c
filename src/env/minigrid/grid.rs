//! The grid: cells in a flat array with a margin, so that neither a step nor a look needs a bounds check.

use super::cell::Cell;

/// Columns and rows of walls that surround the grid in memory: as far as the agent can look beyond the border.
///
/// minigrid shows cells outside the grid as walls, so the margin is the picture that the agent gets.
pub const MARGIN: usize = 6;

/// A position in the grid: x counts columns to the right, y counts rows downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Column.
    pub x: i32,
    /// Row.
    pub y: i32,
}

impl Point {
    /// The point in column `x` and row `y`.
    pub const fn new(x: i32, y: i32) -> Point {
        Point { x, y }
    }
}

/// The index of a cell in the array of a [`Grid`].
pub type Index = usize;

/// An index that no cell of a grid has: the corner of the margin. Where the agent is before it is placed.
pub const NOWHERE: Index = 0;

/// A grid of `width` x `height` cells inside its margin.
#[derive(Debug, Clone)]
pub struct Grid {
    width: i32,
    height: i32,
    stride: usize,
    cells: Vec<Cell>,
}

impl Grid {
    /// An empty grid.
    pub fn new(width: usize, height: usize) -> Grid {
        let stride = width + 2 * MARGIN;
        let cells = vec![Cell::WALL; stride * (height + 2 * MARGIN)];
        let mut grid = Grid { width: width as i32, height: height as i32, stride, cells };
        grid.clear();
        grid
    }

    /// Empties every cell.
    pub fn clear(&mut self) {
        for y in 0..self.height {
            let start = self.index(Point::new(0, y));
            self.cells[start..start + self.width as usize].fill(Cell::EMPTY);
        }
    }

    /// Columns.
    pub fn width(&self) -> i32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> i32 {
        self.height
    }

    /// Every position, row by row.
    pub fn points(&self) -> impl Iterator<Item = Point> + use<> {
        let (width, height) = (self.width, self.height);
        (0..height).flat_map(move |y| (0..width).map(move |x| Point::new(x, y)))
    }

    /// Whether a position is inside the grid.
    pub fn contains(&self, at: Point) -> bool {
        (0..self.width).contains(&at.x) && (0..self.height).contains(&at.y)
    }

    /// The index of a position.
    #[inline(always)]
    pub fn index(&self, at: Point) -> Index {
        (at.y as usize + MARGIN) * self.stride + at.x as usize + MARGIN
    }

    /// The position of an index.
    #[inline(always)]
    pub fn point(&self, index: Index) -> Point {
        let margin = MARGIN as i32;
        Point::new((index % self.stride) as i32 - margin, (index / self.stride) as i32 - margin)
    }

    /// How far apart in memory a cell and its neighbour in a direction are: 0 right, 1 down, 2 left, 3 up.
    #[inline(always)]
    pub fn offset(&self, direction: u8) -> isize {
        let stride = self.stride as isize;
        [1, stride, -1, -stride][usize::from(direction & 3)]
    }

    /// The index of the neighbour in a direction.
    #[inline(always)]
    pub fn neighbor(&self, index: Index, direction: u8) -> Index {
        index.wrapping_add_signed(self.offset(direction))
    }

    /// The cell at an index.
    #[inline(always)]
    pub fn at(&self, index: Index) -> Cell {
        self.cells[index]
    }

    /// `N` neighbours in memory, from an index on.
    #[inline(always)]
    pub fn run<const N: usize>(&self, start: Index) -> &[Cell; N] {
        self.cells[start..start + N].try_into().expect("a range of N cells")
    }

    /// The cell at a position.
    #[inline(always)]
    pub fn get(&self, at: Point) -> Cell {
        self.cells[self.index(at)]
    }

    /// Puts a cell at an index.
    #[inline(always)]
    pub fn set_at(&mut self, index: Index, cell: Cell) {
        self.cells[index] = cell;
    }

    /// Puts a cell at a position.
    #[inline(always)]
    pub fn set(&mut self, at: Point, cell: Cell) {
        let index = self.index(at);
        self.cells[index] = cell;
    }

    /// `length` cells to the right, from `(x, y)` on.
    pub fn horizontal(&mut self, x: i32, y: i32, length: i32, cell: Cell) {
        (x..x + length).for_each(|x| self.set(Point::new(x, y), cell));
    }

    /// `length` cells downwards, from `(x, y)` on.
    pub fn vertical(&mut self, x: i32, y: i32, length: i32, cell: Cell) {
        (y..y + length).for_each(|y| self.set(Point::new(x, y), cell));
    }

    /// The walls of a room with its top left corner at `(x, y)`.
    pub fn walls(&mut self, x: i32, y: i32, width: i32, height: i32) {
        self.horizontal(x, y, width, Cell::WALL);
        self.horizontal(x, y + height - 1, width, Cell::WALL);
        self.vertical(x, y, height, Cell::WALL);
        self.vertical(x + width - 1, y, height, Cell::WALL);
    }

    /// The walls of the whole grid.
    pub fn border(&mut self) {
        self.walls(0, 0, self.width, self.height);
    }
}
