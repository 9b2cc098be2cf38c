//! What a family of tasks must say about itself.

use super::expert::Target;
use super::grid::Point;
use super::world::{World, action};
use crate::env::Outcome;

/// A task: its layout, and its rules where they differ from the shared ones. It has no state of its own; what it must keep
/// in mind lies in [`World::places`].
pub trait Task: Send + Sync + 'static {
    /// Columns and rows of the grid.
    fn size(&self) -> (usize, usize);

    /// The step at which an episode is truncated.
    fn max_steps(&self) -> u32;

    /// What there is to do, in one sentence.
    fn summary(&self) -> &'static str;

    /// Whether walls hide nothing.
    fn see_through(&self) -> bool {
        false
    }

    /// How many of the actions the task has: the first 3 or all 7.
    fn actions(&self) -> usize {
        action::COUNT
    }

    /// How many cells the task keeps in mind in [`World::places`].
    fn places(&self) -> usize {
        0
    }

    /// Lays out an episode in a cleared world: the cells, the agent, the places.
    fn generate(&self, world: &mut World);

    /// One step.
    fn step(&self, world: &mut World, action: usize) -> Outcome {
        world.act(action)
    }

    /// What an expert must bring about; `None` if no plan can promise it.
    fn target(&self, _world: &World) -> Option<Target> {
        Some(Target::Goal)
    }
}

/// The top left corner of a grid.
pub const ORIGIN: Point = Point::new(0, 0);
