//! Does it agree with others? Whole training steps that a PyTorch and a JAX implementation, written apart, agree on
//! (`tests/golden/README.md`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dreamer_fast::device::Pool;
use dreamer_fast::run::args::Precision;
use dreamer_fast::run::parity::{Golden, Row, compare};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Compares a file and prints the worst error of each kind.
fn rows(name: &str, precision: Precision) -> Vec<Row> {
    let pool = Arc::new(Pool::new(2).unwrap());
    let rows = compare(&Golden::read(&golden(name)).unwrap(), precision, &pool).unwrap();
    for kind in ["loss", "out", "grad", "new"] {
        let worst = rows.iter().filter(|r| r.kind == kind).max_by(|a, b| a.error.total_cmp(&b.error));
        let worst = worst.unwrap_or_else(|| panic!("{name}: nothing of kind {kind} was compared"));
        println!("{name} {precision:?} {kind:4} {:.2e} {}", worst.error, worst.name);
    }
    rows
}

fn passes(name: &str, precision: Precision) {
    let rows = rows(name, precision);
    let failed: Vec<&Row> = rows.iter().filter(|row| row.fails()).collect();
    assert!(failed.is_empty(), "{name}: {failed:#?}");
    // Six losses, three states, and the gradient and new value of every parameter.
    let count = |kind: &str| rows.iter().filter(|row| row.kind == kind).count();
    assert_eq!((count("loss"), count("out")), (6, 3), "{name}");
    assert!(count("grad") > 40 && count("new") == count("grad"), "{name}");
}

#[test]
fn images_and_continuous_actions() {
    passes("tiny.safetensors", Precision::F64);
    passes("tiny.safetensors", Precision::F32);
    passes("tiny.safetensors", Precision::Bf16);
}

#[test]
fn kl_below_free_nats_and_clipped_gradients() {
    passes("tiny_clamped.safetensors", Precision::F64);
    passes("tiny_clamped.safetensors", Precision::F32);
    passes("tiny_clamped.safetensors", Precision::Bf16);
}

#[test]
fn vectors_and_discrete_actions() {
    passes("tiny_grid.safetensors", Precision::F64);
    passes("tiny_grid.safetensors", Precision::F32);
    passes("tiny_grid.safetensors", Precision::Bf16);
}

/// The bounds of f64 are not met in f32, nor those of f32 in bf16: they can fail.
#[test]
fn the_bounds_can_fail() {
    let errors = |precision| rows("tiny_grid.safetensors", precision);
    for (wide, narrow) in [(Precision::F32, Precision::F64), (Precision::Bf16, Precision::F32)] {
        let mut pairs = errors(wide).into_iter().zip(errors(narrow));
        assert!(pairs.any(|(wide, narrow)| Row { bound: narrow.bound, ..wide }.fails()), "{wide:?}");
    }
}

#[test]
fn a_damaged_file_is_refused_by_name() {
    let message = Golden::read(&golden("README.md")).err().expect("not a safetensors file").to_string();
    assert!(message.contains("README.md") && message.contains("golden"), "{message}");
    let message = Golden::read(&golden("missing.safetensors")).err().expect("there is no such file").to_string();
    assert!(message.contains("missing.safetensors"), "{message}");
}
