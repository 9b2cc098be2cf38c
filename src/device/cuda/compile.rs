//! CUDA C to PTX or to machine code, by NVRTC, cached on disk.
//!
//! NVRTC is called by the functions of the very library that [`find::nvrtc`] opened, so that any of its versions will do
//! and `DREAMER_NVRTC` means what it says. A compiled image is kept under a hash of all that it depends on: source, name,
//! options, architecture, format and NVRTC's version. A cached file carries a checksum; one that is damaged is compiled
//! again.

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};

use libloading::Library;

use super::find;
use crate::base::{Error, Result, files};

/// What NVRTC is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text for a virtual architecture: what the emulated driver reads.
    Ptx,
    /// Machine code for one architecture.
    Cubin,
}

/// For what a kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Compute capability: 80 for sm_80 (compute_80 for PTX), 90 for sm_90.
    pub sm: u32,
    /// PTX or machine code.
    pub format: Format,
}

/// Compiled kernels.
#[derive(Clone, Debug)]
pub struct Image {
    /// Name of the source, for messages.
    pub name: String,
    /// PTX text without a final zero, or machine code.
    pub bytes: Vec<u8>,
    /// Which of the two.
    pub format: Format,
    /// What NVRTC said: warnings, and with `--ptxas-options=-v` registers and spills. With the source's real files and
    /// lines.
    pub log: String,
    /// Whether it came from the cache.
    pub cached: bool,
}

/// NVRTC and a cache.
pub struct Compiler {
    nvrtc: Nvrtc,
    cache: Option<PathBuf>,
}

impl Compiler {
    /// Finds NVRTC. The cache is `dreamer-fast/kernels` in the user's cache folder (`XDG_CACHE_HOME`, or else `~/.cache`);
    /// without one every image is compiled anew.
    ///
    /// # Errors
    /// NVRTC is not there: see [`find::nvrtc`].
    pub fn find() -> Result<Self> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
        Ok(Compiler { nvrtc: Nvrtc::find()?, cache: caches.map(|folder| folder.join("dreamer-fast/kernels")) })
    }

    /// The same with another cache, or none.
    pub fn with_cache(self, cache: Option<PathBuf>) -> Self {
        Compiler { cache, ..self }
    }

    /// NVRTC's version and file.
    pub fn version(&self) -> String {
        let (major, minor) = self.nvrtc.version;
        format!("NVRTC {major}.{minor} ({})", self.nvrtc.path.display())
    }

    /// Compiles a source. `name` stands in NVRTC's messages for lines that no `#line` assigns to another file. `options`
    /// are added to the architecture, to C++17 and to line information. A source that includes nothing needs nothing else.
    ///
    /// # Errors
    /// NVRTC refuses the source (the error has its log), or does not know the architecture. That the cache cannot be
    /// written is no error.
    pub fn compile(&self, name: &str, source: &str, target: Target, options: &[&str]) -> Result<Image> {
        if !self.nvrtc.architectures.contains(&target.sm) {
            let (major, minor) = self.nvrtc.version;
            return Err(Error::new(format!(
                "NVRTC {major}.{minor} cannot compile for sm_{}, only for {:?}: \
                 install another version and let DREAMER_NVRTC name it.",
                target.sm, self.nvrtc.architectures
            )));
        }
        let kind = if target.format == Format::Ptx { "compute" } else { "sm" };
        let mut all = vec![
            format!("--gpu-architecture={kind}_{}", target.sm),
            "--std=c++17".into(),
            "--generate-line-info".into(),
        ];
        all.extend(options.iter().map(|option| option.to_string()));
        let entry =
            self.cache.as_deref().map(|folder| Entry::new(folder, name, source, target, &all, self.nvrtc.version));
        if let Some((log, bytes)) = entry.as_ref().and_then(Entry::read) {
            return Ok(Image { name: name.into(), bytes, format: target.format, log, cached: true });
        }
        let (log, bytes) = self.nvrtc.compile(name, source, target, &all)?;
        if let Some(entry) = entry {
            // Without a cache the next start takes longer, and that is all.
            let _ = entry.write(&log, &bytes);
        }
        Ok(Image { name: name.into(), bytes, format: target.format, log, cached: false })
    }
}

/// A file of the cache: 4 bytes of checksum over the rest, 4 bytes of the log's length, the log, the image.
struct Entry {
    path: PathBuf,
}

/// More than any image has, in bytes.
const LARGEST: u64 = 1 << 28;

