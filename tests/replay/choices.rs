//! Do the choices of what a batch shows do what they say, and leave the rest of the batch alone?

use std::collections::BTreeSet;

use dreamer_fast::replay::{Obs, Replay, Row, Sampling, Source, Windows};

use super::{ACROSS, ROOM, WITHIN, add, add_episode, grid, sample};

#[test]
fn a_reward_can_stand_beside_the_observation_before_its_action() {
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    (0..8).for_each(|serial| add_episode(&mut replay, 0, serial, 7 + usize::from(serial) % 3));
    for how in [WITHIN, ACROSS] {
        let early = Sampling { reward_before_action: true, ..how };
        let (batch, plain) = (sample(&replay, &early, 5, 40, 3), sample(&replay, &how, 5, 40, 3));
        assert_eq!((&batch.addresses, &batch.bytes, &batch.action), (&plain.addresses, &plain.bytes, &plain.action));
        assert_eq!((&batch.discount, &batch.is_first), (&plain.discount, &plain.is_first));
        let mut shown = 0;
        for (address, &reward) in batch.addresses.iter().zip(&batch.reward) {
            let Source::Finished(serial) = address.source else { panic!("all episodes are finished") };
            let (next, rows) = (address.row + 1, 7 + serial as usize % 3);
            assert_eq!(reward, if next < rows && next.is_multiple_of(3) { next as f32 } else { 0.0 });
            shown += usize::from(reward > 0.0);
        }
        assert!(shown > 10 && batch.stats.positive_reward == shown as f64 / batch.reward.len() as f64);
        // The row that is preferred for its reward is the one that shows it.
        let preferred = sample(&replay, &Sampling { reward_fraction: 0.5, ..early }, 1, 8, 0);
        assert!(preferred.reward[..4].iter().all(|&reward| reward > 0.0), "{:?}", preferred.reward);
    }
}

/// A chunk's first row counts as a beginning only where its episode begins; rows within the chunk count as before.
#[test]
fn a_chunk_can_begin_inside_an_episode() {
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    (0..8).for_each(|serial| add_episode(&mut replay, 0, serial, 3 + usize::from(serial) % 5));
    let (t, b) = (5, 100);
    for how in [WITHIN, ACROSS] {
        let (plain, joined) =
            (sample(&replay, &how, t, b, 2), sample(&replay, &Sampling { first_actions: true, ..how }, t, b, 2));
        assert!(plain.is_first[..b].iter().all(|&first| first == 1.0));
        let begins = joined.addresses[..b].iter().map(|address| f32::from(u8::from(address.row == 0)));
        assert_eq!(joined.is_first[..b], begins.collect::<Vec<_>>());
        assert!(joined.is_first[..b].contains(&0.0) && joined.is_first[..b].contains(&1.0));
        assert_eq!((&joined.bytes, &joined.action, &joined.reward), (&plain.bytes, &plain.action, &plain.reward));
        assert_eq!(joined.is_first[b..], plain.is_first[b..]);
    }
}

/// Context is the rows of the episode before a chunk, its first row again where there are none; the chunk itself stays as drawn, and the shares of a
/// batch are those of learned rows.
#[test]
fn a_chunk_can_have_context() {
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    (0..8).for_each(|serial| add_episode(&mut replay, 0, serial, 3 + usize::from(serial) % 9));
    let (context, t, b) = (4, 5, 100);
    for how in [WITHIN, ACROSS] {
        let plain = sample(&replay, &Sampling { first_actions: true, ..how }, t, b, 2);
        let led = sample(&replay, &Sampling { context, ..how }, t, b, 2);
        let (before, chunks) = led.addresses.split_at(context * b);
        assert_eq!(chunks, plain.addresses);
        assert_eq!(led.reward[context * b..], plain.reward);
        assert_eq!(led.stats, plain.stats);
        assert!(before.iter().all(|row| !row.learned) && chunks.iter().all(|row| row.learned));
        let mut padded = 0;
        for (place, row) in before.iter().enumerate() {
            let (chunk, back) = (&chunks[place % b], context - place / b);
            assert_eq!(row.source, chunk.source);
            assert_eq!(row.row, chunk.row.saturating_sub(back));
            assert_eq!(row.is_first, place < b || row.row == 0);
            assert_eq!(usize::from(led.bytes[place * 4 + 2]), row.row, "the third byte is the row");
            padded += usize::from(chunk.row < back);
        }
        assert!(padded > 0 && padded < before.len());
    }
}

