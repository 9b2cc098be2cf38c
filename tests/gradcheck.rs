//! Is backward the derivative? One table, a row per op, odd sizes.

use std::sync::Arc;

use dreamer_fast::autodiff::gradcheck::check;
use dreamer_fast::device::Pool;
use dreamer_fast::ops::registry::{OPS, cases};

/// Largest scaled error that passes.
const BOUND: f64 = 1e-7;

#[test]
fn every_op_has_the_gradient_of_its_forward_pass() {
    let pool = Arc::new(Pool::new(2).unwrap());
    let mut failed = Vec::new();
    for case in cases() {
        let outcome = check(&case, &pool);
        println!("{:44} {:5} elements, worst {:.2e} at {}", outcome.name, outcome.checked, outcome.worst, outcome.at);
        // Not `>`, which a NaN would slip through.
        if !(outcome.worst <= BOUND) {
            failed.push(format!("{}: {:.2e} at {}", outcome.name, outcome.worst, outcome.at));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn no_op_is_missing_from_the_registry() {
    let names: Vec<String> = cases().into_iter().map(|c| c.name).collect();
    for op in OPS {
        assert!(names.iter().any(|n| n.split(' ').next() == Some(op)), "{op} has no gradient check");
    }
    // Every op's name in src/ops is either in the list or has no gradient by nature.
    let without = ["noise"];
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for part in text.split("fn name(&self) -> &'static str {").skip(1) {
            let body = &part[..part.find("\n    }").unwrap()];
            for name in body.split('"').skip(1).step_by(2) {
                assert!(OPS.contains(&name) || without.contains(&name), "op {name} is not in the registry");
            }
        }
    }
}
