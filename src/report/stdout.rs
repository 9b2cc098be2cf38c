//! Standard output, where a reader may leave early: `dreamer-fast ... | head` is no error, and nothing panics.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use crate::base::{Error, Result};

/// `println!`, but an error that can be handed on, and none where the reader left.
macro_rules! say {
    ($($words:tt)*) => { $crate::report::stdout::write(format_args!("{}\n", format_args!($($words)*)))? };
}
pub(crate) use say;

/// Writes text to standard output.
///
/// # Errors
/// Standard output cannot be written, for another reason than that its reader left.
pub fn write(text: impl fmt::Display) -> Result<()> {
    or_left(io::stdout().write_all(text.to_string().as_bytes())).map(|_| ())
}

/// Writes a stream to standard output with `fill`, which ends early where the reader leaves.
///
/// # Errors
/// Those of `fill`, and those of [`write()`].
pub fn stream(fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = Watched { inner: io::BufWriter::new(io::stdout().lock()), left: false };
    let filled = fill(&mut out);
    if out.left {
        return Ok(());
    }
    filled?;
    or_left(out.flush())
}

/// Forgives that the reader left.
fn or_left(done: io::Result<()>) -> Result<()> {
    match done {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(format!("cannot write to standard output: {cause}")))
        }
        _ => Ok(()),
    }
}

/// A writer that remembers whether its reader left.
struct Watched<W> {
    inner: W,
    left: bool,
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes).inspect_err(|cause| self.left |= cause.kind() == ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().inspect_err(|cause| self.left |= cause.kind() == ErrorKind::BrokenPipe)
    }
}
