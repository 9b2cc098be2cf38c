//! Is a bad configuration refused before step 0, and does every value say where it came from?

use std::path::Path;

use dreamer_fast::config::resolve::{Request, Resolved, resolve};
use dreamer_fast::config::{Config, KEYS, Latent, Origin, PRESETS, check_resume, nearest, resume};

fn set(pairs: &[&str]) -> Request {
    Request { set: pairs.iter().map(|pair| pair.to_string()).collect(), ..Request::default() }
}

fn resolved(pairs: &[&str]) -> Resolved {
    resolve(&set(pairs)).unwrap_or_else(|error| panic!("{pairs:?}: {error}"))
}

fn refusal(pairs: &[&str]) -> String {
    match resolve(&set(pairs)) {
        Ok(_) => panic!("{pairs:?} was accepted"),
        Err(error) => error.to_string(),
    }
}

/// danijar/dreamer, `define_config` at 56d4d44.
#[test]
fn the_defaults_are_the_published_constants() {
    let c = Config::default();
    assert_eq!((c.deter_size, c.stoch_size, c.num_units, c.cnn_depth), (200, 30, 400, 32));
    assert_eq!((c.batch_size, c.batch_length, c.train_every, c.train_steps, c.pretrain), (50, 50, 1000, 100, 100));
    assert_eq!((c.model_lr, c.value_lr, c.actor_lr, c.grad_clip), (6e-4, 8e-5, 8e-5, 100.0));
    assert_eq!((c.discount, c.disclam, c.horizon), (0.99, 0.95, 15));
    assert_eq!((c.free_nats, c.kl_scale, c.pcont, c.pcont_scale, c.weight_decay), (3.0, 1.0, false, 10.0, 0.0));
    assert_eq!((c.action_init_std, c.expl_amount, c.expl_decay, c.expl_min, c.eval_noise), (5.0, 0.3, 0.0, 0.0, 0.0));
    assert_eq!((c.prefill, c.steps, c.eval_every, c.log_every), (5000, 5_000_000, 10_000, 1000));
    c.check().unwrap();
}

#[test]
fn every_preset_is_free_of_typos_and_contradictions() {
    for preset in PRESETS {
        let request = Request { preset: Some(preset.name.into()), ..Request::default() };
        let resolved = resolve(&request).unwrap_or_else(|error| panic!("preset {}: {error}", preset.name));
        for (key, _, why) in preset.rows {
            assert_eq!(*resolved.origin(key), Origin::Preset(preset.name.into()), "{key}");
            assert!(!why.is_empty(), "preset {} does not say why it sets {key}", preset.name);
        }
    }
}

#[test]
fn the_task_chooses_the_preset_and_what_it_leaves_no_choice_about() {
    assert_eq!(resolved(&[]).preset, "gridworld");
    assert_eq!(resolved(&["task=Pendulum-v1"]).preset, "pendulum");
    let debug = Request { preset: Some("debug".into()), ..set(&["task=Pendulum-v1"]) };
    assert_eq!(resolve(&debug).unwrap().config.observation.word(), "vector");
    let pendulum = Request { preset: Some("pendulum".into()), ..Request::default() };
    assert_eq!(resolve(&pendulum).unwrap().config.task, "Pendulum-v1");
}

