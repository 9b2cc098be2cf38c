//! Is backward the derivative? One table, a row per op, odd sizes; then whole losses of tiny models.

use std::sync::Arc;

use dreamer_fast::autodiff::gradcheck::{BOUND, Outcome, check};
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::checks;
use dreamer_fast::ops::registry::{OPS, cases};

/// Prints an outcome; returns what is wrong with it.
fn judge(outcome: &Outcome, bound: f64) -> Option<String> {
    println!("{:72} {:5} elements, worst {:.2e} at {}", outcome.name, outcome.checked, outcome.worst, outcome.at);
    (!outcome.passes(bound)).then(|| format!("{}: {:.2e} at {}", outcome.name, outcome.worst, outcome.at))
}

#[test]
fn every_op_has_the_gradient_of_its_forward_pass() {
    let pool = Arc::new(Pool::new(2).unwrap());
    let failed: Vec<String> = cases().iter().filter_map(|case| judge(&check(case, &pool), BOUND)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn whole_losses_have_the_gradients_of_their_forward_passes() {
    let pool = Arc::new(Pool::new(1).unwrap());
    let outcomes = checks::whole_losses().into_iter().flat_map(|case| checks::check(&case, &pool));
    let failed: Vec<String> = outcomes.filter_map(|outcome| judge(&outcome, checks::BOUND)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The models stand on the side of the free nats that their names say: a check on the other side would prove something else.
#[test]
fn free_nats_are_met_from_both_sides() {
    let pool = Arc::new(Pool::new(1).unwrap());
    let mut met = [0; 3];
    for case in checks::whole_losses().iter().filter(|case| case.model.config.kl_balance < 0.0) {
        let scalars = checks::scalars(&case.model, &pool);
        let (kl, div, free) = (scalars["kl"], scalars["div"], case.model.config.free_nats);
        if case.model.config.free_nats_each {
            // The mean of max(kl, free) is above both only if some states lie above and some below.
            assert!(div > kl && div > free, "{}: all states lie on one side", case.name);
            met[0] += 1;
        } else if case.name.contains("below free nats") {
            assert_eq!(div, free, "{}", case.name);
            met[1] += 1;
        } else {
            assert!(div == kl && kl > free, "{}: kl {kl}, free {free}", case.name);
            met[2] += 1;
        }
    }
    assert!(met.iter().all(|&n| n > 0), "{met:?}");
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
