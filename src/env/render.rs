//! MiniGrid's pictures, byte for byte: a cell becomes a tile, a grid of cells becomes an RGB frame.
//!
//! The source is minigrid 3.2.0 (`utils/rendering.py`, `core/grid.py`, `core/world_object.py`; Farama Foundation, MIT). A tile is
//! drawn three times too large, one shape over another, then highlighted, then averaged down:
//!
//! 1. A pixel belongs to a shape if its centre does; coordinates run from 0 to 1 over the tile, x to the right, y downwards.
//! 2. A highlighted pixel moves 30 % of the way to white, and is cut (not rounded) to a byte.
//! 3. Each block of 3 x 3 pixels is averaged, rows first, and cut to a byte.
//!
//! Points on an edge decide bytes, so every number has the precision and every sum the order that NumPy gives it: rectangles
//! and discs in f64, the ends and lengths of lines and triangles in f32, their products with a pixel's centre in f64.

use std::sync::OnceLock;

/// What stands in one cell, in MiniGrid's own integers (`core/constants.py`), as `WorldObj.encode` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cell {
    /// `OBJECT_TO_IDX`: 0 unseen, 1 empty, 2 wall, 3 floor, 4 door, 5 key, 6 ball, 7 box, 8 goal, 9 lava, 10 agent.
    /// Unseen, empty and agent draw nothing: the agent's triangle is drawn over the object on which it stands.
    pub object: u8,
    /// `COLOR_TO_IDX`: 0 red, 1 green, 2 blue, 3 purple, 4 yellow, 5 grey. Lava is always orange.
    pub color: u8,
    /// `STATE_TO_IDX` of a door: 0 open, 1 closed, 2 locked. Ignored for everything else.
    pub state: u8,
}

impl Cell {
    /// A cell with nothing in it.
    pub const EMPTY: Cell = Cell { object: 1, color: 0, state: 0 };
}

const WALL: u8 = 2;
const FLOOR: u8 = 3;
const DOOR: u8 = 4;
const KEY: u8 = 5;
const BALL: u8 = 6;
const BOX: u8 = 7;
const GOAL: u8 = 8;
const LAVA: u8 = 9;

const OBJECTS: usize = 11;
const COLORS: [[u8; 3]; 6] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [112, 39, 195], [255, 255, 0], [100, 100, 100]];
const STATES: usize = 3;
/// No agent, or an agent that looks right, down, left, up.
const AGENTS: usize = 5;

const BLACK: [u8; 3] = [0; 3];
/// The tile is drawn this many times too large (`subdivs`).
const OVERSAMPLING: usize = 3;

/// Draws one tile into `out`, `[tile_size, tile_size, 3]` bytes, rows from the top: grid lines, the object, the agent over it
/// (`agent` is its direction: 0 right, 1 down, 2 left, 3 up), the highlight over all. `Grid.render_tile`.
pub fn tile(cell: Cell, agent: Option<u8>, highlight: bool, tile_size: usize, out: &mut [u8]) {
    assert_eq!(out.len(), tile_size * tile_size * 3, "tile: {} bytes for tile size {tile_size}", out.len());
    let mut canvas = Canvas::new(tile_size * OVERSAMPLING);
    canvas.rectangle([0.0, 0.031], [0.0, 1.0], [100; 3]);
    canvas.rectangle([0.0, 1.0], [0.0, 0.031], [100; 3]);
    canvas.object(cell);
    if let Some(direction) = agent {
        canvas.agent(direction);
    }
    if highlight {
        canvas.highlight();
    }
    canvas.average_into(out);
}

/// Every tile of one size, each drawn when first asked for; threads share it by reference.
#[derive(Debug)]
pub struct TileCache {
    tile_size: usize,
    tiles: Vec<OnceLock<Box<[u8]>>>,
}

impl TileCache {
    /// An empty cache of tiles of `tile_size` x `tile_size` pixels.
    pub fn new(tile_size: usize) -> Self {
        assert!(tile_size > 0, "a tile has at least one pixel");
        let slots = OBJECTS * COLORS.len() * STATES * AGENTS * 2;
        TileCache { tile_size, tiles: (0..slots).map(|_| OnceLock::new()).collect() }
    }

    /// Pixels along a tile's edge.
    pub fn tile_size(&self) -> usize {
        self.tile_size
    }

