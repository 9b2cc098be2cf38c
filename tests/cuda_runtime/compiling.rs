//! Is a kernel compiled for what it was asked for, are messages about it where they belong, and is the cache to be trusted?

use std::fs;
use std::path::PathBuf;

use dreamer_fast::device::cuda::{Compiler, Format, Target};

use crate::Rig;
use crate::rig::compiler;

const SOURCE: &str = r#"extern "C" __global__ void twice(float *x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] *= 2.0f;
}"#;

const PTX_90: Target = Target { sm: 90, format: Format::Ptx };

#[test]
fn a_kernel_is_compiled_to_ptx_and_to_machine_code() {
    let Some(compiler) = compiler() else { return };
    for sm in [80, 90] {
        let ptx = compiler.compile("twice.cu", SOURCE, Target { sm, format: Format::Ptx }, &[]).unwrap();
        let text = String::from_utf8(ptx.bytes).unwrap();
        assert!(text.contains(&format!(".target sm_{sm}")) && text.contains(".entry twice"), "{text}");
        assert!(text.contains(".loc") && !text.contains('\0'), "{text}");
        assert_eq!(ptx.log, "");
        let options = ["--ptxas-options=-v"];
        let cubin = compiler.compile("twice.cu", SOURCE, Target { sm, format: Format::Cubin }, &options).unwrap();
        assert!(cubin.bytes.starts_with(b"\x7fELF"));
        assert!(cubin.log.contains("registers") && cubin.log.contains("0 bytes spill stores"), "{}", cubin.log);
    }
    let error = compiler.compile("twice.cu", SOURCE, Target { sm: 13, format: Format::Ptx }, &[]).unwrap_err();
    assert!(
        error.to_string().contains("cannot compile for sm_13, only for [") && error.to_string().contains("90"),
        "{error}"
    );
}

#[test]
fn a_mistake_is_reported_where_it_is() {
    let Some(compiler) = compiler() else { return };
    let source = "#line 41 \"kernels/some_op.cu\"\n\nextern \"C\" __global__ void k(float *x) { x[0] = y; }\n";
    let error = compiler.compile("generated.cu", source, PTX_90, &[]).unwrap_err().to_string();
    assert!(error.contains("cannot compile generated.cu for sm_90"), "{error}");
    assert!(error.contains("kernels/some_op.cu(42): error: identifier \"y\" is undefined"), "{error}");
    let zero = compiler.compile("zero.cu", "\0", PTX_90, &[]).unwrap_err().to_string();
    assert!(zero.contains("zero byte"), "{zero}");
}

/// A folder of its own, and the files in it.
struct Cache(PathBuf);

impl Cache {
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
        entries.unwrap_or_default()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_cache_gives_back_the_same_and_nothing_else() {
    if compiler().is_none() {
        return;
    }
    let cache = Cache(std::env::temp_dir().join(format!("dreamer-fast-kernels-{}", std::process::id())));
    let compiler = Compiler::find().unwrap().with_cache(Some(cache.0.clone()));
    let compile = |source: &str, sm, format, options: &[&str]| {
        compiler.compile("twice.cu", source, Target { sm, format }, options).unwrap()
    };
    let warned = SOURCE.replace("int i =", "int unused; int i =");
    let first = compile(&warned, 90, Format::Ptx, &[]);
    let again = compile(&warned, 90, Format::Ptx, &[]);
    assert!(!first.cached && again.cached);
    assert!(first.log.contains("unused"), "{}", first.log);
    assert_eq!((first.bytes, first.log), (again.bytes, again.log));
    assert_eq!(cache.files().len(), 1);

    // Whatever the result depends on makes another entry.
    assert!(!compile(SOURCE, 90, Format::Ptx, &[]).cached);
    assert!(!compile(&warned, 80, Format::Ptx, &[]).cached);
    assert!(!compile(&warned, 90, Format::Cubin, &[]).cached);
    assert!(!compile(&warned, 90, Format::Ptx, &["--use_fast_math"]).cached);
    assert!(!compile(&warned, 90, Format::Ptx, &["-DA=1", "-DB"]).cached);
    assert!(!compile(&warned, 90, Format::Ptx, &["-DA=1-DB"]).cached);
    assert_eq!(cache.files().len(), 7);
    assert!(compile(&warned, 90, Format::Ptx, &[]).cached);

    // Damage is noticed, and repaired.
    for file in cache.files() {
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    assert!(!compile(&warned, 90, Format::Ptx, &[]).cached);
    assert!(compile(&warned, 90, Format::Ptx, &[]).cached);

    // A cache that cannot be written is no error.
    let nowhere = Compiler::find().unwrap().with_cache(Some("/proc/no-such".into()));
    assert!(!nowhere.compile("twice.cu", SOURCE, PTX_90, &[]).unwrap().cached);
}

#[test]
fn the_emulated_driver_refuses_what_it_cannot_run() {
    let Some(rig) = Rig::new() else { return };
    let load = |sm, format| {
        let image = rig.compiler.compile("twice.cu", SOURCE, Target { sm, format }, &[]).unwrap();
        rig.context.load(&image)
    };
    let machine_code = load(90, Format::Cubin).unwrap_err().to_string();
    assert!(machine_code.contains("cannot load the kernels of twice.cu on emulated sm_90"), "{machine_code}");
    assert!(machine_code.contains("runs PTX, not machine code"), "{machine_code}");
    let too_new = load(100, Format::Ptx).unwrap_err().to_string();
    assert!(too_new.contains("the module is for sm_100, the emulated device is sm_90"), "{too_new}");
    let missing = load(80, Format::Ptx).unwrap().kernel("thrice").unwrap_err().to_string();
    assert!(missing.contains("no kernel thrice"), "{missing}");
}
