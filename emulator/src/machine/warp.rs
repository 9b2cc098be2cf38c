//! A warp: 32 lanes, their registers, and which of them run.

use super::async_copy::Copies;
use super::simd::{Wide, Word, lanes_where};
use crate::ptx::inst::{Addr, Base, NOWHERE, P, Program, R};

/// The register files of a warp.
pub struct Registers {
    /// Predicates, a bit per lane.
    pub p: Vec<u32>,
    /// Carry flags, a bit per lane.
    pub carry: u32,
    /// 32-bit registers.
    pub w: Vec<Word>,
    /// 64-bit registers.
    pub d: Vec<Wide>,
}

impl Registers {
    /// Registers that hold the program's literals; `addresses` are those of module variables.
    pub fn new(program: &Program, addresses: &[(R, u64)]) -> Self {
        let [p, w, d] = program.registers.map(|n| n as usize);
        // A NaN in every register that nobody has set: using one is seen in the result.
        let mut g = Registers {
            p: vec![0; p],
            carry: 0,
            w: vec![[0x7fc0_dead; 32]; w],
            d: vec![[0x7ff8_dead_7fc0_dead; 32]; d],
        };
        for &(r, v) in &program.literals[0] {
            g.p[r as usize] = v as u32;
        }
        for &(r, v) in &program.literals[1] {
            g.w[r as usize] = [v as u32; 32];
        }
        for &(r, v) in program.literals[2].iter().chain(addresses) {
            g.d[r as usize] = [v; 32];
        }
        g
    }

    /// The lanes for which a predicate operand is true.
    #[inline(always)]
    pub fn pred(&self, p: P) -> u32 {
        let mask = self.p[p.r as usize];
        if p.not { !mask } else { mask }
    }

    /// The addresses that an operand gives, within its state space.
    #[inline(always)]
    pub fn addresses(&self, addr: &Addr) -> Wide {
        let mut at = [addr.offset as u64; 32];
        match addr.base {
            Base::Zero => {}
            Base::Word(r) => {
                for i in 0..32 {
                    at[i] = at[i].wrapping_add(u64::from(self.w[r as usize][i]));
                }
            }
            Base::Wide(r) => {
                for i in 0..32 {
                    at[i] = at[i].wrapping_add(self.d[r as usize][i]);
                }
            }
        }
        at
    }
}

/// Lanes that wait for their turn.
struct Pending {
    pc: u32,
    mask: u32,
    meet: u32,
}

/// Why a warp does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can run.
    Ready,
    /// It waits at this barrier of its block.
    AtBarrier(usize),
    /// All lanes have exited.
    Done,
}

/// A warp.
pub struct Warp {
    /// Its number in the block.
    pub index: usize,
    /// Registers.
    pub g: Registers,
    /// Next instruction.
    pub pc: u32,
    /// Lanes that execute it.
    pub active: u32,
    /// Where the active lanes meet those that left them.
    meet: u32,
    stack: Vec<Pending>,
    /// Lanes that exist: the last warp of a block may have fewer than 32.
    pub launched: u32,
    /// Lanes that have exited.
    pub exited: u32,
    /// Why it does not run.
    pub state: State,
    /// Local memory, lane after lane.
    pub local: Vec<u8>,
    /// Asynchronous copies under way.
    pub copies: Copies,
}

impl Warp {
    /// Warp `index` of a block with `threads` threads, at the start of the program.
    pub fn new(index: usize, threads: u32, program: &Program, addresses: &[(R, u64)], local_bytes: u32) -> Self {
        let mut warp = Warp {
            index,
            g: Registers::new(program, addresses),
            pc: 0,
            active: 0,
            meet: NOWHERE,
            stack: Vec::new(),
            launched: lanes_where(|lane| ((index * 32 + lane) as u32) < threads),
            exited: 0,
            state: State::Ready,
            local: vec![0; 32 * local_bytes as usize],
            copies: Copies::default(),
        };
        warp.restart();
        warp
    }

    /// Goes back to the start of the program.
    pub fn restart(&mut self) {
        self.pc = 0;
        self.active = self.launched;
        self.meet = NOWHERE;
        self.stack.clear();
        self.exited = 0;
        self.state = State::Ready;
        self.copies = Copies::default();
    }

    /// The active lanes for which `taken` is set go to `target`, the others go on; they meet at `meet`. Returns whether they
    /// part.
    ///
    /// This is the classic stack of SIMT hardware: the lanes that branch run first, up to the branch's immediate
    /// postdominator, then the others, then all of them together.
    #[inline(always)]
    pub fn branch(&mut self, taken: u32, target: u32, meet: u32) -> bool {
        let others = self.active & !taken;
        if others == 0 {
            self.pc = target;
            return false;
        }
        self.pc += 1;
        if taken == 0 {
            return false;
        }
        self.part(meet);
        // Lanes that are at the meeting point already have nothing to do until the others come.
        if self.pc != meet {
            self.stack.push(Pending { pc: self.pc, mask: others, meet });
        }
        (self.pc, self.active) = (target, taken);
        true
    }

    /// Goes on in groups of lanes, each at its own instruction, which meet at `meet`.
    pub fn branch_many(&mut self, groups: &[(u32, u32)], meet: u32) {
        if groups.len() > 1 {
            self.part(meet);
        }
        for &(pc, mask) in &groups[1..] {
            self.stack.push(Pending { pc, mask, meet });
        }
        (self.pc, self.active) = groups[0];
    }

    /// Leaves word that the active lanes go on together from `meet`.
    fn part(&mut self, meet: u32) {
        if self.meet != meet {
            self.stack.push(Pending { pc: meet, mask: self.active, meet: self.meet });
            self.meet = meet;
        }
    }

    /// Lets waiting lanes run while the active ones are where they meet them.
    #[inline(always)]
    pub fn settle(&mut self) {
        while self.pc == self.meet || self.active == 0 {
            match self.stack.pop() {
                None => {
                    self.state = State::Done;
                    return;
                }
                Some(p) => {
                    (self.pc, self.active, self.meet) = (p.pc, p.mask & !self.exited, p.meet);
                    // Lanes that meet only at the exit have all gone there.
                    if self.pc == NOWHERE {
                        self.active = 0;
                    }
                }
            }
        }
    }

    /// These lanes exit.
    #[inline(always)]
    pub fn exit(&mut self, mask: u32) {
        self.exited |= mask;
        self.active &= !mask;
        self.pc += 1;
    }
}
