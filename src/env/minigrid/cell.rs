//! What can stand in a cell, in minigrid's own numbers (`minigrid/core/constants.py`, `world_object.py`).

/// The type of an object, numbered as in `OBJECT_TO_IDX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Hidden from the agent.
    Unseen = 0,
    /// Nothing.
    Empty = 1,
    /// Blocks the way and the sight.
    Wall = 2,
    /// A coloured tile that can be walked on; in no layout here, but it can be drawn.
    Floor = 3,
    /// Open, closed or locked, see the `state` of a [`Cell`].
    Door = 4,
    /// Unlocks the doors of its colour while carried.
    Key = 5,
    /// Can be carried.
    Ball = 6,
    /// In no layout here, but it can be drawn.
    Box = 7,
    /// Ends the episode with a reward.
    Goal = 8,
    /// Ends the episode without a reward.
    Lava = 9,
    /// The agent, in encodings of a whole grid.
    Agent = 10,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 11;
    const ALL: [Kind; Self::COUNT] = [
        Kind::Unseen,
        Kind::Empty,
        Kind::Wall,
        Kind::Floor,
        Kind::Door,
        Kind::Key,
        Kind::Ball,
        Kind::Box,
        Kind::Goal,
        Kind::Lava,
        Kind::Agent,
    ];
}

/// Colours, numbered as in `COLOR_TO_IDX`.
pub mod color {
    /// (255, 0, 0)
    pub const RED: u8 = 0;
    /// (0, 255, 0)
    pub const GREEN: u8 = 1;
    /// (0, 0, 255)
    pub const BLUE: u8 = 2;
    /// (112, 39, 195)
    pub const PURPLE: u8 = 3;
    /// (255, 255, 0)
    pub const YELLOW: u8 = 4;
    /// (100, 100, 100)
    pub const GREY: u8 = 5;
    /// How many colours there are.
    pub const COUNT: usize = 6;
    /// The order in which minigrid draws a random colour: by name.
    pub const BY_NAME: [u8; COUNT] = [BLUE, GREEN, GREY, PURPLE, RED, YELLOW];
}

/// States of a door, numbered as in `STATE_TO_IDX`; every other object has state 0.
pub mod state {
    /// Can be walked and seen through.
    pub const OPEN: u8 = 0;
    /// Opened by `toggle`.
    pub const CLOSED: u8 = 1;
    /// Opened by `toggle` with a key of its colour.
    pub const LOCKED: u8 = 2;
    /// How many states there are.
    pub const COUNT: usize = 3;
}

/// One cell of a grid: the three bytes of minigrid's encoding (type, colour, state), and in the fourth byte what the stepping
/// and looking code asks of it, so that each question is one mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell(u32);

const OPAQUE: u32 = 1 << 31;
const PASSABLE: u32 = 1 << 30;
const PORTABLE: u32 = 1 << 29;

impl Cell {
    /// What the agent does not see.
    pub const UNSEEN: Cell = Cell::new(Kind::Unseen, 0, 0);
    /// Nothing.
    pub const EMPTY: Cell = Cell::new(Kind::Empty, 0, 0);
    /// A wall.
    pub const WALL: Cell = Cell::new(Kind::Wall, color::GREY, 0);
    /// A goal.
    pub const GOAL: Cell = Cell::new(Kind::Goal, color::GREEN, 0);
    /// Lava.
    pub const LAVA: Cell = Cell::new(Kind::Lava, color::RED, 0);

    /// An object of any kind.
    pub const fn new(kind: Kind, color: u8, state: u8) -> Cell {
        let flags = match kind {
            Kind::Wall => OPAQUE,
            Kind::Door if state == state::OPEN => PASSABLE,
            Kind::Door => OPAQUE,
            Kind::Empty | Kind::Floor | Kind::Goal | Kind::Lava => PASSABLE,
            Kind::Key | Kind::Ball | Kind::Box => PORTABLE,
            Kind::Unseen | Kind::Agent => 0,
        };
        Cell(kind as u32 | (color as u32) << 8 | (state as u32) << 16 | flags)
    }

    /// A key.
    pub const fn key(color: u8) -> Cell {
        Cell::new(Kind::Key, color, 0)
    }

    /// A ball.
    pub const fn ball(color: u8) -> Cell {
        Cell::new(Kind::Ball, color, 0)
    }

    /// A door; see [`state`].
    pub const fn door(color: u8, state: u8) -> Cell {
        Cell::new(Kind::Door, color, state)
    }

    /// The cell of an encoding, or `None` if no object is encoded so.
    pub fn decode([kind, color, state]: [u8; 3]) -> Option<Cell> {
        let kind = *Kind::ALL.get(usize::from(kind))?;
        let states = if kind == Kind::Door { state::COUNT } else { 1 };
        (usize::from(color) < color::COUNT && usize::from(state) < states).then(|| Cell::new(kind, color, state))
    }

    /// (type, colour, state).
    #[inline(always)]
    pub fn encode(self) -> [u8; 3] {
        let [kind, color, state, _] = self.0.to_le_bytes();
        [kind, color, state]
    }

    /// The encoding in the three lower bytes, lowest first; the highest byte has no meaning outside of this type.
    #[inline(always)]
    pub fn word(self) -> u32 {
        self.0
    }

    /// The type of the object.
    #[inline(always)]
    pub fn kind(self) -> Kind {
        Kind::ALL[(self.0 & 0xff) as usize]
    }

    /// The colour of the object.
    #[inline(always)]
    pub fn color(self) -> u8 {
        self.encode()[1]
    }

    /// The state of the object.
    #[inline(always)]
    pub fn state(self) -> u8 {
        self.encode()[2]
    }

    /// 1 if the cell hides what is behind it, else 0.
    #[inline(always)]
    pub fn opaque(self) -> u64 {
        u64::from(self.0 >> 31)
    }

    /// Whether the agent may step on it.
    #[inline(always)]
    pub fn passable(self) -> bool {
        self.0 & PASSABLE != 0
    }

    /// Whether the agent may pick it up.
    #[inline(always)]
    pub fn portable(self) -> bool {
        self.0 & PORTABLE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_decodes_to_itself() {
        let mut valid = 0;
        for code in 0..16 * 8 * 4_u32 {
            let bytes = [(code & 15) as u8, (code >> 4 & 7) as u8, (code >> 7) as u8];
            if let Some(cell) = Cell::decode(bytes) {
                assert_eq!(cell.encode(), bytes);
                valid += 1;
            }
        }
        assert_eq!(valid, 10 * 6 + 6 * 3);
    }
}
