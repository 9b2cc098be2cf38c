//! Are the gridworlds those of the minigrid package? Replays what `scripts/record_minigrid.py` recorded from it.
//!
//! The committed record is small. A longer one is compared, too, if `DREAMER_FAST_MINIGRID_RECORD` names its file.

use dreamer_fast::env::{Action, Actions, Env, Options, Outcome, View, ids, make};

/// The format is described in `scripts/record_minigrid.py`.
const RECORD: &str = include_str!("fixtures/minigrid/trajectories.txt");

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv1a(bytes: &[u8], hash: u64) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn fold(hash: u64) -> u64 {
    let hash = hash ^ hash >> 32;
    (hash ^ hash >> 16) & 0xffff
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("{text} is no number in hex"))
}

/// What was compared.
#[derive(Debug, Default)]
struct Counts {
    worlds: usize,
    episodes: usize,
    steps: usize,
    solved: usize,
    frames: usize,
}

/// One recorded episode, a line each for its rewards and frames.
struct Episode<'a> {
    fields: Vec<&'a str>,
    rewards: Vec<(usize, u64, u64)>,
    frames: Vec<(usize, Options, u64)>,
}

/// The same world under every form of observation that was recorded; all are stepped together.
struct Worlds {
    symbolic: Box<dyn Env>,
    rgb: Vec<(Options, Box<dyn Env>)>,
    name: String,
}

impl Worlds {
    fn new(fields: &[&str]) -> Worlds {
        let options =
            Options { max_steps: fields[1].parse().ok(), actions: fields[2].parse().ok(), ..Options::default() };
        let symbolic = make(fields[0], &options).unwrap();
        let mut rgb = Vec::new();
        for view in [View::RgbPartial, View::RgbFull] {
            for tile_size in [4, 8, 9] {
                let options = Options { view, tile_size, ..options.clone() };
                rgb.push((options.clone(), make(fields[0], &options).unwrap()));
            }
        }
        Worlds { symbolic, rgb, name: fields.join(" ") }
    }

    /// Observation and direction.
    fn look(&self, bytes: &mut [u8; 148]) {
        self.symbolic.write_bytes(&mut bytes[..147]);
        bytes[147] = self.symbolic.direction().expect("a gridworld has a direction");
    }

    fn compare(&mut self, episode: &Episode, counts: &mut Counts) {
        let [seed, layout, trail, actions, hashes] = episode.fields[..] else { panic!("{:?}", episode.fields) };
        let name = format!("{}, seed {seed}", self.name);
        // Worlds with images keep in step only where an episode has frames.
        let draws = !episode.frames.is_empty();
        let seed = seed.parse().ok();
        let before = self.symbolic.save();
        self.symbolic.reset(seed);
        if draws {
            for (_, env) in &mut self.rgb {
                env.load(&before).unwrap();
                env.reset(seed);
            }
        }
        let whole = self.symbolic.layout().expect("a gridworld has a layout");
        assert_eq!(fnv1a(&whole, BASIS), hex(layout), "{name}: layout");

        let mut bytes = [0; 148];
        let mut chain = BASIS;
        let mut rewards = episode.rewards.iter();
        let mut expected_reward = rewards.next();
        let mut frames = episode.frames.iter().peekable();
        for step in 0..=actions.len() {
            if step > 0 {
                let action = Action::Discrete(usize::from(actions.as_bytes()[step - 1] - b'0'));
                let outcome = self.symbolic.step(action);
                if draws {
                    for (_, env) in &mut self.rgb {
                        assert_eq!(env.step(action), outcome);
                    }
                }
                let recorded = expected_reward.filter(|reward| reward.0 == step);
                let (_, bits, flags) = recorded.copied().unwrap_or((step, 0.0_f64.to_bits(), 0));
                if recorded.is_some() {
                    expected_reward = rewards.next();
                }
                let expected = Outcome {
                    reward: f64::from_bits(bits),
                    terminated: flags & 1 == 1,
                    truncated: flags & 2 == 2,
                    success: f64::from_bits(bits) > 0.0,
                };
                assert_eq!(outcome, expected, "{name}: step {step}");
                assert_eq!(outcome.reward.to_bits(), bits, "{name}: reward bits of step {step}");
                counts.steps += 1;
                counts.solved += usize::from(outcome.success);
            }
            self.look(&mut bytes);
            chain = fnv1a(&bytes, chain);
            let expected = hex(&hashes[4 * step..4 * step + 4]);
            assert_eq!(fold(fnv1a(&bytes, BASIS)), expected, "{name}: observation of step {step}");
            while let Some((_, options, hash)) = frames.next_if(|frame| frame.0 == step) {
                let (_, env) = self.rgb.iter().find(|world| same_view(&world.0, options)).expect("a recorded view");
                let mut image = vec![0; env.spec().observation.size()];
                env.write_bytes(&mut image);
                assert_eq!(fnv1a(&image, BASIS), *hash, "{name}: frame of step {step}, {options:?}");
                counts.frames += 1;
            }
        }
        assert!(expected_reward.is_none() && frames.next().is_none(), "{name}: ended early");
        assert_eq!(chain, hex(trail), "{name}: all observations in a row");
        counts.episodes += 1;
    }
}

