//! Does a batch hold the rows that were collected, each with the action and the reward that belong to it, and all of them?

use std::collections::{BTreeMap, BTreeSet};

use dreamer_fast::replay::{Address, Replay, Sampling, Source, Weighting, Windows};

use super::{ACROSS, ROOM, WITHIN, add, add_episode, grid, sample, vector};

/// Bug 1: action, reward and discount stand with the observation that they led to, in every row of every batch.
#[test]
fn a_row_holds_the_action_and_reward_that_led_to_its_observation() {
    for layout in [grid(), vector()] {
        let size = layout.action.size();
        let mut replay = Replay::in_memory(layout, 2, ROOM, 1);
        for serial in 0..6 {
            add_episode(&mut replay, usize::from(serial) % 2, serial, 5 + usize::from(serial));
        }
        for how in [WITHIN, ACROSS] {
            let (t, b) = (7, 40);
            let batch = sample(&replay, &how, t, b, 3);
            let number = |place: usize, entry: usize| match batch.bytes.is_empty() {
                true => batch.floats[place * 3 + entry],
                false => f32::from(batch.bytes[place * 4 + entry]),
            };
            let mut count = [0.0; 3];
            for place in 0..t * b {
                let (env, serial, row) = (number(place, 0), number(place, 1), number(place, 2).floor() as usize);
                assert_eq!(batch.addresses[place].source, Source::Finished(serial as u64));
                assert_eq!((batch.addresses[place].row, env), (row, serial % 2.0));
                let action = &batch.action[place * size..][..size];
                for (index, &entry) in action.iter().enumerate() {
                    let chosen = row > 0 && index == row % size;
                    let full = if size == 3 { 1.0 } else { row as f32 * 0.3 };
                    assert_eq!(entry, if chosen { full } else { 0.0 });
                }
                assert_eq!(batch.reward[place], if row.is_multiple_of(3) { row as f32 } else { 0.0 });
                let is_last = row + 1 == 5 + serial as usize;
                // Bug 6: only a termination has discount 0, a time limit does not.
                assert_eq!(batch.discount[place], if is_last { serial % 2.0 } else { 1.0 });
                let address = batch.addresses[place];
                let goes_on = |before: &Address| before.source == address.source && before.row + 1 == row;
                // Bug 5: wherever rows do not follow one another, the state is reset.
                let is_first = place < b || row == 0 || !goes_on(&batch.addresses[place - b]);
                assert_eq!((address.is_first, batch.is_first[place]), (is_first, f32::from(u8::from(is_first))));
                count[0] += f32::from(u8::from(batch.reward[place] > 0.0));
                count[1] += f32::from(u8::from(batch.discount[place] == 0.0));
                count[2] += batch.is_first[place];
            }
            let stats = [batch.stats.positive_reward, batch.stats.terminal, batch.stats.first];
            assert_eq!(stats.map(|share| (share * (t * b) as f64).round() as f32), count);
        }
    }
}

/// Bug 2: the last row is stored and drawn as often as the rule says, and a short episode is not left out.
#[test]
fn every_row_is_drawn_the_last_one_and_those_of_short_episodes_too() {
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    add_episode(&mut replay, 0, 0, 12);
    let mut starts = BTreeMap::new();
    let (t, b) = (5, 8000);
    for address in &replay.draw(&WITHIN, t, b, 0).unwrap()[..b] {
        *starts.entry(address.row).or_insert(0) += 1;
    }
    assert_eq!(starts.keys().copied().collect::<Vec<_>>(), (0..=12 - t).collect::<Vec<_>>());
    // 1000 expected for each of the 8 starts, standard deviation 30.
    assert!(starts.values().all(|&count: &i32| (count - 1000).abs() < 150), "{starts:?}");

    // An episode of exactly T rows, and short ones: nothing is dropped, every chunk has T rows.
    add_episode(&mut replay, 0, 1, t);
    add_episode(&mut replay, 0, 3, 1);
    add_episode(&mut replay, 0, 4, 3);
    for weighting in [Weighting::Episodes, Weighting::Rows] {
        let drawn = replay.draw(&Sampling { weighting, ..WITHIN }, t, b, 1).unwrap();
        assert_eq!(drawn.len(), t * b);
        let seen: BTreeSet<(Source, usize)> = drawn.iter().map(|address| (address.source, address.row)).collect();
        assert_eq!(seen.len(), 12 + t + 1 + 3, "{weighting:?}: some row was never drawn");
        let long = drawn[..b].iter().filter(|address| address.source == Source::Finished(0)).count() as f64;
        let expected = if weighting == Weighting::Episodes { 0.25 } else { 12.0 / 21.0 };
        assert!((long / b as f64 - expected).abs() < 0.03, "{weighting:?}: {long} of {b}");
    }
}

