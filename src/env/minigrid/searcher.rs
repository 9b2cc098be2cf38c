//! A searcher: what can be reached without seeing everything. It finds the goal of one room from the agent's 7 x 7 view alone.
//!
//! It keeps a map in coordinates of its own, in which it begins at (0, 0) and looks up. Where that is in the room, it does not know: it weighs every
//! place and direction of the start by what was seen since, with a wall in a quarter of the cells inside the room and in all of them at its border and
//! beyond. The goal is equally likely in every cell inside that was not seen yet.
//!
//! - With the goal in the map, it takes a shortest path there.
//! - Before, it goes to where the chance of seeing the goal, divided by the steps to get there, is largest.
//!
//! Both take what was not seen for free, and plan anew at every step. This is no optimum, so what it needs beyond the shortest path is an upper bound of
//! what must be paid for looking. For rooms without doors and objects.

use super::cell::Kind;
use super::sight::{SYMBOLIC_BYTES, VIEW};
use super::world::action;

/// Share of the cells inside the room that are expected to be walls: `Simple-10x10` has 15 in 64.
const WALLS: f64 = 0.25;

/// What a cell of the map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Unseen,
    Free,
    Wall,
    Goal,
}

/// A place and direction: columns to the right, rows down, quarter turns to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pose {
    x: i32,
    y: i32,
    turns: u8,
}

impl Pose {
    /// The cell so far ahead and to the right.
    fn cell(self, ahead: i32, right: i32) -> (i32, i32) {
        match self.turns {
            0 => (self.x + right, self.y - ahead),
            1 => (self.x + ahead, self.y + right),
            2 => (self.x - right, self.y + ahead),
            _ => (self.x - ahead, self.y - right),
        }
    }

    /// Where an action leads, if nothing is in the way.
    fn after(self, action: usize) -> Pose {
        match action {
            action::LEFT => Pose { turns: (self.turns + 3) % 4, ..self },
            action::RIGHT => Pose { turns: (self.turns + 1) % 4, ..self },
            _ => {
                let (x, y) = self.cell(1, 0);
                Pose { x, y, ..self }
            }
        }
    }

    /// The cells of the view from here, those of column `i` and row `j` at `i * 7 + j`.
    fn view(self) -> impl Iterator<Item = (i32, i32)> {
        let side = VIEW as i32;
        (0..side).flat_map(move |i| (0..side).map(move |j| self.cell(side - 1 - j, i - side / 2)))
    }
}

/// The searcher's mind during one episode.
#[derive(Debug, Clone)]
pub struct Searcher {
    /// Columns and rows of the grid, border included.
    size: (i32, i32),
    /// The map reaches this far from the start in each direction.
    reach: i32,
    known: Vec<Known>,
    pose: Pose,
}

impl Searcher {
    /// At the start of an episode in a room of so many columns and rows, its border included.
    pub fn new(width: usize, height: usize) -> Self {
        // As far as one can walk, and then see.
        let reach = (width.max(height) + VIEW) as i32;
        let side = (2 * reach + 1) as usize;
        let size = (width as i32, height as i32);
        Searcher { size, reach, known: vec![Known::Unseen; side * side], pose: Pose { x: 0, y: 0, turns: 0 } }
    }

    /// The next action, given the symbolic observation. A step forward is taken to succeed unless the map holds a wall there.
    pub fn act(&mut self, observation: &[u8]) -> usize {
        self.look(observation);
        let likely = self.goal_likely();
        let action = self.plan(&likely);
        let next = self.pose.after(action);
        if self.known[self.at((next.x, next.y))] != Known::Wall {
            self.pose = next;
        }
        action
    }

    fn at(&self, (x, y): (i32, i32)) -> usize {
        ((y + self.reach) * (2 * self.reach + 1) + x + self.reach) as usize
    }

    /// Enters what is seen into the map.
    fn look(&mut self, observation: &[u8]) {
        assert_eq!(observation.len(), SYMBOLIC_BYTES, "a symbolic observation");
        for (cell, seen) in self.pose.view().zip(observation.chunks_exact(3)) {
            let at = self.at(cell);
            if seen[0] != Kind::Unseen as u8 && self.known[at] == Known::Unseen {
                self.known[at] = match seen[0] {
                    kind if kind == Kind::Wall as u8 => Known::Wall,
                    kind if kind == Kind::Goal as u8 => Known::Goal,
                    _ => Known::Free,
                };
            }
        }
    }

    /// How likely the goal is in each cell of the map, up to a factor.
    fn goal_likely(&self) -> Vec<f64> {
        let mut likely = vec![0.0; self.known.len()];
        let span = -self.reach..=self.reach;
        let cells: Vec<(i32, i32)> = span.clone().flat_map(|y| span.clone().map(move |x| (x, y))).collect();
        for x in 1..self.size.0 - 1 {
            for y in 1..self.size.1 - 1 {
                for turns in 0..4 {
                    let start = Pose { x, y, turns };
                    let inside = |(x, y): (i32, i32)| {
                        let (x, y) = start.cell(-y, x);
                        (1..self.size.0 - 1).contains(&x) && (1..self.size.1 - 1).contains(&y)
                    };
                    // What was seen, if the episode began there.
                    let weight: f64 = cells
                        .iter()
                        .map(|&cell| match (self.known[self.at(cell)], inside(cell)) {
                            (Known::Unseen, _) | (Known::Wall, false) => 1.0,
                            (Known::Wall, true) => WALLS,
                            (_, true) => 1.0 - WALLS,
                            (_, false) => 0.0,
                        })
                        .product();
                    if weight > 0.0 {
                        for &cell in
                            cells.iter().filter(|&&cell| self.known[self.at(cell)] == Known::Unseen && inside(cell))
                        {
                            likely[self.at(cell)] += weight;
                        }
                    }
                }
            }
        }
        likely
    }