impl Entry {
    fn new(folder: &Path, name: &str, source: &str, target: Target, options: &[String], version: (i32, i32)) -> Self {
        // The length in front of each part keeps ("ab", "c") and ("a", "bc") apart.
        let version = format!("{version:?} {target:?}");
        let parts = [name, source, version.as_str()].into_iter().chain(options.iter().map(String::as_str));
        let hash = parts.fold(FNV_BASIS, |hash, part| fnv(fnv(hash, &part.len().to_le_bytes()), part.as_bytes()));
        let end = if target.format == Format::Ptx { "ptx" } else { "cubin" };
        Entry { path: folder.join(format!("{hash:032x}.{end}")) }
    }

    fn read(&self) -> Option<(String, Vec<u8>)> {
        let bytes = files::exists(&self.path).then(|| files::read(&self.path, LARGEST).ok()).flatten()?;
        let (checksum, rest) = bytes.split_first_chunk::<4>()?;
        let (length, body) = rest.split_first_chunk::<4>()?;
        let (log, image) = body.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let intact = files::crc32(rest) == u32::from_le_bytes(*checksum);
        intact.then(|| Some((String::from_utf8(log.to_vec()).ok()?, image.to_vec()))).flatten()
    }

    fn write(&self, log: &str, image: &[u8]) -> Result<()> {
        let mut rest = (log.len() as u32).to_le_bytes().to_vec();
        rest.extend(log.as_bytes());
        rest.extend(image);
        let mut bytes = files::crc32(&rest).to_le_bytes().to_vec();
        bytes.append(&mut rest);
        files::create_directory(self.path.parent().unwrap_or(Path::new(".")))?;
        files::write_lazily(&self.path, &bytes)
    }
}

const FNV_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// FNV-1a in 128 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv(hash: u128, bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(hash, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b))
}

/// NVRTC's functions: <https://docs.nvidia.com/cuda/nvrtc/index.html>. All but `error_string` return 0 when they succeed.
struct Nvrtc {
    path: PathBuf,
    version: (i32, i32),
    /// Compute capabilities that it compiles for.
    architectures: Vec<u32>,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    create: Create,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log: Output,
    ptx: Output,
    cubin: Output,
}

type Program = *mut std::ffi::c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;

/// Two functions: the size of an output, and the output itself.
#[derive(Clone, Copy)]
struct Output {
    size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    get: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
}

impl Nvrtc {
    fn find() -> Result<Self> {
        let (library, path) = find::nvrtc()?;
        // SAFETY: the types are those of nvrtc.h; the functions are called only while the library is open.
        let loaded = unsafe { Self::load(library, path.clone()) };
        loaded.map_err(|cause| {
            Error::new(format!(
                "{} is no NVRTC that this program can use: {cause}. Use NVRTC 12 or later.",
                path.display()
            ))
        })
    }

    /// # Safety
    /// The library must be NVRTC.
    unsafe fn load(library: Library, path: PathBuf) -> std::result::Result<Self, String> {
        /// # Safety
        /// `F` must be the type of the function.
        unsafe fn function<F: Copy>(library: &Library, name: &str) -> std::result::Result<F, String> {
            // SAFETY: as the caller promised.
            unsafe { library.get::<F>(format!("{name}\0").as_bytes()) }.map(|f| *f).map_err(|e| e.to_string())
        }
        // SAFETY: the types are those of nvrtc.h, and the pointers lead to as many values as the functions write.
        unsafe {
            let output = |name: &str| {
                let size = function(&library, &format!("nvrtcGet{name}Size"))?;
                Ok::<_, String>(Output { size, get: function(&library, &format!("nvrtcGet{name}"))? })
            };
            let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int = function(&library, "nvrtcVersion")?;
            let count: unsafe extern "C" fn(*mut c_int) -> c_int = function(&library, "nvrtcGetNumSupportedArchs")?;
            let list: unsafe extern "C" fn(*mut c_int) -> c_int = function(&library, "nvrtcGetSupportedArchs")?;
            let (mut major, mut minor, mut archs) = (0, 0, 0);
            let failed = version(&mut major, &mut minor) != 0 || count(&mut archs) != 0;
            let mut architectures = vec![0; archs.max(0) as usize];
            if failed || list(architectures.as_mut_ptr()) != 0 {
                return Err("it does not tell its version and architectures".into());
            }
            let loaded = Nvrtc {
                path,
                version: (major, minor),
                architectures: architectures.into_iter().map(|arch| arch as u32).collect(),
                error_string: function(&library, "nvrtcGetErrorString")?,
                create: function(&library, "nvrtcCreateProgram")?,
                compile: function(&library, "nvrtcCompileProgram")?,
                destroy: function(&library, "nvrtcDestroyProgram")?,
                log: output("ProgramLog")?,
                ptx: output("PTX")?,
                cubin: output("CUBIN")?,
            };
            // The functions must stay, and NVRTC is not made to be closed.
            std::mem::forget(library);
            Ok(loaded)
        }
    }

