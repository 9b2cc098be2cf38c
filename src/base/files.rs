//! All file access: reading with a bound, writing so that a crash leaves the old file or the new one, append-only logs.
//!
//! No other module calls `std::fs`, but for what the kernel says of the process under `/proc` (`src/run/bench/measure.rs`). Every call to the operating system goes through `call`, so that a test can make each of
//! them fail in turn. Errors name the path, the cause and what to do.
//!
//! What survives what: after [`write_atomic`] returns, the file survives a power cut. After [`write_lazily`] it survives the death of
//! the process and is never seen half written; it survives a power cut once [`sync`] has been called for it and its directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Error, Result};

/// The end of the name of a file that is still being written. What a crash leaves under such a name is garbage.
pub const PARTIAL: &str = ".partial";

/// CRC-32 (IEEE 802.3, the one of zip and png): notices every flipped bit and every burst of up to 32 bits.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The whole file, refused when it is longer than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let doing = "read";
    let file = call(|| File::open(path)).map_err(|cause| failed(doing, path, &cause))?;
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know; a file that lies about its length or grows costs no memory beyond it.
    call(|| file.take(limit.saturating_add(1)).read_to_end(&mut bytes)).map_err(|cause| failed(doing, path, &cause))?;
    if bytes.len() as u64 > limit {
        return Err(Error::file(
            doing,
            path,
            format!("it is longer than {limit} bytes; check that it is the right file"),
        ));
    }
    Ok(bytes)
}

/// Writes a file whole and durable: a crash or a full disk at any moment leaves what was there before, or the new content.
/// The file's mode is the process's default (not the 0600 of a temporary file).
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_and_rename(path, bytes, true)?;
    sync_directory(directory_of(path))
}

/// Like [`write_atomic`], but leaves the moment at which it becomes durable to the operating system or to [`sync`].
pub fn write_lazily(path: &Path, bytes: &[u8]) -> Result<()> {
    write_and_rename(path, bytes, false)
}

/// Makes a file's content survive a power cut. Its name does once [`sync_directory`] was called for its directory.
pub fn sync(path: &Path) -> Result<()> {
    // Windows syncs only what is open for writing; Unix does not open directories for it.
    call(|| OpenOptions::new().read(true).write(cfg!(windows)).open(path)?.sync_all())
        .map_err(|cause| failed("make durable", path, &cause))
}

/// Makes the names in a directory survive a power cut.
pub fn sync_directory(directory: &Path) -> Result<()> {
    // Windows opens no directories as files and makes renames durable by itself.
    if cfg!(windows) { Ok(()) } else { sync(directory) }
}

/// Creates a directory and those above it; one that exists is left as it is.
pub fn create_directory(path: &Path) -> Result<()> {
    call(|| fs::create_dir_all(path)).map_err(|cause| failed("create the directory", path, &cause))
}

/// The names in a directory, sorted; empty when there is no such directory. Names that are not UTF-8 are left out.
pub fn list(directory: &Path) -> Result<Vec<String>> {
    let failed = |cause: io::Error| failed("list the directory", directory, &cause);
    let entries = match call(|| fs::read_dir(directory)) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a file or directory of that name is there.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// Renames a file or a directory within one file system. An existing file of the new name is replaced.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    call(|| fs::rename(from, to)).map_err(|cause| failed(&format!("rename to {} the file", to.display()), from, &cause))
}

/// Removes a file or a directory with all that it holds; what is not there is already removed.
pub fn remove(path: &Path) -> Result<()> {
    let removed = call(|| {
        let directory = fs::symlink_metadata(path)?.is_dir();
        if directory { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    });
    match removed {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(failed("remove", path, &cause)),
        _ => Ok(()),
    }
}

/// An append-only file, such as `metrics.jsonl`.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Log {
    /// Opens a log, creating it and its directory if need be. With `Some(length)`, what stands beyond `length` bytes is cut off:
    /// it was written after the checkpoint from which a run goes on. A log shorter than that is continued from where it ends.
    pub fn open(path: &Path, length: Option<u64>) -> Result<Self> {
        create_directory(directory_of(path))?;
        let opened = call(|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            if let Some(length) = length.filter(|&length| file.metadata().is_ok_and(|is| is.len() > length)) {
                file.set_len(length)?;
            }
            let length = file.seek(SeekFrom::End(0))?;
            Ok((file, length))
        });
        let (file, length) = opened.map_err(|cause| failed("open", path, &cause))?;
        Ok(Log { file, path: path.to_path_buf(), length })
    }

    /// Appends bytes. If that fails part-way, the next call starts again at the end of what was appended whole.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = call(|| self.file.seek(SeekFrom::Start(self.length)));
        written
            .and_then(|_| write_all(&mut self.file, bytes))
            .map_err(|cause| failed("write to", &self.path, &cause))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Bytes appended so far, all of them made durable: what a checkpoint stores and [`Log::open`] takes.
    pub fn durable_length(&mut self) -> Result<u64> {
        call(|| self.file.sync_data()).map_err(|cause| failed("make durable", &self.path, &cause))?;
        Ok(self.length)
    }
}

/// The sole right to write below a directory, given back when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock file `{directory}/lock`, creating both. An error says so when another process holds it.
    pub fn take(directory: &Path) -> Result<Self> {
        create_directory(directory)?;
        let path = directory.join("lock");
        let file = call(|| OpenOptions::new().write(true).create(true).truncate(false).open(&path))
            .map_err(|cause| failed("open", &path, &cause))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::new(format!(
                "another process writes to {}. Wait for it, stop it, or choose another directory.",
                directory.display()
            ))),
            Err(TryLockError::Error(cause)) => Err(failed("lock", &path, &cause)),
        }
    }
}