    /// The bytes that [`tile`] draws, `[tile_size, tile_size, 3]`.
    pub fn tile(&self, cell: Cell, agent: Option<u8>, highlight: bool) -> &[u8] {
        let Cell { object, color, state } = cell;
        let agent_slot = agent.map_or(0, |direction| 1 + usize::from(direction));
        assert!(
            usize::from(object) < OBJECTS
                && usize::from(color) < COLORS.len()
                && usize::from(state) < STATES
                && agent_slot < AGENTS,
            "no such tile: {cell:?}, agent {agent:?}"
        );
        let mut slot = usize::from(object);
        slot = slot * COLORS.len() + usize::from(color);
        slot = slot * STATES + usize::from(state);
        slot = slot * AGENTS + agent_slot;
        slot = slot * 2 + usize::from(highlight);
        self.tiles[slot].get_or_init(|| {
            let mut out = vec![0; self.tile_size * self.tile_size * 3];
            tile(cell, agent, highlight, self.tile_size, &mut out);
            out.into()
        })
    }

    /// Draws a whole grid into `out`, `[height * tile_size, width * tile_size, 3]` bytes, rows from the top. `Grid.render`.
    ///
    /// `cell(x, y)` is what stands there, `agent` is `(x, y, direction)`, `highlight(x, y)` is the mask. MiniGrid's view of the
    /// agent (`get_pov_render`) is the 7 x 7 grid of the view with the agent at (3, 6) looking up (3) and its visible cells
    /// highlighted; its full picture (`get_full_render`) highlights the same cells where they lie in the world.
    pub fn render_grid(
        &self,
        width: usize,
        height: usize,
        cell: impl Fn(usize, usize) -> Cell,
        agent: Option<(usize, usize, u8)>,
        highlight: impl Fn(usize, usize) -> bool,
        out: &mut [u8],
    ) {
        let tile_row = self.tile_size * 3;
        let row = width * tile_row;
        let band = self.tile_size * row;
        assert_eq!(out.len(), height * band, "render_grid: {width} x {height} tiles of size {}", self.tile_size);
        for (y, band) in out.chunks_exact_mut(band).enumerate() {
            for x in 0..width {
                let direction = agent.and_then(|(ax, ay, direction)| ((ax, ay) == (x, y)).then_some(direction));
                let tile = self.tile(cell(x, y), direction, highlight(x, y));
                for (pixels, tile) in band.chunks_exact_mut(row).zip(tile.chunks_exact(tile_row)) {
                    pixels[x * tile_row..(x + 1) * tile_row].copy_from_slice(tile);
                }
            }
        }
    }
}

/// A square picture that shapes are painted on.
struct Canvas {
    side: usize,
    pixels: Vec<[u8; 3]>,
}

impl Canvas {
    fn new(side: usize) -> Self {
        Canvas { side, pixels: vec![BLACK; side * side] }
    }

