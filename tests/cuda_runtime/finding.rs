//! Is what is missing said in a sentence? Libraries are opened once a process, so each question is put to a child.

use std::path::Path;
use std::process::Command;

use dreamer_fast::device::cuda::{Compiler, Context, Device};

use crate::rig::{compiler, driver, target};

/// Names what the child is to do, in its environment.
const TASK: &str = "DREAMER_TEST_TASK";

/// Not a test by itself: what a child does. Prints `answer: ` and what came of it.
#[test]
fn child() {
    let said = match std::env::var(TASK).as_deref() {
        Ok("nvrtc") => Compiler::find().map(|compiler| compiler.version()),
        Ok("gpu") => Context::new(Device::Gpu(0)).map(|context| context.info().to_string()),
        Ok("emulated") => Context::new(Device::Emulated).map(|context| context.info().to_string()),
        Ok("both") => Context::new(Device::Emulated).and(Context::new(Device::Gpu(0))).map(|_| "both".to_string()),
        _ => return,
    };
    println!("answer: {}", said.unwrap_or_else(|error| format!("error: {error}")));
}

/// What a child answers that is given a task and some variables.
fn ask(task: &str, variables: &[(&str, &str)]) -> String {
    ask_program(&std::env::current_exe().unwrap(), task, variables)
}

fn ask_program(program: &Path, task: &str, variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(program);
    child.args(["--exact", "finding::child", "--nocapture"]).env(TASK, task).envs(variables.iter().copied());
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let from = said.find("answer: ").unwrap_or_else(|| panic!("no answer: {said}"));
    said[from + "answer: ".len()..].lines().next().unwrap().to_string()
}

#[test]
fn a_missing_nvrtc_is_said() {
    let wrong = ask("nvrtc", &[("DREAMER_NVRTC", "/no/such/libnvrtc.so.12")]);
    assert!(wrong.starts_with("error: DREAMER_NVRTC names /no/such/libnvrtc.so.12"), "{wrong}");
    // Something that can be opened, but is no library; and a library that is no NVRTC.
    let no_library = ask("nvrtc", &[("DREAMER_NVRTC", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))]);
    assert!(no_library.starts_with("error: DREAMER_NVRTC names"), "{no_library}");
    let other = ask("nvrtc", &[("DREAMER_NVRTC", "libm.so.6")]);
    assert!(other.contains("libm.so.6 is no NVRTC"), "{other}");
}

#[test]
fn nvrtc_is_found_by_file_and_by_folder() {
    if compiler().is_none() {
        return;
    }
    let folder = target().join("nvrtc/nvidia/cuda_nvrtc/lib");
    let file = folder.join("libnvrtc.so.12");
    if !file.exists() {
        println!("skipped finding NVRTC by its folder: it is not in target/nvrtc");
        return;
    }
    for path in [&file, &folder, &target().join("nvrtc")] {
        let found = ask("nvrtc", &[("DREAMER_NVRTC", path.to_str().unwrap())]);
        assert!(found.starts_with("NVRTC 12.") && found.contains(file.to_str().unwrap()), "{found}");
    }
}

#[test]
fn a_missing_driver_is_said() {
    let emulated = ask("emulated", &[("DREAMER_EMULATOR", "/no/such/emulator.so")]);
    assert!(emulated.starts_with("error: DREAMER_EMULATOR names /no/such/emulator.so"), "{emulated}");
    // Where there is a GPU, this is its name; where there is none, a sentence, and never the emulated driver.
    let gpu = ask("gpu", &[]);
    let sentence = gpu.starts_with("error: NVIDIA's driver was not found")
        || gpu.starts_with("error: cannot use the device cuda:0");
    assert!(sentence || !gpu.starts_with("error"), "{gpu}");
    assert!(!gpu.contains("emulated sm"), "{gpu}");
}

