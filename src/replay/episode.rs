//! One episode as flat arrays, and the description of a row that all episodes of a run share.

use crate::base::{Error, Result};

/// How an observation is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObsKind {
    /// Bytes: pixels, or the small integers of a symbolic grid.
    Bytes,
    /// f32: a state vector.
    Floats,
}

/// How an action is stored; in batches it is always A numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// One of A actions: one-hot in rows, batches and files, an index in memory. The reset row's action is all zeros.
    Discrete(usize),
    /// A real numbers.
    Continuous(usize),
}

impl ActionKind {
    /// A, the number of entries of an action in a row.
    pub fn size(self) -> usize {
        match self {
            ActionKind::Discrete(size) | ActionKind::Continuous(size) => size,
        }
    }
}

/// What every row of a replay looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Name of the observation in episode files: `image`, `symbolic`, `vector`.
    pub key: String,
    /// Shape of one observation, such as `[64, 64, 3]` (height, width, channels) or `[3]`.
    pub shape: Vec<usize>,
    /// How observations are stored.
    pub observation: ObsKind,
    /// How actions are stored.
    pub action: ActionKind,
}

impl Layout {
    /// Entries of one observation.
    pub fn observation_size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes that one row takes in memory.
    pub fn row_bytes(&self) -> usize {
        let observation = match self.observation {
            ObsKind::Bytes => self.observation_size(),
            ObsKind::Floats => 4 * self.observation_size(),
        };
        let action = match self.action {
            ActionKind::Discrete(_) => 2,
            ActionKind::Continuous(size) => 4 * size,
        };
        observation + action + 8
    }
}