fn write_and_rename(path: &Path, bytes: &[u8], durable: bool) -> Result<()> {
    let name = path.file_name().unwrap_or_else(|| panic!("{} names no file", path.display())).to_string_lossy();
    let partial = path.with_file_name(format!("{name}{PARTIAL}"));
    let written = (|| {
        let mut file = call(|| File::create(&partial))?;
        write_all(&mut file, bytes)?;
        if durable {
            call(|| file.sync_all())?;
        }
        drop(file);
        call(|| fs::rename(&partial, path))
    })();
    written.map_err(|cause| {
        // A full disk gets its space back. If this fails too, the next write of the same name overwrites the rest.
        let _ = call(|| fs::remove_file(&partial));
        failed("write", path, &cause)
    })
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The error sentence for a failed call: what, which path, why, and what to do.
fn failed(doing: &str, path: &Path, cause: &io::Error) -> Error {
    let advice = match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "Free some space and run the same command again; what was saved before is intact."
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "Check who owns it and whether it may be written, or choose another directory."
        }
        ErrorKind::NotFound => "Check the path.",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            "Something else has that name: move it away or choose another directory."
        }
        _ => "Check the disk, then run the same command again.",
    };
    Error::file(doing, path, format!("{cause}. {advice}"))
}

/// Every call to the operating system passes here.
fn call<T>(operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    #[cfg(test)]
    fault::strike()?;
    operation()
}

fn write_all(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if fault::imminent() {
        // A full disk takes a part of a write before it refuses.
        file.write_all(&bytes[..bytes.len() / 2])?;
    }
    call(|| file.write_all(bytes))
}

/// Lets tests make the operating system's calls fail, per thread.
#[cfg(test)]
pub(crate) mod fault {
    use std::cell::Cell;
    use std::io;

    /// What happens at the call that was picked.
    #[derive(Clone, Copy, PartialEq, Debug)]
    pub enum Kind {
        /// That call alone fails, as on a disk that is full for a moment.
        Once,
        /// That call and all after it fail, as if the process had been killed there.
        Dead,
    }

    thread_local! {
        static PLAN: Cell<Option<(u64, Kind)>> = const { Cell::new(None) };
        static STRUCK: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs `work` with its call number `n` (from 0) failing; returns the result and whether there was such a call.
    pub fn at<T>(n: u64, kind: Kind, work: impl FnOnce() -> T) -> (T, bool) {
        PLAN.set(Some((n, kind)));
        let result = work();
        PLAN.set(None);
        (result, STRUCK.take())
    }

    pub(super) fn imminent() -> bool {
        matches!(PLAN.get(), Some((0, _)))
    }

    pub(super) fn strike() -> io::Result<()> {
        match PLAN.get() {
            None => Ok(()),
            Some((0, kind)) => {
                STRUCK.set(true);
                if kind == Kind::Once {
                    PLAN.set(None);
                }
                Err(io::Error::new(io::ErrorKind::StorageFull, "planted fault"))
            }
            Some((left, kind)) => {
                PLAN.set(Some((left - 1, kind)));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("dreamer-fast-files-{}-{name}", std::process::id()));
        remove(&directory).unwrap();
        create_directory(&directory).unwrap();
        directory
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let directory = scratch("atomic");
        let path = directory.join("file");
        for kind in [fault::Kind::Once, fault::Kind::Dead] {
            for n in 0.. {
                write_atomic(&path, b"old content").unwrap();
                let (result, struck) = fault::at(n, kind, || write_atomic(&path, b"new"));
                let holds = read(&path, 100).unwrap();
                if !struck {
                    assert!(n >= 5 && result.is_ok() && holds == b"new", "after {n} calls");
                    break;
                }
                let message = result.unwrap_err().to_string();
                assert!(message.contains(path.parent().unwrap().to_str().unwrap()), "{message}");
                assert!(holds == b"old content" || holds == b"new", "call {n} left {holds:?}");
            }
        }
        remove(&directory).unwrap();
    }

    #[test]
    fn a_log_drops_what_was_written_after_the_checkpoint() {
        let directory = scratch("log");
        let path = directory.join("deeper/log");
        let mut log = Log::open(&path, None).unwrap();
        log.append(b"one\n").unwrap();
        let saved = log.durable_length().unwrap();
        let (failure, _) = fault::at(1, fault::Kind::Once, || log.append(b"half of this\n"));
        assert!(failure.is_err());
        log.append(b"two\n").unwrap();
        assert!(read(&path, 100).unwrap().starts_with(b"one\ntwo\n"));
        drop(log);
        let mut log = Log::open(&path, Some(saved)).unwrap();
        log.append(b"three\n").unwrap();
        assert_eq!(read(&path, 100).unwrap(), b"one\nthree\n");
        // A log that someone removed is begun again.
        remove(&path).unwrap();
        Log::open(&path, Some(saved)).unwrap().append(b"four\n").unwrap();
        assert_eq!(read(&path, 100).unwrap(), b"four\n");
        remove(&directory).unwrap();
    }

    #[test]
    fn reading_is_bounded_and_a_directory_is_locked_once() {
        let directory = scratch("bound");
        let path = directory.join("file");
        write_lazily(&path, &[7; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap().len(), 100);
        assert!(read(&path, 99).unwrap_err().to_string().contains("longer than 99 bytes"));
        assert!(read(&directory.join("nothing"), 9).unwrap_err().to_string().contains("Check the path"));
        let lock = Lock::take(&directory).unwrap();
        assert!(Lock::take(&directory).unwrap_err().to_string().contains("another process"));
        drop(lock);
        Lock::take(&directory).unwrap();
        assert_eq!(list(&directory).unwrap(), ["file", "lock"]);
        assert!(list(&directory.join("nothing")).unwrap().is_empty());
        remove(&directory).unwrap();
    }
}