/// A program that is not in its checkout.
#[test]
fn what_is_looked_for_is_said() {
    // What lies in the folder above is found, too; so there is one that holds nothing else.
    let above = std::env::temp_dir().join(format!("dreamer-fast-finding-{}", std::process::id()));
    let folder = above.join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    // Cargo's folders, where the emulated driver is, are on the loader's path of a test.
    let [nvrtc, emulated] = ["nvrtc", "emulated"].map(|task| {
        ask_program(&program, task, &[("LD_LIBRARY_PATH", ""), ("VIRTUAL_ENV", "/no/such"), ("HOME", "/no/such")])
    });
    std::fs::remove_dir_all(&above).unwrap();
    let beside = folder.join("libdreamer_emulator.so");
    assert!(emulated.starts_with("error: the emulated CUDA driver was not found. Run `cargo build"), "{emulated}");
    assert!(emulated.contains(beside.to_str().unwrap()), "{emulated}");
    // A machine may have NVRTC for all its programs, or be told where it is.
    let found = nvrtc.starts_with("NVRTC 1") || nvrtc.starts_with("error: DREAMER_NVRTC");
    let beside = folder.join("nvrtc/nvidia/cuda_nvrtc/lib/libnvrtc.so.12");
    let said = nvrtc.starts_with("error: NVRTC, which compiles the CUDA kernels, was not found. Run `make nvrtc`");
    assert!(found || (said && nvrtc.contains(beside.to_str().unwrap())), "{nvrtc}");
}

#[test]
fn the_emulated_device_is_what_the_environment_asks_for() {
    if crate::Rig::new().is_none() {
        return;
    }
    assert_eq!(ask("emulated", &[]), "emulated sm_90, sm_90, 132 multiprocessors, 8.0 GiB");
    let small = [("DREAMER_EMULATED_SM", "80"), ("DREAMER_EMULATED_MEMORY", "1073741824")];
    assert_eq!(ask("emulated", &small), "emulated sm_80, sm_80, 108 multiprocessors, 1.0 GiB");
    let wrong = ask("emulated", &[("DREAMER_EMULATED_SM", "70")]);
    assert!(wrong.contains("DREAMER_EMULATED_SM is 70"), "{wrong}");
    let both = ask("both", &[]);
    assert!(both.contains("already uses the other CUDA driver"), "{both}");
}

#[test]
fn a_device_that_is_too_old_is_said() {
    if crate::Rig::new().is_none() {
        return;
    }
    let old = ask("emulated", &[("DREAMER_EMULATED_SM", "75")]);
    let device = "error: emulated is emulated sm_75, sm_75, 40 multiprocessors, 8.0 GiB: ";
    let rest = old.strip_prefix(device).unwrap_or_else(|| panic!("{old}"));
    assert_eq!(rest, "the kernels need sm_80 (Ampere) or later. Choose another device or --device cpu.");
}

/// A driver without the latest function that the program calls: the emulated one, with another name for it.
#[test]
fn a_driver_that_is_too_old_is_said() {
    if crate::Rig::new().is_none() {
        return;
    }
    let mut library = std::fs::read(driver().unwrap()).unwrap();
    let (name, other) = (b"\0cuFuncGetParamInfo\0", b"\0cuFuncGetParamNone\0");
    let places: Vec<usize> = (0..library.len() - name.len()).filter(|&at| library[at..].starts_with(name)).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|&at| library[at..at + other.len()].copy_from_slice(other));
    let old = std::env::temp_dir().join(format!("dreamer-fast-old-driver-{}.so", std::process::id()));
    std::fs::write(&old, library).unwrap();
    let said = ask("emulated", &[("DREAMER_EMULATOR", old.to_str().unwrap())]);
    std::fs::remove_file(&old).unwrap();
    assert_eq!(
        said,
        "error: the CUDA driver is too old: it lacks cuFuncGetParamInfo. Install NVIDIA's driver 550 or later."
    );
}

#[test]
fn a_device_is_spelled_in_three_ways() {
    assert_eq!("cuda".parse::<Device>().unwrap(), Device::Gpu(0));
    assert_eq!("cuda:3".parse::<Device>().unwrap(), Device::Gpu(3));
    assert_eq!("emulated".parse::<Device>().unwrap(), Device::Emulated);
    for wrong in ["cuda:", "cuda:x", "cuda3", "emulated:1", "gpu", ""] {
        assert!(wrong.parse::<Device>().unwrap_err().to_string().contains("cuda:N"), "{wrong}");
    }
}
