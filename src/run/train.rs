//! `dreamer-fast train`: prefill, collect, train at a set ratio, evaluate, log, save, and resume.
//!
//! Everything that the loop decides follows from the number of environment steps, and everything else that it depends on is in the
//! checkpoint. So a run that was stopped at any moment, by whatever means, and started again ends with the same bits.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::agent::{Agent, Learner};
use super::args::{CONFIG_FILE, TrainArgs};
use super::checkpoint::{self, Checkpoint, Loaded};
use super::collect::{Actor, Collector, EpisodeEnd};
use super::device::{Device, check_cpu, instead};
use super::dream;
use super::evaluate::{Scores, evaluate};
use super::logdir::{self, EPISODES};
use super::world::World;
use crate::base::{Error, Failure, Result, files};
use crate::config::{self, Resolved};
use crate::device::Pool;
use crate::dreamer::policy::Choice;
use crate::replay::{Manifest, Replay};
use crate::report::Table;
use crate::report::journal::{Journal, JournalState};
use crate::report::progress::{self, Progress, Status};
use crate::report::stdout::{self, say};

/// Training episodes that the success on display is a mean of.
const RECENT: usize = 100;

/// Runs the command. Settings and the log directory are checked before the first file is written.
///
/// # Errors
/// Settings that do not go together, with each other or with what the log directory holds; whatever ends a run.
pub fn command(args: &TrainArgs) -> std::result::Result<ExitCode, Failure> {
    let settings = args.resolve().map_err(Failure::Usage)?;
    if args.print_config {
        stdout::write(settings.explained())?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.while_stdin {
        end_with_stdin();
    }
    let logdir = args.logdir(&settings);
    let world = World::new(&settings.config).map_err(Failure::Usage)?;
    logdir::check(&logdir, &settings.config).map_err(Failure::Usage)?;
    let device = Device::of_run(&settings.config)?;
    let _lock = files::Lock::take(&logdir)?;
    let mut run = Run::open(&logdir, world, &settings)?;
    let c = run.agent.world.config().clone();
    match run.learner.move_to(&run.agent, &device, args.eager) {
        Err(error) if c.device == config::Device::Auto => {
            eprintln!("{}", instead(&error));
            check_cpu(c.precision)?;
        }
        moved => moved?,
    }
    eprintln!(
        "{} by preset {}, seed {}, on {}; {} parameters; writing to {}",
        c.task,
        settings.preset,
        c.seed,
        run.learner.describe(&run.agent),
        progress::grouped(run.agent.params.layout.entries().iter().map(|e| e.len() as u64).sum()),
        logdir.display()
    );
    run.learner.notes().iter().for_each(|note| eprintln!("{note}"));
    if run.steps > 0 {
        let (steps, all) = (progress::grouped(run.steps), progress::grouped(c.steps));
        if run.steps < c.steps {
            eprintln!("resuming at step {steps} of {all}");
        } else {
            eprintln!(
                "the run is complete at step {steps}; --steps N trains on. Playing the last evaluation again ..."
            );
        }
    }
    run.train()?;
    run.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the process when standard input ends. A run may be stopped at any moment, so nothing is tidied up.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}

/// A run under way.
struct Run {
    logdir: PathBuf,
    agent: Agent,
    learner: Learner,
    collector: Collector,
    replay: Replay,
    journal: Journal,
    /// Environment steps done.
    steps: u64,
    episodes: u64,
    /// The last training episodes, newest last.
    recent: Vec<EpisodeEnd>,
    /// Success and return of the last evaluation.
    tested: Option<(f64, f64)>,
}

/// Whether going from `before` to `after` passes a multiple of `every`; how many.
fn crossings(before: u64, after: u64, every: u64) -> u64 {
    match (after.checked_div(every), before.checked_div(every)) {
        (Some(after), Some(before)) => after - before,
        _ => 0,
    }
}

impl Run {
    /// A new run, or the one that the log directory holds.
    fn open(logdir: &Path, world: World, settings: &Resolved) -> Result<Self> {
        let pool = Arc::new(Pool::new(settings.config.threads)?);
        let assemble = |loaded| Run::assemble(logdir, world.clone(), settings, pool.clone(), loaded);
        let Some(newest) = checkpoint::load(logdir)? else {
            return assemble(None);
        };
        newest.notices.iter().for_each(|notice| eprintln!("{notice}"));
        let generation = newest.generation;
        match assemble(Some(newest)) {
            Ok(run) => Ok(run),
            Err(cause) => {
                // An episode file may be damaged that only the newest checkpoint names.
                let older = checkpoint::generations(logdir)?.into_iter().rev().find(|&g| g < generation);
                let Some(older) = older else { return Err(cause) };
                let run = assemble(Some(checkpoint::load_generation(logdir, older)?))?;
                let aside = checkpoint::set_aside(logdir, generation)?;
                eprintln!(
                    "Checkpoint {generation} cannot be used: {cause} It is now {}. Going on from checkpoint {older} instead.",
                    aside.display()
                );
                Ok(run)
            }
        }
    }

    /// A run from a checkpoint, or from nothing. What does not fit is refused before anything is written.
    fn assemble(
        logdir: &Path,
        world: World,
        settings: &Resolved,
        pool: Arc<Pool>,
        loaded: Option<Loaded>,
    ) -> Result<Self> {
        let c = world.config().clone();
        let mut agent = Agent::new(world, pool);
        let mut learner = Learner::new(&agent);
        let mut collector = Collector::new(&agent)?;
        let state = loaded.as_ref().map(|l| l.state.clone()).unwrap_or_default();
        let decode = |what: &str, cause: serde_json::Error| {
            Error::new(format!("the checkpoint's {what} cannot be read: {cause}"))
        };
        let (mut manifest, mut journal_state) = (Manifest::default(), JournalState::default());
        let mut open_rows: &[u8] = &[];
        if let Some(loaded) = &loaded {
            agent.load(loaded, true)?;
            learner.restore(&state["learner"])?;
            collector.restore(loaded)?;
            manifest = serde_json::from_value(state["replay"].clone()).map_err(|e| decode("list of episodes", e))?;
            journal_state = serde_json::from_value(state["journal"].clone()).map_err(|e| decode("journal", e))?;
            open_rows = loaded.bytes.get("replay.open").map_or(&[], Vec::as_slice);
        }
        files::write_atomic(&logdir.join(CONFIG_FILE), settings.toml().as_bytes())?;
        let episodes = logdir.join(EPISODES);
        let capacity = usize::try_from(c.replay_bytes).unwrap_or(usize::MAX);
        let (replay, moved) =
            Replay::restore(agent.world.layout.clone(), c.envs, capacity, c.seed, &episodes, &manifest, open_rows)?;
        if moved > 0 {
            eprintln!(
                "{moved} episodes collected after the checkpoint were set aside in {}",
                episodes.join("aside").display()
            );
        }
        let journal = Journal::open(logdir, &journal_state)?;
        let recent: Vec<(u64, u64, bool)> = serde_json::from_value(state["recent"].clone()).unwrap_or_default();
        Ok(Run {
            logdir: logdir.to_path_buf(),
            agent,
            learner,
            collector,
            replay,
            journal,
            steps: state["steps"].as_u64().unwrap_or(0),
            episodes: state["episodes"].as_u64().unwrap_or(0),
            recent: recent
                .into_iter()
                .map(|(total, length, success)| EpisodeEnd { total_reward: f64::from_bits(total), length, success })
                .collect(),
            tested: serde_json::from_value(state["tested"].clone()).unwrap_or_default(),
        })
    }

    /// Saves everything that the rest of the run depends on.
    fn save(&mut self) -> Result<()> {
        self.learner.fetch(&mut self.agent, true)?;
        let manifest = self.replay.manifest()?;
        let open = self.replay.open_rows();
        let journal = self.journal.checkpoint()?;
        let (collector, environments) = self.collector.state();
        let recent: Vec<(u64, u64, bool)> =
            self.recent.iter().map(|e| (e.total_reward.to_bits(), e.length, e.success)).collect();
        let state = json!({
            "steps": self.steps,
            "episodes": self.episodes,
            "learner": self.learner.state(),
            "collector": collector,
            "replay": manifest,
            "journal": journal,
            "recent": recent,
            "tested": self.tested,
        });
        let mut tensors = self.agent.tensors();
        tensors.extend(self.collector.memory());
        let bytes = vec![("replay.open".to_string(), &open[..]), ("environments".to_string(), &environments[..])];
        checkpoint::save(&self.logdir, &Checkpoint { tensors, bytes, state })?;
        Ok(())
    }

    fn train(&mut self) -> Result<()> {
        let c = self.agent.world.config().clone();
        let mut display = Progress::new(c.steps);
        let mut logged = (self.steps, Instant::now());
        while self.steps < c.steps {
            let before = self.steps;
            let filled = self.filled();
            let actor = match filled {
                false => Actor::Random,
                true => Actor::Policy { noise: c.expl_amount_at(before) },
            };
            let ends = self.collector.step(&mut self.agent, &mut self.replay, actor)?;
            self.steps += self.collector.stride(&self.agent);
            for end in ends {
                self.log_episode(&end)?;
            }
            if before < c.prefill && self.steps >= c.prefill && !self.filled() {
                display.println(
                    "no episode has ended yet, and chunks = within learns from those that have: random play goes on until one has",
                );
            }
            let updates = if !self.filled() {
                0
            } else if !filled {
                c.pretrain
            } else {
                c.train_steps * crossings(before - c.prefill, self.steps - c.prefill, c.train_every) as usize
            };
            for update in 1..=updates {
                let metrics = self.learner.update_amid(&mut self.agent, &self.replay, update < updates)?;
                metrics.into_iter().for_each(|(name, value)| self.journal.add(name, value));
                self.show(&mut display);
            }
            self.learner.fetch(&mut self.agent, false)?;
            if crossings(before, self.steps, c.log_every) > 0 {
                if filled && c.exploration() != crate::config::Exploration::None {
                    self.journal.add("expl_amount", c.expl_amount_at(before));
                }
                if updates > 0 {
                    let entropies = self.learner.entropies()?;
                    entropies.into_iter().for_each(|(name, value)| self.journal.add(name, value));
                }
                let fps = (self.steps - logged.0) as f64 / logged.1.elapsed().as_secs_f64();
                logged = (self.steps, Instant::now());
                self.journal.write_means(self.steps, &[("fps", fps)])?;
            }
            if self.filled() && crossings(before, self.steps, c.eval_every) > 0 && self.steps < c.steps {
                self.test(c.eval_episodes, &mut display)?;
            }
            if self.filled() && crossings(before, self.steps, c.video_every) > 0 {
                let frames = dream::open_loop(&mut self.agent, self.steps)?;
                self.journal.video(self.steps, "agent/openl", &frames, dream::FRAMES_PER_SECOND)?;
            }
            if crossings(before, self.steps, c.save_every) > 0 || self.steps >= c.steps {
                self.save()?;
            }
            self.show(&mut display);
        }
        display.finish();
        Ok(())
    }

    /// Whether random play is over: `prefill` is reached, and an episode has ended where only such can be drawn.
    fn filled(&self) -> bool {
        let c = self.agent.world.config();
        self.steps >= c.prefill && (c.chunks != config::Chunks::Within || self.replay.finished_episodes() > 0)
    }

    fn log_episode(&mut self, end: &EpisodeEnd) -> Result<()> {
        self.episodes += 1;
        let mut scalars = vec![
            ("train/return", end.total_reward),
            ("train/length", end.length as f64),
            ("episodes", self.episodes as f64),
        ];
        if self.has_goal() {
            scalars.insert(2, ("train/success", f64::from(u8::from(end.success))));
        }
        self.journal.write(self.steps, "sim", &scalars)?;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(*end);
        Ok(())
    }

    /// Whether episodes of the task can succeed; where they cannot, only returns are shown.
    fn has_goal(&self) -> bool {
        self.agent.world.model.actions.discrete()
    }

    fn test(&mut self, episodes: usize, display: &mut Progress) -> Result<()> {
        let seed = test_seed(self.agent.world.config().seed);
        let split = self.agent.world.judged_by();
        let greedy = evaluate(&mut self.agent, episodes, seed, split, Choice::Mode, None)?;
        let (success, total) = (Scores::mean(&greedy.successes), Scores::mean(&greedy.returns));
        let mut scalars = vec![("test/return", total), ("test/length", Scores::mean(&greedy.lengths))];
        let mut line = format!("step {:>7}: return {total:.3}", progress::grouped(self.steps));
        if self.has_goal() {
            scalars.push(("test/success", success));
            line += &format!(", success {:.1} %", 100.0 * success);
        }
        self.journal.write(self.steps, "sim", &scalars)?;
        self.tested = Some((success, total));
        let layouts = if greedy.unseen && greedy.layouts > 0 { " on layouts that training never sees" } else { "" };
        display.println(&format!("{line}, greedy, over {episodes} episodes{layouts}"));
        Ok(())
    }

    fn show(&self, display: &mut Progress) {
        let recent = |f: &dyn Fn(&EpisodeEnd) -> f64| {
            (!self.recent.is_empty()).then(|| self.recent.iter().map(f).sum::<f64>() / self.recent.len() as f64)
        };
        let names = ["model_loss", "actor_loss", "value_loss"];
        let losses: Vec<(&str, f64)> = names.iter().filter_map(|&n| self.journal.mean(n).map(|m| (n, m))).collect();
        let goal = self.has_goal();
        display.update(&Status {
            step: self.steps,
            updates: self.learner.step.updates,
            train_success: recent(&|e| f64::from(u8::from(e.success))).filter(|_| goal),
            test_success: self.tested.map(|t| t.0).filter(|_| goal),
            train_return: recent(&|e| e.total_reward),
            test_return: self.tested.map(|t| t.1),
            losses: &losses,
        });
    }

    /// The last evaluation and the summary.
    fn finish(&mut self) -> Result<()> {
        let c = self.agent.world.config().clone();
        let split = self.agent.world.judged_by();
        let scores = evaluate(&mut self.agent, c.final_eval_episodes, test_seed(c.seed), split, Choice::Mode, None)?;
        let logdir = self.logdir.display();
        say!(
            "\n{} after {} environment steps and {} updates",
            c.task,
            progress::grouped(self.steps),
            progress::grouped(self.learner.step.updates)
        );
        stdout::write(super::eval::summary(&scores, self.has_goal()))?;
        let mut next = Table::new(&["", ""]);
        next.row([
            format!("  dreamer-fast dream --logdir {logdir} --out dream.gif"),
            "what the agent imagines, beside what happened".into(),
        ]);
        next.row([format!("  dreamer-fast eval --logdir {logdir} --seed 1"), "the same on other fresh layouts".into()]);
        next.row([format!("  tensorboard --logdir {logdir}"), "curves and videos".into()]);
        next.row([
            format!("  {}", self.logdir.join("metrics.jsonl").display()),
            "the same numbers, a line of JSON each".into(),
        ]);
        say!("\nLook next (`cargo run --release --` stands for `dreamer-fast` in a clone):");
        stdout::write(next)?;
        say!("parameters and optimizer: checksum {:08x}", self.agent.checksum());
        Ok(())
    }
}

/// The seed of the layouts that evaluations during and after training play.
fn test_seed(seed: u64) -> u64 {
    seed ^ 0x7e57_7e57_7e57_7e57
}
