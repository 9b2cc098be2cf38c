//! The map that an agent stands in the middle of: what is written on it, how it moves, what is erased.

use dreamer_fast::base::Philox;
use dreamer_fast::base::philox::stream;
use dreamer_fast::env::{Action, Env, Options, View, make};
use dreamer_fast::ops::ego_map::MapShape;

use super::eval;

/// A map that is told how the agent moves shows, step after step, what MiniGrid shows of every cell that was seen before; in either order of cells.
#[test]
fn what_was_seen_lies_on_the_map_where_it_is() {
    let options = Options { view: View::Symbolic, tile_size: 8, actions: None, max_steps: None };
    let mut world = make("Simple-10x10", &options).unwrap();
    let (view, kinds) = (7, 11);
    for columns in [true, false] {
        let shape = MapShape { side: 13, view, classes: kinds, columns };
        let look = |world: &dyn Env| {
            let mut bytes = vec![0; world.spec().observation.size()];
            world.write_bytes(&mut bytes);
            let cell = |s: usize| if columns { s } else { s % view * view + s / view };
            (0..view * view).map(|s| usize::from(bytes[3 * cell(s)])).collect::<Vec<_>>()
        };
        let place = |world: &dyn Env| world.layout().unwrap().split_last_chunk::<3>().unwrap().1.to_vec();
        let mut rng = Philox::new(3, stream::TEST, 6);
        world.reset(Some(4));
        let mut state = vec![0.0; 1 + shape.map()];
        let (mut known, steps) = (0, 100);
        for _ in 0..steps {
            let (seen, before) = (look(&*world), place(&*world));
            let action = [0, 1, 2, 2][rng.below(4)];
            if world.step(Action::Discrete(action)).terminated {
                world.reset(None);
                state.fill(0.0);
                continue;
            }
            let motion = match action {
                2 if place(&*world) == before => 0,
                action => action + 1,
            };
            let mut control = vec![40.0; 4 + kinds];
            (0..4).filter(|&t| t != motion).for_each(|t| control[t] = -40.0);
            let onehot: Vec<f64> =
                seen.iter().flat_map(|&k| (0..kinds).map(move |i| f64::from(u8::from(i == k)))).collect();
            let got = eval(
                &[
                    (&[1, 1], &[0.5]),
                    (&[1, state.len()], &state),
                    (&[1, onehot.len()], &onehot),
                    (&[1, control.len()], &control),
                ],
                |g, t| {
                    let next = g.ego_map(t[0], t[1], t[2], t[3], shape);
                    vec![next, g.map_view(next, shape, 1.0)]
                },
            );
            state.clone_from(&got[0]);
            assert_eq!(state[0], 0.5);
            for (s, (kind, held)) in look(&*world).into_iter().zip(got[1].chunks_exact(kinds)).enumerate() {
                if held.iter().sum::<f64>() > 0.5 {
                    assert!(held[kind] > 0.999, "cell {s}: {held:?} but {kind} is there");
                    known += 1;
                }
            }
        }
        assert!(known > 40 * steps, "{known} cells were known in {steps} steps");
    }
}

/// What is seen of a cell takes the place of what a map holds there, or stands beside it.
#[test]
fn what_is_seen_is_laid_on_a_map_or_beside_it() {
    let shape = MapShape { side: 5, view: 3, classes: 2, columns: false };
    let state: Vec<f64> = (0..1 + shape.map()).map(|i| i as f64).collect();
    let seen: Vec<f64> = (0..shape.seen()).map(|i| 100.0 + i as f64).collect();
    let got = eval(&[(&[1, state.len()], &state), (&[1, seen.len()], &seen)], |g, t| {
        vec![g.map_now(t[0], t[1], shape, false), g.map_now(t[0], t[1], shape, true)]
    });
    for cell in 0..25 {
        let (i, j) = (cell / 5, cell % 5);
        let held = &state[1 + 2 * cell..][..2];
        let laid = (i < 3 && (1..4).contains(&j)).then(|| &seen[2 * (3 * i + j - 1)..][..2]);
        assert_eq!(got[0][2 * cell..][..2], *laid.unwrap_or(held), "cell {cell}");
        assert_eq!(got[1][4 * cell..][..4], [held, laid.unwrap_or(&[0.0, 0.0])].concat(), "cell {cell}");
    }
}

/// With gates of its own for that, a class can be noted without erasing what is known (E11); an order to erase holds by itself, too.
#[test]
fn what_is_hidden_stays_known() {
    let shape = MapShape { side: 3, view: 1, classes: 3, columns: false };
    let mut state = vec![0.0; 1 + shape.map()];
    state[1 + 3 * 4..][..3].copy_from_slice(&[0.0, 0.8, 0.4]);
    // Class 2 is seen where the agent stands; it is written by sigmoid(0.5 + 2), the agent stays, and how much it erases is asked.
    let after = |erased: f64| {
        let control = [40.0, -40.0, -40.0, -40.0, 9.0, 9.0, 0.5, 9.0, 9.0, erased];
        let tensors: [(&[usize], &[f64]); 4] =
            [(&[1, 1], &[0.5]), (&[1, state.len()], &state), (&[1, 3], &[0.0, 0.0, 1.0]), (&[1, 10], &control)];
        let got = eval(&tensors, |g, t| vec![g.ego_map(t[0], t[1], t[2], t[3], shape)]).remove(0);
        got[1 + 3 * 4..][..3].to_vec()
    };
    let w = 1.0 / (1.0 + (-2.5_f64).exp());
    for (erased, wanted) in
        [(-99.0, [0.0, 0.8, 0.4 + w * 0.6]), (99.0, [0.0, 0.0, w]), (-2.0, [0.0, 0.4, 0.2 + w * 0.8])]
    {
        let got = after(erased);
        assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} but {wanted:?} is wanted");
    }
}
