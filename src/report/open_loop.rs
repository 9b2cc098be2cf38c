//! The video of a dream, after `agent/openl` of danijar/dreamer: what happened, what the model showed, and the difference.
//!
//! Sequences stand side by side, rows are truth, model and error. For the first `observed` steps the model sees each frame
//! and reconstructs it; from then on it gets only the recorded actions and imagines. The colour of the frames' border and of
//! the headline tells the two apart.

use crate::report::canvas::{self, Canvas, Rgb};
use crate::report::font;

const BACKGROUND: Rgb = [22, 24, 29];
const CAPTION: Rgb = [205, 208, 214];
const RECONSTRUCTED: Rgb = [86, 180, 233];
const IMAGINED: Rgb = [230, 159, 0];

/// Recorded sequences and the model's, `T` steps of `B` sequences.
#[derive(Debug, Clone, Copy)]
pub struct OpenLoop<'a> {
    /// Recorded frames, `[T, B, height, width, 3]`.
    pub truth: &'a [u8],
    /// The model's frames, `[T, B, height, width, 3]`, black at 0 and white at 1. What lies outside is clipped.
    pub model: &'a [f32],
    /// `T`
    pub steps: usize,
    /// `B`
    pub sequences: usize,
    /// Height of a frame in pixels.
    pub height: usize,
    /// Width of a frame in pixels.
    pub width: usize,
    /// How many of the first steps the model saw.
    pub observed: usize,
    /// Every pixel becomes a square of this side.
    pub scale: usize,
}

impl OpenLoop<'_> {
    /// One canvas a step.
    pub fn frames(&self) -> Vec<Canvas> {
        let want = self.steps * self.sequences * self.height * self.width * 3;
        let shape = [self.steps, self.sequences, self.height, self.width, 3];
        let (truth, model) = (self.truth.len(), self.model.len());
        assert!(truth == want && model == want, "open_loop: {truth} and {model} values are not {shape:?}");
        (0..self.steps).map(|t| self.frame(t)).collect()
    }

    fn frame(&self, t: usize) -> Canvas {
        let letters = (self.height * self.scale / 40).clamp(1, 3);
        let gap = 2 * letters;
        let (color, phase) = if t < self.observed { (RECONSTRUCTED, "sees") } else { (IMAGINED, "dreams") };

        let row = |name: &str, border: Rgb, picture: &dyn Fn(usize) -> Vec<u8>| {
            let pictures: Vec<Canvas> = (0..self.sequences)
                .map(|b| {
                    Canvas::from_rgb(self.width, self.height, picture(b)).upscale(self.scale).framed(letters, border)
                })
                .collect();
            let pictures = Canvas::row(&pictures, gap, BACKGROUND);
            let mut caption = Canvas::new(canvas::text_width("truth", letters), pictures.height(), BACKGROUND);
            caption.text(0, (pictures.height() - font::HEIGHT * letters) / 2, letters, CAPTION, name);
            Canvas::row(&[caption, pictures], 2 * gap, BACKGROUND)
        };
        let rows = [
            row("truth", BACKGROUND, &|b| self.truth[self.range(t, b)].to_vec()),
            row("model", color, &|b| self.model[self.range(t, b)].iter().map(|&x| byte(x)).collect()),
            row("error", BACKGROUND, &|b| {
                let pairs = self.truth[self.range(t, b)].iter().zip(&self.model[self.range(t, b)]);
                pairs.map(|(&truth, &model)| byte((model - f32::from(truth) / 255.0 + 1.0) / 2.0)).collect()
            }),
        ];
        let rows = Canvas::column(&rows, gap, BACKGROUND);

        // As wide as the longest headline, so that all frames have one size.
        let headline = |t: usize, phase: &str| {
            format!("step {t:>digits$}: the model {phase}", digits = self.steps.to_string().len())
        };
        let width = canvas::text_width(&headline(0, "dreams"), letters);
        let mut head = Canvas::new(width, font::HEIGHT * letters, BACKGROUND);
        head.text(0, 0, letters, color, &headline(t, phase));
        Canvas::column(&[head, rows], 2 * gap, BACKGROUND).framed(2 * gap, BACKGROUND)
    }

    fn range(&self, t: usize, b: usize) -> std::ops::Range<usize> {
        let size = self.height * self.width * 3;
        let start = (t * self.sequences + b) * size;
        start..start + size
    }
}

/// 0 to 1 as 0 to 255, rounded; a NaN becomes 0.
fn byte(x: f32) -> u8 {
    (x * 255.0).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps of two sequences, each frame one pixel of its own colour.
    #[test]
    fn frames_stand_where_they_belong() {
        let truth = [10, 0, 0, 20, 0, 0, 30, 0, 0, 40, 0, 0];
        let model: Vec<f32> = [0.0, 0.2, 0.4, 2.0].iter().flat_map(|&x| [x, 0.0, 0.0]).collect();
        let video = OpenLoop {
            truth: &truth,
            model: &model,
            steps: 2,
            sequences: 2,
            height: 1,
            width: 1,
            observed: 1,
            scale: 8,
        };
        let frames = video.frames();
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[0].width(), frames[0].height()), (frames[1].width(), frames[1].height()));
        // Margin 4, headline 7, gap 4: row 15 begins the pictures. Caption 29, gap 4: column 37. A picture is 8 + 2 * 1 wide.
        let picture = |t: usize, row: usize, b: usize| frames[t].at(37 + 5 + b * 12, 15 + 5 + row * 12);
        for (t, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let i = 3 * (2 * t + b);
            let seen = model[i].min(1.0) * 255.0;
            let error = ((model[i] - f32::from(truth[i]) / 255.0 + 1.0) / 2.0).min(1.0) * 255.0;
            assert_eq!(picture(t, 0, b), [truth[i], 0, 0], "truth of step {t}, sequence {b}");
            assert_eq!(picture(t, 1, b), [seen.round() as u8, 0, 0], "model of step {t}, sequence {b}");
            assert_eq!(picture(t, 2, b), [error.round() as u8, 128, 128], "error of step {t}, sequence {b}");
        }
        let border = |t: usize| frames[t].at(37, 15 + 12);
        assert_eq!((border(0), border(1)), (RECONSTRUCTED, IMAGINED));
    }
}
