//! Reads `kernels/*.cu` and writes `kernels.rs` into OUT_DIR, which `src/device/cuda/kernels.rs` includes: the sources, and for every
//! kernel a struct with its parameters, so that a launch which does not fit its kernel does not compile.
//!
//! A line `#include "other.cu"` is replaced by that file, so that a kernel can use the bodies of others; NVRTC is given one text.
//!
//! A kernel is declared as `extern "C" __global__ void __launch_bounds__(threads) name(parameters)`. Its parameters become fields:
//!
//! | CUDA C | Rust |
//! |---|---|
//! | `const T *x`, `T *x` | `In<T>`, `Out<T>` for T of `float`, `double`, `unsigned`, `unsigned char`, `unsigned long long` |
//! | `int n` | `usize`, a size or a count; a launch checks that it fits |
//! | `unsigned x`, `float x` | `u32`, `f32` |

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, process};

/// What stands in front of every source, in this order.
const HEADERS: &[&str] = &["prelude.cuh", "stage.cuh", "mma.cuh", "tile.cuh"];

fn main() {
    println!("cargo::rerun-if-changed=kernels");
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("kernels");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("kernels.rs");
    if let Err(message) = generate(&folder).and_then(|code| fs::write(out, code).map_err(|e| e.to_string())) {
        println!("cargo::error={message}");
        process::exit(1);
    }
}

/// The text of `kernels.rs`.
fn generate(folder: &Path) -> Result<String, String> {
    let unreadable = |e: std::io::Error| format!("kernels: {e}");
    let mut files: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".cu") {
            files.push(name);
        }
    }
    files.sort();
    let mut sources = String::new();
    let mut names = String::new();
    let mut structs = String::new();
    let mut kernels: Vec<Kernel> = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let text = fs::read_to_string(folder.join(file)).map_err(|e| format!("kernels/{file}: {e}"))?;
        let headers = HEADERS.iter().map(|&name| whole(folder, name));
        let whole = headers.chain([whole(folder, file)]).collect::<Result<String, String>>()?;
        let product = without_comments(&text).contains("Tile<");
        writeln!(sources, "    Source {{ name: \"kernels/{file}\", text: {whole:?}, product: {product} }},")
            .expect("a string takes all");
        for kernel in parse(&text).map_err(|(line, cause)| format!("kernels/{file}:{line}: {cause}"))? {
            if kernels.iter().any(|other| other.name == kernel.name) {
                return Err(format!("kernels/{file}:{}: there are two kernels named {}", kernel.line, kernel.name));
            }
            writeln!(names, "    ({number}, \"{}\"),", kernel.name).expect("a string takes all");
            structs += &kernel.rust(file, kernels.len());
            kernels.push(kernel);
        }
    }
    Ok(format!(
        "/// Every source, with the prelude in front.\npub const SOURCES: &[Source] = &[\n{sources}];\n\n\
         /// Every kernel: its source and its name.\npub const NAMES: &[(usize, &str)] = &[\n{names}];\n{structs}"
    ))
}

/// The text of a file with those that it includes, each behind a mark with its name and line.
fn whole(folder: &Path, file: &str) -> Result<String, String> {
    let text = fs::read_to_string(folder.join(file)).map_err(|e| format!("kernels/{file}: {e}"))?;
    let mut out = format!("\n#line 1 \"kernels/{file}\"\n");
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"')) {
            Some(other) => {
                out += &whole(folder, other)?;
                writeln!(out, "#line {} \"kernels/{file}\"", number + 2).expect("a string takes all");
            }
            None => writeln!(out, "{line}").expect("a string takes all"),
        }
    }
    Ok(out)
}

/// A kernel's declaration.
struct Kernel {
    name: String,
    line: usize,
    threads: u32,
    parameters: Vec<Parameter>,
}

struct Parameter {
    name: String,
    /// As the source has it.
    declared: String,
    field: &'static str,
    /// What turns the field into an argument.
    argument: &'static str,
}

impl Kernel {
    fn rust(&self, file: &str, number: usize) -> String {
        let Kernel { name, line, threads, parameters } = self;
        let camel: String = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        let mut out = format!(
            "\n/// `{name}`, `kernels/{file}` line {line}.\n#[derive(Clone, Copy, Debug)]\npub struct {camel} {{\n"
        );
        for Parameter { name, declared, field, .. } in parameters {
            writeln!(out, "    /// `{declared}`\n    pub {name}: {field},").expect("a string takes all");
        }
        let arguments: Vec<String> = parameters.iter().map(|p| p.argument.replace('$', &p.name)).collect();
        writeln!(
            out,
            "}}\n\nimpl Entry for {camel} {{\n    const NUMBER: usize = {number};\n    const THREADS: u32 = {threads};\n    \
             fn args(&self) -> Result<Vec<Arg>> {{\n        Ok(vec![{}])\n    }}\n}}",
            arguments.join(", ")
        )
        .expect("a string takes all");
        out
    }
}

type Fault = (usize, String);