#[test]
fn later_layers_win_and_are_named() {
    let folder = std::env::temp_dir().join(format!("dreamer-fast-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("mine.toml");
    std::fs::write(&path, "horizon = 7\ndeter_size = 64\nsteps = 1e5\nencoder_units = [32, 16]\nbatch_size = 8\n")
        .unwrap();
    let mut request = set(&["horizon=9", "unimix = 0.02"]);
    request.file = Some(path.clone());
    request.flags = vec![("steps", "5e4".into()), ("horizon", "8".into())];
    let got = resolve(&request).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let lines = got.toml();
    for line in [
        "preset = \"gridworld\"".to_string(),
        "horizon = 9  # --set".into(),
        "unimix = 0.02  # --set".into(),
        "steps = 50000  # --steps".into(),
        format!("deter_size = 64  # file {}", path.display()),
        format!("encoder_units = [32, 16]  # file {}", path.display()),
        "hidden_size = 128  # preset gridworld".into(),
        "discount = 0.99  # default".into(),
    ] {
        assert!(lines.lines().any(|l| l == line), "no line {line:?} in\n{lines}");
    }
}

#[test]
fn a_resolved_file_reads_back_to_the_same_values() {
    let names: Vec<String> = PRESETS.iter().map(|preset| preset.name.to_string()).collect();
    for name in names {
        let request = Request { preset: Some(name.clone()), ..set(&["adam_eps=1.5e-9", "weight_decay_pattern=*.w"]) };
        let first = resolve(&request).unwrap();
        for text in [first.toml(), first.explained()] {
            let again = Resolved::parse(&text, Path::new("config.toml")).unwrap();
            assert_eq!(again.config, first.config);
            assert_eq!(again.preset, name);
        }
    }
}

#[test]
fn values_are_read_in_the_notations_people_use() {
    let c = resolved(&[
        "steps=1e6",
        "replay_bytes=2_000_000",
        "pcont=False",
        "encoder_units=[ 7, 5 ]",
        "decoder_units=",
        "latent=gaussian",
    ])
    .config;
    assert_eq!((c.steps, c.replay_bytes, c.pcont, c.latent), (1_000_000, 2_000_000, false, Latent::Gaussian));
    assert_eq!((c.encoder_units, c.decoder_units), (vec![7, 5], vec![]));
    assert_eq!(resolved(&["seed=9223372036854775807"]).config.seed, 9_223_372_036_854_775_807);
}

#[test]
fn a_typo_in_any_key_names_that_key() {
    for key in KEYS {
        let doubled = format!("{}{}", key.name, key.name.chars().last().unwrap());
        let text = refusal(&[&format!("{doubled}=1")]);
        assert!(text.contains(&format!("did you mean \"{}\"?", key.name)), "{text}");
    }
    assert!(refusal(&["detre_size=1"]).contains("\"deter_size\""));
    assert!(refusal(&["deter-size=1"]).contains("\"deter_size\""));
    assert!(!refusal(&["zebra=1"]).contains("did you mean"));
    assert_eq!(nearest("trian", &["train", "eval"]), Some("train"));
    // Two swaps of neighbours are two edits, not four.
    assert_eq!(nearest("rtani", &["train", "eval"]), Some("train"));
}

#[test]
fn every_key_refuses_another_type_and_names_itself() {
    for key in KEYS.iter().filter(|key| key.expects() != "text") {
        for wrong in ["banana", "nan", "inf", "-", "1..2"] {
            let text = refusal(&[&format!("{}={wrong}", key.name)]);
            let expected = format!("--set {}={wrong}: {} takes {}, not \"{wrong}\"", key.name, key.name, key.expects());
            assert_eq!(text, expected);
        }
    }
    for wrong in ["-1", "1.5", "1e-3", "1e300", "9223372036854775808"] {
        refusal(&[&format!("steps={wrong}")]);
    }
    refusal(&["task="]);
    refusal(&["encoder_units=1,,2"]);
    refusal(&["encoder_units=[1,2"]);
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    for (pair, range) in [
        ("batch_length=1", "from 2 to 65536"),
        ("batch_size=1e12", "from 1 to 65536"),
        ("deter_size=1e9", "from 1 to 16384"),
        ("horizon=1", "from 2 to 1000"),
        ("discount=1.01", "from 0 to 1"),
        ("min_std=0", "above 0"),
        ("action_set=5", ": 0, 3, 7"),
        ("encoder_units=32,0", "from 1 to 16384"),
        ("model_lr=-1e-3", "0 or more"),
    ] {
        let text = refusal(&[pair]);
        assert!(text.contains(range), "{pair}: {text}");
    }
}

#[test]
fn contradictions_between_keys_are_refused_by_name() {
    for (pairs, named) in [
        (&["train_every=8"][..], &["train_every = 8", "envs = 16"][..]),
        (&["observation=vector"], &["MiniGrid-DoorKey-6x6-v0", "symbolic"]),
        (&["task=Pendulum-v1", "observation=symbolic"], &["Pendulum-v1", "vector"]),
        (&["task=Pendulum-v1", "action_dist=onehot"], &["tanh_normal"]),
        (&["task=Pendulum-v1", "expl=epsilon_greedy"], &["additive_gaussian"]),
        (&["task=Pendulum-v1", "action_set=3"], &["action_set = 3"]),
        (&["action_dist=tanh_normal"], &["onehot"]),
        (&["expl=additive_gaussian"], &["epsilon_greedy"]),
        (&["expl_min=0.5", "expl_amount=0.4"], &["expl_min = 0.5", "expl_amount = 0.4"]),
        (&["actor_entropy_min=0.5"], &["actor_entropy_min = 0.5", "actor_entropy = 0.003"]),
        (&["latent_barrier_min=0.5"], &["latent_barrier_min = 0.5", "latent_barrier = 0"]),
        (&["steps=1999"], &["steps = 1999", "prefill = 2000"]),
        // Fifteen steps of 16 environments are 16 rows of each.
        (&["prefill=224"], &["prefill = 224", "15 rows", "batch_length = 16", "prefill to 240"]),
        (&["imag_starts=241"], &["imag_starts = 241", "240 states"]),
        (&["kl_balance=-0.5"], &["kl_balance = -0.5"]),
        (&["weight_decay_pattern=(rssm|actor)"], &["weight_decay_pattern"]),
        (&["task=Pendulum-v1", "expert_episodes=5"], &["Pendulum-v1", "expert_episodes = 5"]),
        (&["expert_episodes=5", "action_repeat=2", "train_every=32"], &["expert_episodes = 5", "action_repeat = 2"]),
        (&["reward_fraction=0.75", "win_fraction=0.5"], &["reward_fraction = 0.75", "win_fraction = 0.5"]),
        (&["value_actor_grad=1", "slow_value=0"], &["value_actor_grad = 1", "reinforce"]),
        (&["value_actor_grad=1", "actor_grad=mixed"], &["value_actor_grad = 1", "slow_value = 0.02"]),
    ] {
        let text = refusal(pairs);
        assert!(named.iter().all(|name| text.contains(name)), "{pairs:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{pairs:?}: {text}");
    }
    assert_eq!(refusal(&["train_every=8", "kl_balance=-0.5"]).lines().count(), 2);
    resolved(&["imag_starts=240"]);
    resolved(&["prefill=240"]);
    resolved(&["actor_grad=dynamics"]);
}

#[test]
fn files_are_refused_with_their_name_and_the_key() {
    let refusal = |text: &str| Resolved::parse(text, Path::new("a/config.toml")).unwrap_err().to_string();
    assert!(refusal("horizn = 3").contains("a/config.toml: there is no key \"horizn\"; did you mean \"horizon\"?"));
    assert_eq!(refusal("horizon = true"), "a/config.toml: horizon takes a whole number from 2 to 1000, not \"true\"");
    assert!(refusal("[model]\ndeter_size = 3").contains("[model] is a section"));
    assert!(refusal("horizon = ").contains("line 1"));
    assert!(refusal("steps = 10").contains("prefill"));
}

#[test]
fn resume_lets_lengths_change_and_refuses_another_model() {
    let stored = resolved(&[]).config;
    let longer = resolved(&["steps=1e6", "threads=3", "log_every=7", "eval_every=0"]).config;
    let changed: Vec<&str> = check_resume(&stored, &longer).unwrap().iter().map(|d| d.key.name).collect();
    assert_eq!(changed, ["steps", "eval_every", "log_every", "threads"]);

    let other = resolved(&["seed=1", "deter_size=64", "steps=1e6", "task=MiniGrid-Empty-5x5-v0"]).config;
    let text = check_resume(&stored, &other).unwrap_err().to_string();
    for line in
        ["task: stored \"MiniGrid-DoorKey-6x6-v0\", asked for \"MiniGrid-Empty-5x5-v0\"", "seed: stored 0, asked for 1"]
    {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("deter_size: stored 128, asked for 64") && !text.contains("steps"), "{text}");
    assert_eq!(resume::differences(&stored, &other).len(), 4);
}

#[test]
fn exploration_halves_and_stops_at_its_floor() {
    let c = resolved(&["expl=auto", "expl_amount=0.4", "expl_decay=1000", "expl_min=0.1"]).config;
    assert_eq!([0, 1000, 2000, 9000].map(|step| c.expl_amount_at(step)), [0.4, 0.2, 0.1, 0.1]);
    assert_eq!(c.exploration().word(), "epsilon_greedy");
    assert_eq!(resolved(&["task=Pendulum-v1"]).config.exploration().word(), "additive_gaussian");
    assert_eq!(Config::default().expl_amount_at(1_000_000), 0.3);
}

#[test]
fn weight_decay_chooses_parameters_by_dotted_name() {
    let c = resolved(&["weight_decay=1e-6", "weight_decay_pattern=rssm.*.w*"]).config;
    assert!(c.decays("rssm.img1.w") && c.decays("rssm.gru.wx"));
    assert!(!c.decays("rssm.img1.b") && !c.decays("actor.rssm.img1.w") && !c.decays("rssm.w"));
    assert!(resolved(&["weight_decay=1e-6"]).config.decays("actor.out.b"));
    assert!(!Config::default().decays("actor.out.b"));
}

#[test]
fn every_key_is_explained() {
    let text = resolved(&[]).explained();
    for key in KEYS {
        assert!(key.doc.trim().ends_with('.'), "{}: {:?}", key.name, key.doc);
        let explained = key.explained();
        assert!(explained.lines().all(|line| text.contains(&format!("# {line}\n"))), "{explained}");
    }
}