/// Without last rows every other row is drawn, those of the unfinished episode too; an episode of one row gives nothing.
#[test]
fn last_rows_can_be_left_out() {
    let mut replay = Replay::in_memory(grid(), 2, ROOM, 1);
    let lengths = [6, 1, 4, 2, 9, 1, 3];
    for (serial, rows) in lengths.into_iter().enumerate() {
        add_episode(&mut replay, serial % 2, serial as u8, rows);
    }
    (0..3).for_each(|t| add(&mut replay, 0, 9, t, None));
    for how in [WITHIN, ACROSS, Sampling { reward_fraction: 0.5, win_fraction: 0.25, ..ACROSS }] {
        let how = Sampling { last_rows: false, unfinished: true, ..how };
        let (t, b) = (4, 500);
        let drawn = replay.draw(&how, t, b, 0).unwrap();
        let seen: BTreeSet<(Source, usize)> = drawn.iter().map(|a| (a.source, a.row)).collect();
        let mut all: BTreeSet<(Source, usize)> = (0..3).map(|row| (Source::Open(0), row)).collect();
        for (serial, rows) in lengths.into_iter().enumerate() {
            all.extend((0..rows - 1).map(|row| (Source::Finished(serial as u64), row)));
        }
        // Environment 1 holds two episodes with rows left, 1 + 1 of them: too few for a window across.
        if how.windows == Windows::Across {
            all.retain(|(source, _)| !matches!(source, Source::Finished(1 | 3 | 5)));
        }
        assert_eq!(seen, all, "{:?}", how.windows);
        // Rows follow one another, or begin an episode.
        for (place, address) in drawn.iter().enumerate().skip(b) {
            let before = drawn[place - b];
            let goes_on = before.source == address.source && before.row + 1 == address.row;
            assert!(goes_on != address.is_first, "{before:?} {address:?}");
            assert!(goes_on || address.row == 0 || how.windows == Windows::Within, "{before:?} {address:?}");
        }
    }
    // The only reward of an episode of 4 rows is in its last one: nothing shows it, unless rewards come early.
    let mut replay = Replay::in_memory(grid(), 1, ROOM, 1);
    (0..5).for_each(|serial| add_episode(&mut replay, 0, serial, 4));
    for windows in [Windows::Within, Windows::Across] {
        let how = Sampling { windows, last_rows: false, reward_fraction: 1.0, ..WITHIN };
        assert_eq!(sample(&replay, &how, 3, 5, 0).stats.positive_reward, 0.0);
        let early = Sampling { reward_before_action: true, ..how };
        let batch = sample(&replay, &early, 3, 5, 0);
        assert!((0..5).all(|chunk| (0..3).any(|step| batch.reward[step * 5 + chunk] > 0.0)), "{:?}", batch.reward);
    }
}

#[test]
fn the_asked_fraction_of_chunks_is_won() {
    for windows in [Windows::Within, Windows::Across] {
        let how = Sampling { windows, win_fraction: 0.25, ..WITHIN };
        let mut replay = Replay::in_memory(grid(), 2, ROOM, 1);
        // Three rows have no reward, so those episodes are not won.
        (0..40).for_each(|serial| add_episode(&mut replay, usize::from(serial) % 2, serial, 3));
        let plain = Sampling { win_fraction: 0.0, ..how };
        assert_eq!(replay.draw(&how, 3, 16, 0).unwrap(), replay.draw(&plain, 3, 16, 0).unwrap(), "nothing was won yet");
        // A reward that is lost again is no win.
        for t in 0..3 {
            let action = [f32::from(u8::from(t > 0)), 0.0, 0.0];
            let reward = [0.0, 1.0, -2.0][t];
            let row = Row {
                observation: Obs::Bytes(&[0, 40, t as u8, 77]),
                action: &action,
                reward,
                discount: 1.0,
                is_first: t == 0,
                is_last: t == 2,
            };
            replay.add(0, &row).unwrap();
        }
        (41..47).for_each(|serial| add_episode(&mut replay, usize::from(serial) % 2, serial, 12));
        let (t, b) = (3, 16);
        let (mut won, mut others) = (BTreeSet::new(), 0);
        for update in 0..300 {
            let drawn = replay.draw(&how, t, b, update).unwrap();
            for chunk in 0..b {
                let rows: Vec<_> = (0..t).map(|step| drawn[step * b + chunk]).collect();
                let wins = rows.iter().filter(|a| matches!(a.source, Source::Finished(41..47)));
                let wins: Vec<_> = wins.map(|a| (a.source, a.row)).collect();
                if chunk < b / 4 {
                    assert!(!wins.is_empty(), "{windows:?}, update {update}, chunk {chunk}");
                    won.extend(wins);
                } else {
                    others += usize::from(wins.is_empty());
                }
            }
        }
        assert_eq!(won.len(), 6 * 12, "{windows:?}: every row of every episode that was won is drawn");
        assert!(others > 1000, "{windows:?}: only some of the chunks are asked for");
    }
}