/// All kernels of a source. An error has the line.
fn parse(text: &str) -> Result<Vec<Kernel>, Fault> {
    let code = without_comments(text);
    let mut kernels = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("__global__") {
        let at = from + found;
        let line = 1 + code[..at].matches('\n').count();
        let fail = |cause: &str| Err((line, cause.to_string()));
        if !code[..at].trim_end().ends_with("extern \"C\"") {
            return fail("a kernel needs extern \"C\" in front of __global__, or its name is mangled");
        }
        let rest = &code[at + "__global__".len()..];
        let Some(rest) = rest.trim_start().strip_prefix("void").map(str::trim_start) else {
            return fail("__global__ is followed by void");
        };
        let Some((bounds, rest)) = rest.strip_prefix("__launch_bounds__(").and_then(|rest| rest.split_once(')')) else {
            return fail("a kernel states its threads: void __launch_bounds__(256) name(...)");
        };
        let Ok(threads) = bounds.trim().parse() else {
            return fail("the threads of __launch_bounds__ are one number");
        };
        let Some((name, rest)) = rest.split_once('(') else { return fail("a kernel has a name and parameters") };
        let Some((list, _)) = rest.split_once(')') else { return fail("the list of parameters does not end") };
        let name = name.trim().to_string();
        if !is_name(&name) {
            return fail(&format!("`{name}` is no name of a kernel"));
        }
        let mut parameters: Vec<Parameter> = Vec::new();
        let first = code.len() - rest.len();
        let mut place = first;
        for declared in list.split(',') {
            let lead = declared.len() - declared.trim_start().len();
            let here = 1 + code[..place + lead].matches('\n').count();
            place += declared.len() + 1;
            let parameter = parameter(declared).map_err(|cause| (here, format!("{name}: {cause}")))?;
            if parameters.iter().any(|other| other.name == parameter.name) {
                return Err((here, format!("{name}: there are two parameters named {}", parameter.name)));
            }
            parameters.push(parameter);
        }
        from = first + list.len();
        kernels.push(Kernel { name, line, threads, parameters });
    }
    Ok(kernels)
}

fn parameter(declared: &str) -> Result<Parameter, String> {
    let spaced = declared.replace('*', " * ");
    let mut words: Vec<&str> = spaced.split_whitespace().filter(|&word| word != "__restrict__").collect();
    let declared = declared.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = words.pop().filter(|name| is_name(name)).ok_or(format!("`{declared}` is no parameter"))?.to_string();
    let pointer = "Arg::Ptr(self.$.address())";
    let (field, argument) = match words.join(" ").as_str() {
        "const float *" => ("In<f32>", pointer),
        "const double *" => ("In<f64>", pointer),
        "const unsigned char *" => ("In<u8>", pointer),
        "const unsigned *" => ("In<u32>", pointer),
        "const unsigned long long *" => ("In<u64>", pointer),
        "float *" => ("Out<f32>", pointer),
        "double *" => ("Out<f64>", pointer),
        "unsigned *" => ("Out<u32>", pointer),
        "int" => ("usize", "size(\"$\", self.$)?"),
        "unsigned" => ("u32", "Arg::U32(self.$)"),
        "float" => ("f32", "Arg::F32(self.$)"),
        other => return Err(format!("`{other}` of `{declared}` is no type that build.rs knows: see its table")),
    };
    Ok(Parameter { name, declared, field, argument })
}

fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(word) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

/// The text with spaces for comments; lines stay where they are.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        let end = if rest[at..].starts_with("//") {
            rest[at..].find('\n').map_or(rest.len(), |n| at + n)
        } else {
            rest[at..].find("*/").map_or(rest.len(), |n| at + n + 2)
        };
        out += &rest[..at];
        out.extend(rest[at..end].chars().filter(|&c| c == '\n'));
        rest = &rest[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "// __global__ in a comment\n\nextern \"C\" __global__ void __launch_bounds__(256)\ntwice(float *y, \
                         const float *__restrict__ x, /* many */ int n) { }\n";

    #[test]
    fn a_declaration_becomes_a_struct() {
        let kernels = parse(SOUND).unwrap();
        assert_eq!(kernels.len(), 1);
        assert_eq!((kernels[0].name.as_str(), kernels[0].line, kernels[0].threads), ("twice", 3, 256));
        let rust = kernels[0].rust("twice.cu", 7);
        for part in ["pub struct Twice {", "pub y: Out<f32>,", "pub x: In<f32>,", "pub n: usize,", "NUMBER: usize = 7;"]
        {
            assert!(rust.contains(part), "{part}: {rust}");
        }
        let order = "vec![Arg::Ptr(self.y.address()), Arg::Ptr(self.x.address()), size(\"n\", self.n)?]";
        assert!(rust.contains(order), "{rust}");
    }

    #[test]
    fn a_declaration_that_is_not_understood_is_named_with_its_line() {
        for (from, to, line, words) in [
            ("extern \"C\" ", "", 3, "needs extern"),
            ("__launch_bounds__(256)", "", 3, "states its threads"),
            ("(256)", "(N)", 3, "are one number"),
            ("int n", "short n", 4, "`short` of `short n` is no type"),
            ("int n", "int x", 4, "two parameters named x"),
            ("int n", "int", 4, "`` of `int` is no type"),
            ("twice", "Twice", 3, "`Twice` is no name"),
        ] {
            assert!(SOUND.contains(from), "{from}");
            let fault = parse(&SOUND.replacen(from, to, 1)).err().unwrap_or_else(|| panic!("{to} is understood"));
            assert!(fault.0 == line && fault.1.contains(words), "{fault:?}");
        }
    }
}
