//! Finds the two shared libraries: NVRTC, which compiles kernels, and the driver, which runs them: NVIDIA's or the emulated
//! one.
//!
//! Both are opened by this module and stay open for the life of the process. cudarc opens the driver again by the name
//! `libcuda.so` or `libcuda.so.1`, and the loader then answers with the library that already bears that name. The emulated driver's
//! file is called `libdreamer_emulator.so` and bears the name `libcuda.so`: a file called `libcuda.so` in `target/` would
//! be taken for the real driver by every program that cargo starts, because cargo puts that folder on the loader's path.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cudarc::driver::sys;
use libloading::Library;

use crate::base::{Error, Result, files};

/// The emulated driver's file.
pub const EMULATOR: &str = "libdreamer_emulator.so";

/// What only the emulated driver exports.
const EMULATOR_MARK: &[u8] = b"dreamer_emulator_fault\0";

/// Names of NVRTC, preferred first.
const NVRTC_NAMES: [&str; 3] = ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"];

/// Where the wheel `nvidia-cuda-nvrtc-cu12` has its libraries.
const NVRTC_WHEEL: &str = "nvidia/cuda_nvrtc/lib";

/// The latest of the driver functions that this program calls, and the driver that first had it: CUDA 12.4. cudarc panics
/// where a function is missing, so it is looked for.
const LATEST: &str = "cuFuncGetParamInfo";
pub(super) const FIRST_DRIVER: u32 = 550;

/// Opens NVRTC and says where it was found.
///
/// Looks for, in this order: the file or folder that the environment variable `DREAMER_NVRTC` names (and nothing else, if
/// it is set); `nvrtc/` beside or above the program, which is where `make nvrtc` puts it (`target/nvrtc`); the loader's
/// path and
/// `/usr/local/cuda`; NVIDIA's wheels in the Python environment that is active, in `~/.local` and in the system's Python.
///
/// # Errors
/// None of them is there or can be opened; the sentence names all that was tried.
pub fn nvrtc() -> Result<(Library, PathBuf)> {
    if let Some(named) = std::env::var_os("DREAMER_NVRTC") {
        let named = PathBuf::from(named);
        let within =
            [named.join(NVRTC_NAMES[0]), named.join(NVRTC_NAMES[1]), named.join(NVRTC_WHEEL).join(NVRTC_NAMES[0])];
        let file = within.into_iter().find(|path| files::exists(path)).unwrap_or_else(|| named.clone());
        return match open(&file) {
            Ok(library) => Ok((library, file)),
            Err(cause) => Err(Error::new(format!(
                "DREAMER_NVRTC names {}, which cannot be opened as NVRTC: {cause}. \
                 Let it name libnvrtc.so.12 or the folder that holds it, or unset it.",
                named.display()
            ))),
        };
    }
    let mut tried = Vec::new();
    for path in nvrtc_candidates() {
        // A name without a folder is for the loader to find; that it did not is all there is to say.
        let for_loader = path.components().count() == 1;
        let cause = match open(&path) {
            Ok(library) => return Ok((library, path)),
            Err(cause) if !for_loader && files::exists(&path) => format!(" ({cause})"),
            Err(_) => String::new(),
        };
        tried.push(format!("{}{cause}", path.display()));
    }
    Err(Error::new(format!(
        "NVRTC, which compiles the CUDA kernels, was not found. Run `make nvrtc` in the checkout, or \
         `pip install nvidia-cuda-nvrtc-cu12` in the Python environment in use, \
         or let DREAMER_NVRTC name libnvrtc.so.12. Looked for: {}.",
        tried.join(", ")
    )))
}

fn nvrtc_candidates() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        program_folders().iter().map(|folder| folder.join("nvrtc").join(NVRTC_WHEEL).join(NVRTC_NAMES[0])).collect();
    paths.extend(NVRTC_NAMES.map(PathBuf::from));
    paths.extend(NVRTC_NAMES.map(|name| Path::new("/usr/local/cuda/lib64").join(name)));
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let roots = [
        variable("VIRTUAL_ENV"),
        variable("CONDA_PREFIX"),
        variable("HOME").map(|home| home.join(".local")),
        Some("/usr/local".into()),
        Some("/usr".into()),
    ];
    for lib in roots.into_iter().flatten().map(|root| root.join("lib")) {
        for python in files::list(&lib).unwrap_or_default().iter().filter(|name| name.starts_with("python3")) {
            for packages in ["site-packages", "dist-packages"].map(|name| lib.join(python).join(name)) {
                let wheels = [packages.join(NVRTC_WHEEL), packages.join("nvidia/cu13/lib")];
                let files = wheels.iter().zip(NVRTC_NAMES).map(|(wheel, name)| wheel.join(name));
                // There are many such folders, and only those that hold a wheel are worth a word in an error.
                paths.extend(files.filter(|file| files::exists(file)));
            }
        }
    }
    paths
}