fn same_view(a: &Options, b: &Options) -> bool {
    a.view == b.view && a.tile_size == b.tile_size
}

fn compare(record: &str) -> Counts {
    let mut counts = Counts::default();
    let mut worlds: Option<Worlds> = None;
    let mut episode: Option<Episode> = None;
    for line in record.lines().chain(["end"]) {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| fields[i].parse::<usize>().expect("a number");
        match fields[0] {
            "reward" => {
                let reward = (number(1), hex(fields[2]), hex(fields[3]));
                episode.as_mut().expect("a reward belongs to an episode").rewards.push(reward);
                continue;
            }
            "frame" => {
                let view = if fields[2] == "full" { View::RgbFull } else { View::RgbPartial };
                let options = Options { view, tile_size: number(3), ..Options::default() };
                let frame = (number(1), options, hex(fields[4]));
                episode.as_mut().expect("a frame belongs to an episode").frames.push(frame);
                continue;
            }
            _ => {}
        }
        // Any other line ends the episode before it.
        if let Some(episode) = episode.take() {
            worlds.as_mut().expect("an episode belongs to a world").compare(&episode, &mut counts);
        }
        match fields[0] {
            "world" => {
                worlds = Some(Worlds::new(&fields[1..]));
                counts.worlds += 1;
            }
            "episode" => {
                episode = Some(Episode { fields: fields[1..].to_vec(), rewards: Vec::new(), frames: Vec::new() });
            }
            "end" => {}
            other => panic!("a line of the record begins with {other}"),
        }
    }
    counts
}

#[test]
fn worlds_are_those_of_the_package() {
    let counts = compare(RECORD);
    println!("{counts:?}");
    assert!(
        counts.episodes > 700 && counts.steps > 15_000 && counts.solved > 400 && counts.frames > 2_500,
        "{counts:?}"
    );
    for id in ids().into_iter().filter(|id| id.starts_with("MiniGrid-") || *id == "Simple-10x10") {
        assert!(RECORD.contains(&format!("world {id} ")), "{id} was not recorded");
    }
}

#[test]
fn a_longer_record_agrees() {
    let Ok(path) = std::env::var("DREAMER_FAST_MINIGRID_RECORD") else {
        println!("skipped: DREAMER_FAST_MINIGRID_RECORD names no file");
        return;
    };
    println!("{path}: {:?}", compare(&std::fs::read_to_string(&path).unwrap()));
}

#[test]
fn a_damaged_state_is_an_error_and_changes_nothing() {
    for id in ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-MemoryS7-v0", "MiniGrid-Dynamic-Obstacles-5x5-v0"] {
        let mut env = make(id, &Options::default()).unwrap();
        env.reset(Some(3));
        env.step(Action::Discrete(1));
        let state = env.save();
        for length in 0..state.len() {
            assert!(env.load(&state[..length]).is_err(), "{id}: {length} bytes of {}", state.len());
        }
        for bit in 0..8 * state.len() {
            let mut damaged = state.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(env.load(&damaged).is_err(), "{id}: bit {bit}");
            // Even with the right hash it must not panic, then or later.
            let (body, hash) = damaged.split_last_chunk_mut::<8>().unwrap();
            *hash = fnv1a(body, BASIS).to_le_bytes();
            if let Ok(()) = env.load(&damaged) {
                assert!(env.direction().unwrap() < 4);
                for action in [2, 1, 2, 0, 2] {
                    env.step(Action::Discrete(action));
                }
            }
            env.load(&state).unwrap();
        }
        assert_eq!(env.save(), state);
        let other = make("MiniGrid-Empty-5x5-v0", &Options::default()).unwrap().save();
        let error = env.load(&other).unwrap_err().to_string();
        assert!(error.contains("MiniGrid-Empty-5x5-v0"), "{error}");
    }
}

#[test]
fn a_saved_world_goes_on_as_if_never_saved() {
    for id in ids() {
        let mut env = make(id, &Options::default()).unwrap();
        let Actions::Discrete { n } = env.spec().actions else { continue };
        let mut copy = make(id, &Options::default()).unwrap();
        env.reset(Some(11));
        for step in 0..60 {
            if step % 7 == 0 {
                copy.load(&env.save()).unwrap();
            }
            let action = Action::Discrete(step * step % n);
            let outcome = env.step(action);
            assert_eq!(copy.step(action), outcome, "{id}: step {step}");
            if outcome.ended() {
                env.reset(None);
                copy.reset(None);
            }
            assert_eq!(copy.save(), env.save(), "{id}: step {step}");
        }
    }
}
