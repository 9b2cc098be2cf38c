//! Canvases as PNG files and animated GIF files.

use std::borrow::Cow;
use std::path::Path;

use crate::base::{Error, Result, files};
use crate::report::canvas::Canvas;
use crate::report::palette::Palette;

/// The bytes of a PNG file.
pub fn png(canvas: &Canvas) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, canvas.width() as u32, canvas.height() as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(canvas.pixels())?;
        writer.finish()
    });
    written.map_err(|e| Error::new(format!("cannot make a PNG of {}x{}: {e}", canvas.width(), canvas.height())))?;
    Ok(bytes)
}

/// The bytes of an animated GIF file that repeats for ever. GIF counts time in hundredths of a second, so the speed is
/// rounded, and at most 50 frames per second.
///
/// All frames have one size (a programmer's mistake otherwise); above 65,535 pixels it is an error. Colours: see
/// [`crate::report::palette`]. A pixel that does not change from one frame to the next is stored as transparent, which
/// packs into long runs.
pub fn gif(frames: &[Canvas], frames_per_second: f64) -> Result<Vec<u8>> {
    assert!(!frames.is_empty() && frames_per_second > 0.0, "gif: {} frames at {frames_per_second}/s", frames.len());
    let (width, height) = (frames[0].width(), frames[0].height());
    let (Ok(short_width), Ok(short_height)) = (u16::try_from(width), u16::try_from(height)) else {
        return Err(Error::new(format!(
            "a GIF has at most 65535 pixels a side, this one is {width}x{height}: scale it less"
        )));
    };
    let transparent = 255;
    let palette = Palette::of(frames, usize::from(transparent));
    let mut colors = palette.colors().concat();
    colors.resize(3 * 256, 0);
    let failed = |e: gif::EncodingError| Error::new(format!("cannot make a GIF of {width}x{height}: {e}"));

    let mut encoder = gif::Encoder::new(Vec::new(), short_width, short_height, &colors).map_err(failed)?;
    encoder.set_repeat(gif::Repeat::Infinite).map_err(failed)?;
    let mut shown: Vec<u8> = Vec::new();
    for frame in frames {
        let (w, h) = (frame.width(), frame.height());
        assert!((w, h) == (width, height), "gif: a frame of {w}x{h} among frames of {width}x{height}");
        let indices = palette.indices(frame);
        let changes = if shown.is_empty() {
            indices.clone()
        } else {
            indices.iter().zip(&shown).map(|(&new, &old)| if new == old { transparent } else { new }).collect()
        };
        shown = indices;
        let frame = gif::Frame {
            width: short_width,
            height: short_height,
            delay: (100.0 / frames_per_second).round().clamp(2.0, 65535.0) as u16,
            dispose: gif::DisposalMethod::Keep,
            transparent: Some(transparent),
            buffer: Cow::Owned(changes),
            ..Default::default()
        };
        encoder.write_frame(&frame).map_err(failed)?;
    }
    encoder.into_inner().map_err(|e| Error::new(format!("cannot make a GIF of {width}x{height}: {e}")))
}

/// Writes a PNG file.
pub fn write_png(path: &Path, canvas: &Canvas) -> Result<()> {
    files::write_atomic(path, &png(canvas)?)
}

/// Writes an animated GIF file; see [`gif()`].
pub fn write_gif(path: &Path, frames: &[Canvas], frames_per_second: f64) -> Result<()> {
    files::write_atomic(path, &gif(frames, frames_per_second)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Canvas> {
        // A dot walks along a line; the last frame repeats the one before it.
        [0, 1, 2, 2].map(|x| Canvas::new(4, 2, [10, 20, 30]).with_dot(x)).to_vec()
    }

    impl Canvas {
        fn with_dot(mut self, x: usize) -> Canvas {
            self.fill(x, 0, 1, 1, [200, 100, 0]);
            self
        }
    }

    #[test]
    fn a_gif_plays_back_what_went_in() {
        let bytes = gif(&frames(), 20.0).unwrap();
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(bytes.as_slice()).unwrap();
        assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
        let mut screen = [0; 4 * 2 * 3];
        for want in frames() {
            let frame = decoder.read_next_frame().unwrap().unwrap();
            assert_eq!(frame.delay, 5);
            for (to, pixel) in screen.chunks_mut(3).zip(frame.buffer.chunks(4)).filter(|(_, pixel)| pixel[3] == 255) {
                to.copy_from_slice(&pixel[..3]);
            }
            assert_eq!(screen, want.pixels());
        }
        assert!(decoder.read_next_frame().unwrap().is_none());
    }

    #[test]
    fn a_png_holds_what_went_in() {
        let want = &frames()[1];
        let bytes = png(want).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (4, 2, png::ColorType::Rgb));
        assert_eq!(pixels, want.pixels());
    }

    #[test]
    fn a_gif_that_is_too_large_says_so() {
        let error = gif(&[Canvas::new(70_000, 1, [0; 3])], 20.0).unwrap_err().to_string();
        assert_eq!(error, "a GIF has at most 65535 pixels a side, this one is 70000x1: scale it less");
    }
}