    /// The first action towards the goal, or towards the best place to look from. Breadth first over poses.
    fn plan(&self, likely: &[f64]) -> usize {
        let goal_known = self.known.contains(&Known::Goal);
        let key = |pose: Pose| 4 * self.at((pose.x, pose.y)) + usize::from(pose.turns);
        let mut reached = vec![false; 4 * self.known.len()];
        reached[key(self.pose)] = true;
        // Poses with the steps to them and the first action on the way.
        let mut queue = vec![(self.pose, 0_u32, None)];
        let mut best = (0.0, action::LEFT);
        let mut head = 0;
        while head < queue.len() {
            let (pose, steps, first) = queue[head];
            head += 1;
            for action in [action::LEFT, action::RIGHT, action::FORWARD] {
                let next = pose.after(action);
                let cell = self.at((next.x, next.y));
                // Where the room cannot be, there is no way.
                let blocked = match self.known[cell] {
                    Known::Wall => true,
                    Known::Unseen => likely[cell] == 0.0,
                    Known::Free | Known::Goal => false,
                };
                if blocked || std::mem::replace(&mut reached[key(next)], true) {
                    continue;
                }
                let first = first.unwrap_or(action);
                if self.known[cell] == Known::Goal {
                    return first;
                }
                let steps = steps + 1;
                if !goal_known {
                    let chance: f64 = next.view().map(|cell| likely[self.at(cell)]).sum();
                    if chance / f64::from(steps) > best.0 {
                        best = (chance / f64::from(steps), first);
                    }
                }
                queue.push((next, steps, Some(first)));
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Action, Env, Options, make};

    /// Steps of the searcher, and of the expert, from where an environment stands.
    fn compared(env: &mut dyn Env, side: usize) -> (usize, usize) {
        let start = env.save();
        let mut shortest = 0;
        while let Some(action) = env.expert() {
            shortest += 1;
            if env.step(Action::Discrete(action)).ended() {
                break;
            }
        }
        env.load(&start).unwrap();
        let (mut searcher, mut observation) = (Searcher::new(side, side), [0; SYMBOLIC_BYTES]);
        for steps in 1.. {
            env.write_bytes(&mut observation);
            let outcome = env.step(Action::Discrete(searcher.act(&observation)));
            if outcome.ended() {
                assert!(outcome.success, "the searcher does not arrive");
                return (steps, shortest);
            }
        }
        unreachable!()
    }

    #[test]
    fn a_goal_in_view_is_reached_by_a_shortest_path() {
        // The agent stands at (1, 1) and looks right, the goal lies at (3, 3).
        let mut env = make("MiniGrid-Empty-5x5-v0", &Options::default()).unwrap();
        assert_eq!(compared(&mut *env, 5), (5, 5));
    }

    #[test]
    fn it_arrives_in_every_room_and_pays_for_looking() {
        let mut env = make("Simple-10x10", &Options::default()).unwrap();
        let (mut beyond, rooms) = (0, 100);
        for seed in 0..rooms {
            env.reset(Some(seed));
            let (steps, shortest) = compared(&mut *env, 10);
            assert!(steps >= shortest, "seed {seed}: {steps} steps, but a shortest path has {shortest}");
            beyond += steps - shortest;
        }
        // What is not in view at first costs a turn or two.
        assert!((rooms / 4..3 * rooms / 2).contains(&(beyond as u64)), "{beyond} steps beyond in {rooms} rooms");
    }

    /// In a room of 5 x 5 that shows nothing but its far wall: where the agent may be, and where the goal.
    #[test]
    fn the_goal_is_likely_where_the_room_can_be_and_nothing_was_seen() {
        let mut searcher = Searcher::new(5, 5);
        let likely = searcher.goal_likely();
        // Any of 9 cells in any of 4 directions: the agent's own is inside in all of them.
        assert_eq!(likely[searcher.at((0, 0))], 36.0);
        // Two cells away in a direction is inside for a third of the starts, three away for none.
        assert_eq!((likely[searcher.at((0, -2))], likely[searcher.at((0, -3))]), (12.0, 0.0));
        // A row of walls ahead, free cells beside the agent: it stands in the middle of a side and looks at the border.
        for x in -2..=2 {
            let (ahead, beside) = (searcher.at((x, -1)), searcher.at((x, 0)));
            searcher.known[ahead] = Known::Wall;
            searcher.known[beside] = if x.abs() == 2 { Known::Wall } else { Known::Free };
        }
        let likely = searcher.goal_likely();
        let [near, far, outside] = [(0, 1), (0, 2), (0, 3)].map(|cell| likely[searcher.at(cell)]);
        assert!(near > 0.0 && far > 0.9 * near && far <= near && outside < 0.1 * near, "{near} {far} {outside}");
        assert!(likely.iter().zip(&searcher.known).all(|(&p, &known)| p == 0.0 || known == Known::Unseen));
    }
}