    /// The log and the image.
    fn compile(&self, name: &str, source: &str, target: Target, options: &[String]) -> Result<(String, Vec<u8>)> {
        let terminated = |text: &str| {
            CString::new(text)
                .map_err(|_| Error::new(format!("cannot compile {name}: there is a zero byte in it or in an option.")))
        };
        let (source, c_name) = (terminated(source)?, terminated(name)?);
        let options: Vec<CString> = options.iter().map(|option| terminated(option)).collect::<Result<_>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let failed = |code: c_int, log: &str| {
            // SAFETY: NVRTC returns a constant string for every code.
            let cause = unsafe { CStr::from_ptr((self.error_string)(code)) }.to_string_lossy();
            Error::new(format!("cannot compile {name} for sm_{}: {cause}\n{log}", target.sm))
        };
        let mut program = std::ptr::null_mut();
        // SAFETY: the strings outlive the program, which is destroyed below; there are no headers.
        let code = unsafe {
            (self.create)(&mut program, source.as_ptr(), c_name.as_ptr(), 0, std::ptr::null(), std::ptr::null())
        };
        if code != 0 {
            return Err(failed(code, ""));
        }
        // SAFETY: the program is alive and there are as many options as said.
        let code = unsafe { (self.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
        let compiled = self.output(program, self.log).and_then(|log| {
            let log = String::from_utf8_lossy(until_zero(&log)).trim_end().to_string();
            if code != 0 {
                return Err(failed(code, &log));
            }
            let image = match target.format {
                Format::Ptx => self.output(program, self.ptx).map(|ptx| relative(until_zero(&ptx))),
                Format::Cubin => self.output(program, self.cubin),
            };
            Ok((log, image?))
        });
        // SAFETY: destroyed once, and not used after.
        unsafe { (self.destroy)(&mut program) };
        compiled
    }

    fn output(&self, program: Program, output: Output) -> Result<Vec<u8>> {
        let mut size = 0;
        // SAFETY: the program is alive, and the buffer is as long as NVRTC wants it.
        let (code, bytes) = unsafe {
            let code = (output.size)(program, &mut size);
            let mut bytes = vec![0_u8; size];
            (if code == 0 { (output.get)(program, bytes.as_mut_ptr().cast()) } else { code }, bytes)
        };
        if code == 0 {
            Ok(bytes)
        } else {
            Err(Error::new(format!("NVRTC compiled, but does not hand out the result (code {code}).")))
        }
    }
}

/// PTX that names files as the source does: NVRTC puts the working directory, which has nothing to do with them, in front.
fn relative(ptx: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(ptx);
    let prefix = std::env::current_dir().map(|folder| format!("\"{}/", folder.display())).unwrap_or_default();
    let line = |line: &str| match line.trim_start().starts_with(".file") && !prefix.is_empty() {
        true => line.replacen(&prefix, "\"", 1),
        false => line.to_string(),
    };
    text.split_inclusive('\n').map(line).collect::<String>().into_bytes()
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever an image depends on has an entry of its own; where one part ends and the next begins counts, too.
    #[test]
    fn an_entry_is_of_all_that_an_image_depends_on() {
        let ptx = Target { sm: 90, format: Format::Ptx };
        let place = |name, source, target, options: &[&str], version| {
            let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
            Entry::new(Path::new("cache"), name, source, target, &options, version).path
        };
        let first = || place("a.cu", "b", ptx, &["-c", "-d"], (12, 9));
        let others = [
            place("a.c", "ub", ptx, &["-c", "-d"], (12, 9)),
            place("a.cu", "c", ptx, &["-c", "-d"], (12, 9)),
            place("a.cu", "b", Target { sm: 80, ..ptx }, &["-c", "-d"], (12, 9)),
            place("a.cu", "b", Target { format: Format::Cubin, ..ptx }, &["-c", "-d"], (12, 9)),
            place("a.cu", "b", ptx, &["-c"], (12, 9)),
            place("a.cu", "b", ptx, &["-c-d"], (12, 9)),
            place("a.cu", "b", ptx, &["-d", "-c"], (12, 9)),
            place("a.cu", "b", ptx, &["-c", "-d"], (12, 8)),
            place("a.cu", "b", ptx, &["-c", "-d"], (13, 9)),
        ];
        assert_eq!(first(), first());
        for (i, other) in others.iter().enumerate() {
            assert!(*other != first() && !others[..i].contains(other), "{i}: {}", other.display());
        }
    }
}