/// The program's folder and the two above it: `target/release`, `target`, the checkout; or, for a test, `target/debug/deps`,
/// `target/debug`, `target`.
fn program_folders() -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().skip(1).take(3).map(Path::to_path_buf).filter(|folder| folder.parent().is_some()).collect()
}

/// The driver that this process uses, once one is open.
static DRIVER: Mutex<Option<bool>> = Mutex::new(None);

/// Opens NVIDIA's driver, or the emulated one. A process can use one of the two only.
///
/// NVIDIA's is found by the loader or in the folder where WSL has it. The emulated one is the file that the environment
/// variable `DREAMER_EMULATOR` names, or else [`EMULATOR`] beside the program, above it, or in the folder of another build
/// profile.
///
/// # Errors
/// The library is missing or lacks a function (too old a driver), or this process already uses the other driver.
pub fn driver(emulated: bool) -> Result<()> {
    let mut driver = DRIVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match *driver {
        Some(open) if open == emulated => return Ok(()),
        Some(_) => {
            return Err(Error::new(
                "this process already uses the other CUDA driver: \
                 run --device cuda and --device emulated in processes of their own.",
            ));
        }
        None => {}
    }
    let library = if emulated { emulator()? } else { real()? };
    // The library must outlive every handle that cudarc makes from it.
    std::mem::forget(library);
    // SAFETY: `is_culib_present` and `culib` open the library that was just opened again; its initialisers have run.
    let opened = unsafe { sys::is_culib_present().then(|| sys::culib()) }
        .ok_or_else(|| Error::new("the CUDA driver was opened, but cannot be opened under the name libcuda.so."))?;
    if has(opened, EMULATOR_MARK) != emulated {
        return Err(Error::new(if emulated {
            "the loader prefers another libcuda.so to the emulated driver: take its folder off LD_LIBRARY_PATH."
        } else {
            "the loader prefers an emulated libcuda.so to NVIDIA's: take its folder off LD_LIBRARY_PATH."
        }));
    }
    if !has(opened, LATEST.as_bytes()) {
        return Err(Error::new(format!(
            "the CUDA driver is too old: it lacks {LATEST}. Install NVIDIA's driver {FIRST_DRIVER} or later."
        )));
    }
    *driver = Some(emulated);
    Ok(())
}

fn has(library: &Library, symbol: &[u8]) -> bool {
    // SAFETY: the symbol is only looked up, never used.
    unsafe { library.get::<*const ()>(symbol) }.is_ok()
}

fn real() -> Result<Library> {
    let paths = ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "libcuda.so"];
    paths.iter().find_map(|path| open(Path::new(path)).ok()).ok_or_else(|| {
        Error::new(format!(
            "NVIDIA's driver was not found: no {}. \
             Install the driver of your GPU, or use --device cpu; --device emulated runs the kernels without a GPU.",
            paths.join(", no ")
        ))
    })
}

fn emulator() -> Result<Library> {
    if let Some(named) = std::env::var_os("DREAMER_EMULATOR") {
        return open(Path::new(&named)).map_err(|cause| {
            Error::new(format!(
                "DREAMER_EMULATOR names {}, which cannot be opened: {cause}. Let it name {EMULATOR}, or unset it.",
                Path::new(&named).display()
            ))
        });
    }
    let folders = program_folders();
    let mut paths: Vec<PathBuf> = folders.iter().take(2).map(|folder| folder.join(EMULATOR)).collect();
    for profile in ["release", "debug"] {
        paths.extend(folders.iter().skip(1).map(|folder| folder.join(profile).join(EMULATOR)));
    }
    let there = paths.iter().find(|path| files::exists(path)).ok_or_else(|| {
        let tried: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        Error::new(format!(
            "the emulated CUDA driver was not found. \
             Run `cargo build --release -p dreamer-fast-emulator` in the checkout, or let DREAMER_EMULATOR name {EMULATOR}. Looked for: {}.",
            tried.join(", ")
        ))
    })?;
    open(there).map_err(|cause| {
        Error::new(format!("cannot open the emulated CUDA driver {}: {cause}. Build it again.", there.display()))
    })
}

fn open(path: &Path) -> std::result::Result<Library, libloading::Error> {
    // SAFETY: these libraries are NVIDIA's or our own; what their initialisers do is what a CUDA program relies on.
    unsafe { Library::new(path) }
}