/// Observations, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Obs<'a> {
    /// Of kind [`ObsKind::Bytes`].
    Bytes(&'a [u8]),
    /// Of kind [`ObsKind::Floats`].
    Floats(&'a [f32]),
}

/// A buffer for observations.
#[derive(Debug)]
pub enum ObsMut<'a> {
    /// For kind [`ObsKind::Bytes`].
    Bytes(&'a mut [u8]),
    /// For kind [`ObsKind::Floats`].
    Floats(&'a mut [f32]),
}

/// One row: an observation and what led to it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// o_t, `layout.observation_size()` entries.
    pub observation: Obs<'a>,
    /// a_{t-1}, A entries; all zeros at a reset.
    pub action: &'a [f32],
    /// r_t, earned on the way here; 0 at a reset.
    pub reward: f32,
    /// 0 where the world ended, otherwise 1 (or an environment's own factor in between).
    pub discount: f32,
    /// Whether this is a reset.
    pub is_first: bool,
    /// Whether the episode ends here, by termination or by truncation.
    pub is_last: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Observations {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

#[derive(Debug, Clone, PartialEq)]
enum Actions {
    /// Index plus one; 0 stands for no action.
    Discrete(Vec<u16>),
    Continuous(Vec<f32>),
}

/// The rows of one episode, finished or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    observation_size: usize,
    action_size: usize,
    observations: Observations,
    actions: Actions,
    rewards: Vec<f32>,
    discounts: Vec<f32>,
    /// Indices of the rows with a positive reward, ascending.
    rewarding: Vec<u32>,
}

impl Episode {
    /// An episode without rows.
    pub fn new(layout: &Layout) -> Self {
        let action_size = layout.action.size();
        assert!(action_size < usize::from(u16::MAX), "an action has {action_size} entries, at most 65534 are possible");
        Episode {
            observation_size: layout.observation_size(),
            action_size,
            observations: match layout.observation {
                ObsKind::Bytes => Observations::Bytes(Vec::new()),
                ObsKind::Floats => Observations::Floats(Vec::new()),
            },
            actions: match layout.action {
                ActionKind::Discrete(_) => Actions::Discrete(Vec::new()),
                ActionKind::Continuous(_) => Actions::Continuous(Vec::new()),
            },
            rewards: Vec::new(),
            discounts: Vec::new(),
            rewarding: Vec::new(),
        }
    }

    /// Number of rows: steps plus one for the reset.
    #[allow(clippy::len_without_is_empty)]
    pub fn rows(&self) -> usize {
        self.rewards.len()
    }

    /// The sum of rewards.
    pub fn total_reward(&self) -> f64 {
        self.rewards.iter().map(|&reward| f64::from(reward)).sum()
    }

    /// Whether the last row says that the world ended (and not the clock).
    pub fn is_terminated(&self) -> bool {
        self.discounts.last() == Some(&0.0)
    }

    /// r_t of every row.
    pub fn rewards(&self) -> &[f32] {
        &self.rewards
    }

    /// discount_t of every row.
    pub fn discounts(&self) -> &[f32] {
        &self.discounts
    }

    /// Indices of the rows with a positive reward, ascending.
    pub fn rewarding(&self) -> &[u32] {
        &self.rewarding
    }

    /// All observations, row after row.
    pub fn observations(&self) -> Obs<'_> {
        match &self.observations {
            Observations::Bytes(all) => Obs::Bytes(all),
            Observations::Floats(all) => Obs::Floats(all),
        }
    }

    /// Appends a row. What an environment may get wrong is an `Error` and stores nothing: a number that is not finite, a discount
    /// outside [0, 1], an action that is not one-hot, a reset in the middle or a step without one. A wrong size panics.
    pub fn push(&mut self, row: &Row) -> Result<()> {
        let index = self.rows();
        let refuse =
            |what: String| Err(Error::new(format!("row {index} of an episode {what}. The row is not stored.")));
        assert_eq!(row.action.len(), self.action_size, "an action has {} entries", row.action.len());
        if row.is_first != (index == 0) {
            let what = if index == 0 { "is not marked as a reset" } else { "is marked as a reset" };
            return refuse(what.into());
        }
        if !row.reward.is_finite() || !row.action.iter().all(|a| a.is_finite()) {
            return refuse(format!("has the reward {} and the action {:?}", row.reward, row.action));
        }
        if !(0.0..=1.0).contains(&row.discount) || (row.discount == 0.0 && !row.is_last) {
            return refuse(format!("has the discount {} and is_last {}", row.discount, row.is_last));
        }
        if row.is_first && (row.reward != 0.0 || row.discount != 1.0 || row.action.iter().any(|&a| a != 0.0)) {
            return refuse("is a reset but has a reward, an action or a discount other than 1".into());
        }
        if let Obs::Floats(values) = row.observation
            && let Some(at) = values.iter().position(|x| !x.is_finite())
        {
            return refuse(format!("has the observation entry {at} = {}", values[at]));
        }
        let chosen = match (&self.actions, one_hot(row.action)) {
            (Actions::Discrete(_), None) => return refuse(format!("has the action {:?}, not one-hot", row.action)),
            (Actions::Discrete(_), Some(0)) if !row.is_first => return refuse("has no action".into()),
            (_, chosen) => chosen,
        };
        match (&mut self.observations, row.observation) {
            (Observations::Bytes(all), Obs::Bytes(new)) => extend(all, new, self.observation_size),
            (Observations::Floats(all), Obs::Floats(new)) => extend(all, new, self.observation_size),
            (mine, _) => panic!("the replay stores {mine:.0?} but was given the other kind of observation"),
        }
        match &mut self.actions {
            Actions::Discrete(all) => all.push(chosen.expect("checked above")),
            Actions::Continuous(all) => all.extend_from_slice(row.action),
        }
        if row.reward > 0.0 {
            self.rewarding.push(u32::try_from(index).expect("an episode has fewer than 2^32 rows"));
        }
        self.rewards.push(row.reward);
        self.discounts.push(row.discount);
        Ok(())
    }

    /// Copies o_t of row `t` into `into`, at place `place` of a buffer of observations.
    pub fn copy_observation(&self, t: usize, into: &mut ObsMut, place: usize) {
        let size = self.observation_size;
        match (&self.observations, into) {
            (Observations::Bytes(all), ObsMut::Bytes(buffer)) => {
                buffer[place * size..][..size].copy_from_slice(&all[t * size..][..size]);
            }
            (Observations::Floats(all), ObsMut::Floats(buffer)) => {
                buffer[place * size..][..size].copy_from_slice(&all[t * size..][..size]);
            }
            _ => panic!("the batch has a buffer for the other kind of observation"),
        }
    }

    /// Writes a_{t-1} of row `t` into A entries.
    pub fn copy_action(&self, t: usize, into: &mut [f32]) {
        match &self.actions {
            Actions::Continuous(all) => into.copy_from_slice(&all[t * self.action_size..][..self.action_size]),
            Actions::Discrete(all) => {
                into.fill(0.0);
                if let Some(index) = usize::from(all[t]).checked_sub(1) {
                    into[index] = 1.0;
                }
            }
        }
    }

    /// Gives back memory that growing took in advance.
    pub fn shrink(&mut self) {
        match &mut self.observations {
            Observations::Bytes(all) => all.shrink_to_fit(),
            Observations::Floats(all) => all.shrink_to_fit(),
        }
        match &mut self.actions {
            Actions::Discrete(all) => all.shrink_to_fit(),
            Actions::Continuous(all) => all.shrink_to_fit(),
        }
        self.rewards.shrink_to_fit();
        self.discounts.shrink_to_fit();
        self.rewarding.shrink_to_fit();
    }

    /// Bytes of memory that this episode holds once it is shrunk.
    pub fn memory_bytes(&self) -> usize {
        let observations = match &self.observations {
            Observations::Bytes(all) => all.len(),
            Observations::Floats(all) => 4 * all.len(),
        };
        let actions = match &self.actions {
            Actions::Discrete(all) => 2 * all.len(),
            Actions::Continuous(all) => 4 * all.len(),
        };
        let scalars = self.rewards.len() + self.discounts.len() + self.rewarding.len();
        size_of::<Self>() + observations + actions + 4 * scalars
    }
}

fn extend<E: Copy>(all: &mut Vec<E>, new: &[E], size: usize) {
    assert_eq!(new.len(), size, "an observation has {} entries but the layout says {size}", new.len());
    all.extend_from_slice(new);
}

/// 0 for all zeros, index + 1 for a one-hot vector, `None` for anything else.
fn one_hot(action: &[f32]) -> Option<u16> {
    let mut chosen = 0;
    for (index, &entry) in action.iter().enumerate() {
        match entry {
            0.0 => {}
            1.0 if chosen == 0 => chosen = index as u16 + 1,
            _ => return None,
        }
    }
    Some(chosen)
}