    /// Paints every pixel whose centre is inside. `fill_coords`.
    fn fill(&mut self, color: [u8; 3], inside: impl Fn(f64, f64) -> bool) {
        let centre = |i: usize| (i as f64 + 0.5) / self.side as f64;
        for (y, row) in self.pixels.chunks_exact_mut(self.side).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                if inside(centre(x), centre(y)) {
                    *pixel = color;
                }
            }
        }
    }

    /// A rectangle with its edges, given by its ranges of x and y.
    fn rectangle(&mut self, x: [f64; 2], y: [f64; 2], color: [u8; 3]) {
        self.fill(color, |px, py| px >= x[0] && px <= x[1] && py >= y[0] && py <= y[1]);
    }

    /// A square whose x and y have the same range.
    fn square(&mut self, range: [f64; 2], color: [u8; 3]) {
        self.rectangle(range, range, color);
    }

    fn disc(&mut self, centre: [f64; 2], radius: f64, color: [u8; 3]) {
        let [cx, cy] = centre;
        self.fill(color, |x, y| (x - cx) * (x - cx) + (y - cy) * (y - cy) <= radius * radius);
    }

    /// A line of half width `radius` with round ends. `point_in_line`.
    fn line(&mut self, from: [f64; 2], to: [f64; 2], radius: f64, color: [u8; 3]) {
        let start = from.map(|v| v as f32);
        let along = [to[0] as f32 - start[0], to[1] as f32 - start[1]];
        let length = dot(along, along).sqrt();
        let along = along.map(|v| f64::from(v / length));
        let (start, length) = (start.map(f64::from), f64::from(length));
        let low = [from[0].min(to[0]) - radius, from[1].min(to[1]) - radius];
        let high = [from[0].max(to[0]) + radius, from[1].max(to[1]) + radius];
        self.fill(color, |x, y| {
            if x < low[0] || x > high[0] || y < low[1] || y > high[1] {
                return false;
            }
            let t = dot([x - start[0], y - start[1]], along).clamp(0.0, length);
            let away = [x - (start[0] + t * along[0]), y - (start[1] + t * along[1])];
            dot(away, away).sqrt() <= radius
        });
    }

    /// `WorldObj.render` of each class.
    fn object(&mut self, Cell { object, color, state }: Cell) {
        let color = COLORS[usize::from(color)];
        match object {
            WALL | GOAL => self.square([0.0, 1.0], color),
            FLOOR => self.square([0.031, 1.0], color.map(|v| v / 2)),
            DOOR => self.door(color, state),
            KEY => {
                self.rectangle([0.50, 0.63], [0.31, 0.88], color);
                self.rectangle([0.38, 0.50], [0.59, 0.66], color);
                self.rectangle([0.38, 0.50], [0.81, 0.88], color);
                self.disc([0.56, 0.28], 0.190, color);
                self.disc([0.56, 0.28], 0.064, BLACK);
            }
            BALL => self.disc([0.5, 0.5], 0.31, color),
            BOX => {
                self.square([0.12, 0.88], color);
                self.square([0.18, 0.82], BLACK);
                self.rectangle([0.16, 0.84], [0.47, 0.53], color);
            }
            LAVA => {
                self.square([0.0, 1.0], [255, 128, 0]);
                for wave in 0..3 {
                    let (crest, trough) = (0.3 + 0.2 * f64::from(wave), 0.4 + 0.2 * f64::from(wave));
                    let points = [[0.1, crest], [0.3, trough], [0.5, crest], [0.7, trough], [0.9, crest]];
                    for ends in points.windows(2) {
                        self.line(ends[0], ends[1], 0.03, BLACK);
                    }
                }
            }
            _ => {}
        }
    }

    fn door(&mut self, color: [u8; 3], state: u8) {
        match state {
            0 => {
                self.rectangle([0.88, 1.0], [0.0, 1.0], color);
                self.rectangle([0.92, 0.96], [0.04, 0.96], BLACK);
            }
            1 => {
                self.square([0.0, 1.0], color);
                self.square([0.04, 0.96], BLACK);
                self.square([0.08, 0.92], color);
                self.square([0.12, 0.88], BLACK);
                self.disc([0.75, 0.50], 0.08, color);
            }
            _ => {
                self.square([0.0, 1.0], color);
                self.square([0.06, 0.94], color.map(|v| (0.45 * f64::from(v)) as u8));
                self.rectangle([0.52, 0.75], [0.50, 0.56], color);
            }
        }
    }

    /// The agent's red triangle, which points right, turned by `direction` quarters. `point_in_triangle`, `rotate_fn`.
    fn agent(&mut self, direction: u8) {
        let [a, b, c] = [[0.12_f32, 0.19], [0.87, 0.50], [0.12, 0.81]];
        let v0 = [c[0] - a[0], c[1] - a[1]];
        let v1 = [b[0] - a[0], b[1] - a[1]];
        let (dot00, dot01, dot11) = (dot(v0, v0), dot(v0, v1), dot(v1, v1));
        let scale = f64::from(1.0 / (dot00 * dot11 - dot01 * dot01));
        let [dot00, dot01, dot11] = [dot00, dot01, dot11].map(f64::from);
        let [v0, v1, a] = [v0, v1, a].map(|v| v.map(f64::from));
        let (sin, cos) = (-(0.5 * std::f64::consts::PI * f64::from(direction))).sin_cos();
        self.fill([255, 0, 0], |x, y| {
            let (x, y) = (x - 0.5, y - 0.5);
            let (x, y) = (0.5 + x * cos - y * sin, 0.5 + y * cos + x * sin);
            let v2 = [x - a[0], y - a[1]];
            let (dot02, dot12) = (dot(v0, v2), dot(v1, v2));
            let u = (dot11 * dot02 - dot01 * dot12) * scale;
            let v = (dot00 * dot12 - dot01 * dot02) * scale;
            u >= 0.0 && v >= 0.0 && u + v < 1.0
        });
    }

    /// 30 % of the way to white. `highlight_img`.
    fn highlight(&mut self) {
        for pixel in &mut self.pixels {
            *pixel = pixel.map(|v| (f64::from(v) + 0.30 * f64::from(255 - v)) as u8);
        }
    }

    /// Means of 3 pixels along x, then means of those along y, cut to a byte. `downsample`.
    fn average_into(&self, out: &mut [u8]) {
        let size = self.side / OVERSAMPLING;
        for (i, byte) in out.iter_mut().enumerate() {
            let (y, x, channel) = (i / 3 / size, i / 3 % size, i % 3);
            let row_mean = |row: usize| {
                let start = (y * OVERSAMPLING + row) * self.side + x * OVERSAMPLING;
                let sum: u16 = self.pixels[start..start + OVERSAMPLING].iter().map(|p| u16::from(p[channel])).sum();
                f64::from(sum) / 3.0
            };
            *byte = ((row_mean(0) + row_mean(1) + row_mean(2)) / 3.0) as u8;
        }
    }
}

