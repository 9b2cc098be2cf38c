//! RGB canvases: composed in rows and columns, with captions and whole-number scaling.

use crate::report::font;

/// A colour: red, green, blue.
pub type Rgb = [u8; 3];

/// A picture of `height * width` pixels, each of three bytes, rows from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    width: usize,
    height: usize,
    /// `[height, width, 3]`
    pixels: Vec<u8>,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(width: usize, height: usize, color: Rgb) -> Self {
        Canvas { width, height, pixels: color.repeat(width * height) }
    }

    /// A canvas of the bytes `[height, width, 3]`.
    pub fn from_rgb(width: usize, height: usize, pixels: Vec<u8>) -> Self {
        let len = pixels.len();
        assert!(len == height * width * 3, "canvas: {len} bytes are not [{height}, {width}, 3]");
        Canvas { width, height, pixels }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The colour in column `x` of row `y`.
    pub fn at(&self, x: usize, y: usize) -> Rgb {
        let i = 3 * (y * self.width + x);
        [self.pixels[i], self.pixels[i + 1], self.pixels[i + 2]]
    }

    /// Fills a rectangle whose upper left corner is `(x, y)`; what falls outside the canvas is left out.
    pub fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, color: Rgb) {
        let right = (x + width).min(self.width);
        for row in y..(y + height).min(self.height) {
            for column in x..right {
                let i = 3 * (row * self.width + column);
                self.pixels[i..i + 3].copy_from_slice(&color);
            }
        }
    }

    /// Copies another canvas in, its upper left corner at `(x, y)`. It must fit.
    pub fn paste(&mut self, x: usize, y: usize, other: &Canvas) {
        let fits = x + other.width <= self.width && y + other.height <= self.height;
        let (w, h) = (other.width, other.height);
        assert!(fits, "canvas: {w}x{h} at ({x}, {y}) does not fit into {}x{}", self.width, self.height);
        for row in 0..h {
            let to = 3 * ((y + row) * self.width + x);
            self.pixels[to..to + 3 * w].copy_from_slice(&other.pixels[3 * row * w..3 * (row + 1) * w]);
        }
    }

    /// Writes a line of text, its upper left corner at `(x, y)`, every pixel of a letter `scale` pixels wide.
    pub fn text(&mut self, x: usize, y: usize, scale: usize, color: Rgb, text: &str) {
        for (i, letter) in text.chars().enumerate() {
            for (row, bits) in font::glyph(letter).into_iter().enumerate() {
                for column in (0..font::WIDTH).filter(|c| bits >> (font::WIDTH - 1 - c) & 1 == 1) {
                    let left = x + (i * (font::WIDTH + 1) + column) * scale;
                    self.fill(left, y + row * scale, scale, scale, color);
                }
            }
        }
    }

    /// Every pixel becomes a square of `factor * factor` pixels.
    pub fn upscale(&self, factor: usize) -> Canvas {
        assert!(factor > 0, "canvas: scaled by 0");
        let mut pixels = Vec::with_capacity(self.pixels.len() * factor * factor);
        for row in self.pixels.chunks_exact(3 * self.width) {
            let wide: Vec<u8> = row.chunks_exact(3).flat_map(|pixel| pixel.repeat(factor)).collect();
            (0..factor).for_each(|_| pixels.extend(&wide));
        }
        Canvas { width: self.width * factor, height: self.height * factor, pixels }
    }

    /// The canvases from left to right, aligned at the top, `gap` pixels of `background` between them.
    pub fn row(parts: &[Canvas], gap: usize, background: Rgb) -> Canvas {
        let width = parts.iter().map(|p| p.width).sum::<usize>() + gap * parts.len().saturating_sub(1);
        let mut whole = Canvas::new(width, parts.iter().map(|p| p.height).max().unwrap_or(0), background);
        let mut x = 0;
        for part in parts {
            whole.paste(x, 0, part);
            x += part.width + gap;
        }
        whole
    }

    /// The canvases from top to bottom, aligned at the left, `gap` pixels of `background` between them.
    pub fn column(parts: &[Canvas], gap: usize, background: Rgb) -> Canvas {
        let height = parts.iter().map(|p| p.height).sum::<usize>() + gap * parts.len().saturating_sub(1);
        let mut whole = Canvas::new(parts.iter().map(|p| p.width).max().unwrap_or(0), height, background);
        let mut y = 0;
        for part in parts {
            whole.paste(0, y, part);
            y += part.height + gap;
        }
        whole
    }

    /// The canvas with a margin of `size` pixels of one colour around it.
    pub fn framed(&self, size: usize, color: Rgb) -> Canvas {
        let mut whole = Canvas::new(self.width + 2 * size, self.height + 2 * size, color);
        whole.paste(size, size, self);
        whole
    }
}

/// Width in pixels of a line of text at this scale; its height is `font::HEIGHT * scale`.
pub fn text_width(text: &str, scale: usize) -> usize {
    (text.chars().count() * (font::WIDTH + 1)).saturating_sub(1) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Rgb = [255, 0, 0];
    const BLUE: Rgb = [0, 0, 255];
    const BLACK: Rgb = [0, 0, 0];

    /// One letter a pixel, a line a row.
    fn drawn(canvas: &Canvas) -> String {
        let letter = |color| match color {
            RED => 'r',
            BLUE => 'b',
            BLACK => '.',
            other => panic!("{other:?}"),
        };
        (0..canvas.height())
            .map(|y| (0..canvas.width()).map(|x| letter(canvas.at(x, y))).collect::<String>() + "\n")
            .collect()
    }

    #[test]
    fn rows_columns_scales_and_frames() {
        let (red, blue) = (Canvas::new(1, 2, RED), Canvas::new(2, 1, BLUE));
        assert_eq!(drawn(&Canvas::row(&[red.clone(), blue.clone()], 1, BLACK)), "r.bb\nr...\n");
        assert_eq!(drawn(&Canvas::column(&[red.clone(), blue.clone()], 1, BLACK)), "r.\nr.\n..\nbb\n");
        assert_eq!(drawn(&Canvas::row(&[red, blue.clone()], 0, BLACK).upscale(2)), "rrbbbb\nrrbbbb\nrr....\nrr....\n");
        assert_eq!(drawn(&blue.framed(1, RED)), "rrrr\nrbbr\nrrrr\n");
    }

    #[test]
    fn text_is_drawn_letter_by_letter() {
        let mut canvas = Canvas::new(text_width("Ty", 1), font::HEIGHT, BLACK);
        canvas.text(0, 0, 1, RED, "Ty");
        let want = "rrrrr......\n..r........\n..r...r...r\n..r...r...r\n..r....rrrr\n..r.......r\n..r....rrr.\n";
        assert_eq!(drawn(&canvas), want);
    }

    #[test]
    fn what_falls_outside_is_left_out() {
        let mut canvas = Canvas::new(2, 2, BLACK);
        canvas.fill(1, 1, 5, 5, RED);
        assert_eq!(drawn(&canvas), "..\n.r\n");
    }

    #[test]
    #[should_panic(expected = "2x1 at (1, 0) does not fit into 2x2")]
    fn a_canvas_that_does_not_fit_is_a_mistake() {
        Canvas::new(2, 2, BLACK).paste(1, 0, &Canvas::new(2, 1, RED));
    }
}