#[test]
fn windows_across_episodes_follow_the_stream_and_see_the_unfinished_episode() {
    let mut replay = Replay::in_memory(grid(), 2, ROOM, 1);
    assert!(replay.draw(&ACROSS, 4, 1, 0).unwrap_err().to_string().contains("prefill"));
    assert!(replay.draw(&WITHIN, 4, 1, 0).unwrap_err().to_string().contains("prefill"));
    // Interleaved: environment 0 finishes 0 and 2, environment 1 finishes 1, each goes on with an unfinished one.
    for (env, serial, rows) in [(0, 0, 3), (1, 1, 2), (0, 2, 4)] {
        add_episode(&mut replay, env, serial, rows);
    }
    (0..3).for_each(|t| add(&mut replay, 0, 9, t, None));
    (0..2).for_each(|t| add(&mut replay, 1, 9, t, None));
    let [a, b, c] = [0, 2, 1].map(|number| move |row| (Source::Finished(number), row));
    let open = |env| move |row| (Source::Open(env), row);
    let first: Vec<_> = (0..3).map(a).chain((0..4).map(b)).chain((0..3).map(open(0))).collect();
    let second: Vec<_> = (0..2).map(c).chain((0..2).map(open(1))).collect();
    let (t, b) = (4, 4000);
    let drawn = replay.draw(&ACROSS, t, b, 5).unwrap();
    let mut windows = BTreeMap::new();
    for chunk in 0..b {
        let rows: Vec<Address> = (0..t).map(|step| drawn[step * b + chunk]).collect();
        for (step, address) in rows.iter().enumerate() {
            assert_eq!(address.is_first, step == 0 || address.row == 0);
        }
        *windows.entry(rows.iter().map(|a| (a.source, a.row)).collect::<Vec<_>>()).or_insert(0) += 1;
    }
    let expected: BTreeSet<Vec<_>> = first.windows(t).chain(second.windows(t)).map(<[_]>::to_vec).collect();
    assert_eq!(expected, windows.keys().cloned().collect());
    // 8 windows in all, 500 expected of each, standard deviation 21.
    assert!(windows.values().all(|&count: &i32| (count - 500).abs() < 110), "{:?}", windows.values());

    let seen =
        |how: &Sampling| replay.draw(how, 3, 500, 0).unwrap().iter().any(|a| matches!(a.source, Source::Open(_)));
    assert!(!seen(&WITHIN) && seen(&Sampling { unfinished: true, ..WITHIN }));
}

#[test]
fn the_asked_fraction_of_chunks_holds_a_reward() {
    for (windows, rows) in [(Windows::Within, 30), (Windows::Within, 4), (Windows::Across, 30), (Windows::Across, 4)] {
        let mut replay = Replay::in_memory(grid(), 2, ROOM, 1);
        let how = Sampling { windows, reward_fraction: 0.25, ..WITHIN };
        // Only row 3 of an episode is rewarded if it has 4 rows; three rows have no reward.
        (0..40).for_each(|serial| add_episode(&mut replay, usize::from(serial) % 2, serial, 3));
        assert_eq!(sample(&replay, &how, 8, 16, 0).stats.positive_reward, 0.0, "without any reward nothing is asked");
        (40..44).for_each(|serial| add_episode(&mut replay, usize::from(serial) % 2, serial, rows));
        (44..60).for_each(|serial| add_episode(&mut replay, usize::from(serial) % 2, serial, 3));
        let mut places = BTreeSet::new();
        let mut rewarded = BTreeSet::new();
        for update in 0..300 {
            let (t, b) = (8, 16);
            let batch = sample(&replay, &how, t, b, update);
            for chunk in 0..b / 4 {
                let with: Vec<usize> = (0..t).filter(|step| batch.reward[step * b + chunk] > 0.0).collect();
                assert!(!with.is_empty(), "{windows:?}, update {update}, chunk {chunk}");
                places.extend(with.iter().copied());
                rewarded.extend(with.iter().map(|step| {
                    let address = batch.addresses[step * b + chunk];
                    (address.source, address.row)
                }));
            }
        }
        let expected = if rows == 30 { 4 * 9 } else { 4 };
        assert_eq!(rewarded.len(), expected, "{windows:?}: every rewarded row is drawn");
        assert!(places.len() == 8 || (windows == Windows::Within && rows == 4), "{windows:?}: {places:?}");
    }
}

#[test]
fn draws_do_not_depend_on_who_draws() {
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    (0..9).for_each(|serial| add_episode(&mut replay, 0, serial, 4 + usize::from(serial)));
    let alone: Vec<_> = (0..8).map(|update| replay.draw(&WITHIN, 5, 6, update).unwrap()).collect();
    assert!(alone[0] != alone[1], "another update draws another batch");
    let together: Vec<_> = std::thread::scope(|scope| {
        let draw = |update| {
            scope.spawn({
                let replay = &replay;
                move || replay.draw(&WITHIN, 5, 6, update).unwrap()
            })
        };
        let threads: Vec<_> = (0..8).map(draw).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}