/// The scalar product, each product rounded.
fn dot<R: std::ops::Mul<Output = R> + std::ops::Add<Output = R> + Copy>(a: [R; 2], b: [R; 2]) -> R {
    a[0] * b[0] + a[1] * b[1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Recorded from minigrid by `scripts/record_tiles.py`.
    const TILES: &str = include_str!("../../tests/fixtures/tiles/tiles.txt");
    const FRAMES: &str = include_str!("../../tests/fixtures/tiles/frames.json");

    /// FNV-1a, 64 bits.
    fn hash(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    }

    /// A line is `tile_size object color state` and ten hashes: no agent and directions 0 to 3, each plain, then highlighted.
    #[test]
    fn tiles_are_those_of_minigrid() {
        let mut compared = 0;
        for line in TILES.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let numbers: Vec<u8> = fields[..4].iter().map(|f| f.parse().expect("a small number")).collect();
            let cell = Cell { object: numbers[1], color: numbers[2], state: numbers[3] };
            let cache = TileCache::new(usize::from(numbers[0]));
            for (i, expected) in fields[4..].iter().enumerate() {
                let agent = (i / 2).checked_sub(1).map(|direction| direction as u8);
                let bytes = cache.tile(cell, agent, i % 2 == 1);
                let expected = u64::from_str_radix(expected, 16).expect("a hash");
                assert_eq!(hash(bytes), expected, "{cell:?}, agent {agent:?}, tile size {}: {line}", numbers[0]);
                compared += 1;
            }
        }
        assert_eq!(compared, (6 * 56 + 1) * 10, "6 sizes of 56 cells, and an empty one at size 100, each in 10 ways");
    }

    #[test]
    fn frames_are_those_of_minigrid() {
        let frames: Value = serde_json::from_str(FRAMES).expect("the fixture is JSON");
        let frames = frames.as_array().expect("frames");
        assert!(frames.len() >= 8);
        for frame in frames {
            let whole = |key: &str| frame[key].as_u64().expect("a whole number") as usize;
            let (width, height) = (whole("width"), whole("height"));
            let cells: Vec<u8> = serde_json::from_value(frame["cells"].clone()).expect("bytes");
            let mask: Vec<u8> = serde_json::from_value(frame["highlight"].clone()).expect("bytes");
            let [x, y, direction]: [usize; 3] = serde_json::from_value(frame["agent"].clone()).expect("an agent");
            let cache = TileCache::new(whole("tile_size"));
            let mut out = vec![0; width * height * cache.tile_size().pow(2) * 3];
            // MiniGrid's arrays are [x][y].
            let cell = |x: usize, y: usize| {
                let at = (x * height + y) * 3;
                Cell { object: cells[at], color: cells[at + 1], state: cells[at + 2] }
            };
            let highlight = |x: usize, y: usize| mask[x * height + y] == 1;
            cache.render_grid(width, height, cell, Some((x, y, direction as u8)), highlight, &mut out);
            let expected = frame["hash"].as_str().expect("a hash");
            assert_eq!(format!("{:016x}", hash(&out)), expected, "{}", frame["name"]);
        }
    }
}
