//! What a run tells people: numbers on a line, TensorBoard files, pictures, the progress bar, tables.
//!
//! | file | what it makes |
//! |---|---|
//! | [`journal`] | the log of one run: `metrics.jsonl` and the TensorBoard file together, and what a checkpoint keeps of them |
//! | [`metrics`] | `metrics.jsonl`, and means over the values seen since the last line |
//! | [`tensorboard`] | event files: scalars, animated pictures, text |
//! | [`canvas`] | RGB canvases: rows, columns, captions, whole-number scaling |
//! | [`font`] | the letters of captions |
//! | [`picture`] | PNG and animated GIF bytes |
//! | [`palette`] | the 256 colours of an animation |
//! | [`open_loop`] | the video of a dream: truth, model, error |
//! | [`interval`] | means, medians and interquartile means, with bootstrap intervals |
//! | [`progress`] | the progress line of `train` |
//! | [`page`] | one HTML page without outside resources: plots, pictures, tables, commands |
//! | [`stdout`] | standard output, whose reader may leave |
//! | [`svg`] | plots as SVG text: lines with intervals, points, bars |
//! | [`table`] | aligned plain-text tables |

pub mod canvas;
pub mod font;
pub mod interval;
pub mod journal;
pub mod metrics;
pub mod open_loop;
pub mod page;
pub mod palette;
pub mod picture;
pub mod progress;
pub mod stdout;
pub mod svg;
pub mod table;
pub mod tensorboard;

pub use canvas::Canvas;
pub use interval::Interval;
pub use journal::Journal;
pub use metrics::Means;
pub use progress::Progress;
pub use table::Table;
