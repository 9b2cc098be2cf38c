//! A file that only grows, and that a resumed run takes back to the length it had at the checkpoint.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::base::{Error, Result};

/// A log file. Every record is handed to the operating system at once, so that a reader following the file sees it and a
/// killed process loses none.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    path: PathBuf,
    len: u64,
}

impl AppendFile {
    /// Opens `path` with its first `len` bytes kept and everything behind them cut off; creates it when absent.
    ///
    /// `len` is what [`AppendFile::sync`] returned when the checkpoint was written, 0 for a fresh run. A file that is shorter
    /// than that was changed by somebody else, and is an error. A file that is absent was removed on purpose: a new one begins.
    pub fn open_at(path: &Path, len: u64) -> Result<Self> {
        let opened = OpenOptions::new().write(true).open(path);
        let (mut file, len) = match opened {
            Ok(file) => (file, len),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let file = OpenOptions::new().write(true).create_new(true).open(path);
                (file.map_err(|e| Error::file("create", path, e))?, 0)
            }
            Err(e) => return Err(Error::file("open", path, e)),
        };
        let found = file.metadata().map_err(|e| Error::file("read the size of", path, e))?.len();
        if found < len {
            return Err(Error::new(format!(
                "{} has {found} bytes, but it had {len} when the checkpoint was saved. Put the longer file back, or delete \
                 this one to go on without its history.",
                path.display()
            )));
        }
        file.set_len(len).map_err(|e| Error::file("cut", path, e))?;
        file.seek(SeekFrom::Start(len)).map_err(|e| Error::file("seek in", path, e))?;
        Ok(AppendFile { file, path: path.to_path_buf(), len })
    }

    /// Writes one whole record. After an error (a full disk, say) the file is cut back to whole records, so the caller may
    /// try again.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        if let Err(cause) = self.file.write_all(record) {
            let _ = self.file.set_len(self.len);
            let _ = self.file.seek(SeekFrom::Start(self.len));
            return Err(Error::file("write to", &self.path, cause));
        }
        self.len += record.len() as u64;
        Ok(())
    }

    /// Bytes written so far, whole records all.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes everything written so far survive a power cut, and returns its length for the checkpoint.
    pub fn sync(&mut self) -> Result<u64> {
        self.file.sync_data().map_err(|e| Error::file("flush to disk", &self.path, e))?;
        Ok(self.len)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
