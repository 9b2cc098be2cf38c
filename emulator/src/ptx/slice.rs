//! What of a kernel decides which addresses of global memory it accesses.
//!
//! A backward slice: accesses of global memory, barriers and exits stay; so does a branch on one of whose ways something stays, and whatever
//! sets a register that something that stays reads. What is computed merely to be stored goes. Registers are followed without regard to
//! the order of instructions, so the slice may hold too much, never too little.
//!
//! Global memory is not followed: a slice stores nothing there. A load whose value decides an address is marked, so that it is a fault where it
//! meets what the launch itself has stored, and so is an atomic on global memory.

use super::cfg::meeting_points;
use super::inst::{Addr, Base, Inst, NOWHERE, Op, Order, P, Program, R, Space, Vote};

/// The register files, and the carry flag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    Predicate,
    Word,
    Wide,
    Carry,
}
use File::{Carry, Predicate, Wide, Word};

/// What an instruction sets and reads.
#[derive(Default)]
struct Registers {
    sets: Vec<(File, R)>,
    reads: Vec<(File, R)>,
}

fn wide(is: bool) -> File {
    if is { Wide } else { Word }
}

impl Registers {
    fn set(&mut self, file: File, r: R) {
        self.sets.push((file, r));
    }

    fn read(&mut self, file: File, registers: &[R]) {
        self.reads.extend(registers.iter().map(|&r| (file, r)));
    }

    fn p(&mut self, p: P) {
        self.read(Predicate, &[p.r]);
    }

    fn addr(&mut self, addr: &Addr) {
        match addr.base {
            Base::Zero => {}
            Base::Word(r) => self.read(Word, &[r]),
            Base::Wide(r) => self.read(Wide, &[r]),
        }
    }

    /// `stored`: whether it matters what a store writes.
    fn of(inst: &Inst, stored: bool) -> Registers {
        use super::inst::Int;
        let mut x = Registers::default();
        if let Some(p) = inst.guard {
            x.p(p);
        }
        let mut all = |file: File, d: R, reads: &[R]| {
            x.set(file, d);
            x.read(file, reads);
        };
        match &inst.op {
            &(Op::Int32 { d, a, b, c, .. }
            | Op::Int16 { d, a, b, c, .. }
            | Op::Wide16 { d, a, b, c, .. }
            | Op::F32 { d, a, b, c, .. }
            | Op::Half { d, a, b, c, .. }) => all(Word, d, &[a, b, c]),
            &Op::Int64 { f: Int::Shl | Int::ShrU | Int::ShrS | Int::BfeU | Int::BfeS, d, a, b, c } => {
                all(Wide, d, &[a]);
                x.read(Word, &[b, c]);
            }
            &(Op::Int64 { d, a, b, c, .. } | Op::F64 { d, a, b, c, .. }) => all(Wide, d, &[a, b, c]),
            &Op::Count64 { d, a, .. } => {
                x.set(Word, d);
                x.read(Wide, &[a]);
            }
            &Op::Wide32 { d, a, b, c, .. } => {
                all(Wide, d, &[c]);
                x.read(Word, &[a, b]);
            }
            &Op::Carry { f, d, a, b, c } => {
                all(wide(f.wide), d, &[a, b, c]);
                if f.takes {
                    x.read(Carry, &[0]);
                }
                if f.gives {
                    x.set(Carry, 0);
                }
            }
            &Op::Bfi32 { d, a, b, pos, len } => all(Word, d, &[a, b, pos, len]),
            &Op::Bfi64 { d, a, b, pos, len } => {
                all(Wide, d, &[a, b]);
                x.read(Word, &[pos, len]);
            }
            &Op::SetP { ty, d, not_d, a, b, with, .. } => {
                x.set(Predicate, d);
                if let Some(not_d) = not_d {
                    x.set(Predicate, not_d);
                }
                x.read(wide(ty.bits() == 64), &[a, b]);
                if let Some((_, p)) = with {
                    x.p(p);
                }
            }
            &Op::TestP { wide: is, d, a, .. } => {
                x.set(Predicate, d);
                x.read(wide(is), &[a]);
            }
            &Op::PredLogic { d, a, b, .. } => all(Predicate, d, &[a.r, b.r]),
            &Op::PredMov { d, a } => all(Predicate, d, &[a.r]),
            &Op::Select32 { d, a, b, p } => {
                all(Word, d, &[a, b]);
                x.p(p);
            }
            &Op::Select64 { d, a, b, p } => {
                all(Wide, d, &[a, b]);
                x.p(p);
            }
            &Op::Slct { wide: is, d, a, b, c, .. } => {
                all(wide(is), d, &[a, b]);
                x.read(Word, &[c]);
            }
            &Op::Cvt { to, d, a, from_wide, .. } => {
                x.set(wide(to.bits() == 64), d);
                x.read(wide(from_wide), &[a]);
            }
            &Op::CvtPair { d, a, b, .. } => all(Word, d, &[a, b]),
            &Op::Mov32 { d, a } => all(Word, d, &[a]),
            &Op::Mov64 { d, a } => all(Wide, d, &[a]),
            &Op::MovSpecial { d, wide: is, .. } => x.set(wide(is), d),
            Op::Pack { d, wide: is, parts, .. } => {
                x.set(wide(*is), *d);
                x.read(Word, parts);
            }
            Op::Unpack { a, wide: is, parts, .. } => {
                x.sets.extend(parts.iter().flatten().map(|&r| (Word, r)));
                x.read(wide(*is), &[*a]);
            }
            &Op::Cvta { d, a, .. } => all(Wide, d, &[a]),
            &Op::IsSpace { d, a, .. } => {
                x.set(Predicate, d);
                x.read(Wide, &[a]);
            }
            Op::Ld { addr, v, .. } => {
                x.sets.extend(v.regs.iter().map(|&r| (wide(v.wide), r)));
                x.addr(addr);
            }
            Op::St { addr, v, .. } => {
                if stored {
                    x.read(wide(v.wide), &v.regs);
                }
                x.addr(addr);
            }
            Op::Atomic { addr, ty, d, b, c, .. } => {
                let file = wide(ty.bits() == 64);
                x.sets.extend(d.iter().map(|&d| (file, d)));
                x.read(file, &[*b, *c]);
                x.addr(addr);
            }
            Op::CpAsync { dst, src, src_bytes, .. } => {
                if stored {
                    x.addr(dst);
                }
                x.addr(src);
                x.reads.extend(src_bytes.iter().map(|&r| (Word, r)));
            }
            Op::LdMatrix { addr, d, .. } => {
                x.sets.extend(d.iter().map(|&r| (Word, r)));
                x.addr(addr);
            }
            Op::Mma { d, a, b, c, .. } => {
                x.sets.extend(d.iter().map(|&r| (Word, r)));
                [&a[..], b, c].into_iter().for_each(|reads| x.read(Word, reads));
            }
            &Op::Shfl { d, p, a, b, c, mask, .. } => {
                all(Word, d, &[a, b, c, mask]);
                x.sets.extend(p.iter().map(|&p| (Predicate, p)));
            }
            &Op::Vote { how, d, a, mask } => {
                x.set(if how == Vote::Ballot { Word } else { Predicate }, d);
                x.p(a);
                x.read(Word, &[mask]);
            }
            &Op::Match { wide: is, d, p, a, mask, .. } => {
                all(Word, d, &[mask]);
                x.sets.extend(p.iter().map(|&p| (Predicate, p)));
                x.read(wide(is), &[a]);
            }
            &Op::ActiveMask { d } => x.set(Word, d),
            &Op::Redux { d, a, mask, .. } => all(Word, d, &[a, mask]),
            &Op::Bar { id, threads, reduce, .. } => {
                x.read(Word, &[id]);
                x.reads.extend(threads.iter().map(|&r| (Word, r)));
                if let Some(reduce) = reduce {
                    x.set(if reduce.logic.is_some() { Predicate } else { Word }, reduce.d);
                    x.p(reduce.a);
                }
            }
            &Op::BarWarp { mask } => x.read(Word, &[mask]),
            &Op::BrxIdx { index, .. } => x.read(Word, &[index]),
            Op::CpAsyncCommit | Op::CpAsyncWait(_) | Op::CpAsyncWaitAll => {}
            Op::Bra { .. } | Op::Exit | Op::Trap | Op::Nop | Op::Nanosleep => {}
        }
        x
    }
}

/// Whether an access stays within the block or the thread.
fn on_chip(addr: &Addr) -> bool {
    matches!(addr.space, Some(Space::Shared | Space::Local | Space::Param))
}

/// A branch that some lanes may take and others not, which goes where nothing depends on it.
fn chooses(inst: &Inst, meet: u32) -> bool {
    inst.guard.is_some() && matches!(inst.op, Op::Bra { .. }) && meet != NOWHERE
}

/// Whether an instruction stays whatever it sets.
fn stays(op: &Op, through_shared: bool) -> bool {
    match op {
        Op::Bra { .. } | Op::BrxIdx { .. } | Op::Exit | Op::Trap | Op::Nanosleep | Op::Bar { .. } => true,
        Op::BarWarp { .. } => through_shared,
        Op::CpAsync { .. } => true,
        Op::Ld { addr, .. } => !on_chip(addr),
        Op::St { addr, .. } | Op::Atomic { addr, .. } => through_shared || !on_chip(addr),
        Op::CpAsyncCommit | Op::CpAsyncWait(_) | Op::CpAsyncWaitAll => through_shared,
        _ => false,
    }
}

/// Whether an instruction reads what others put into shared or local memory. A generic address that leads there is a fault while a slice runs.
fn reads_chip(op: &Op) -> bool {
    match op {
        Op::Ld { addr, .. } | Op::Atomic { addr, .. } => matches!(addr.space, Some(Space::Shared | Space::Local)),
        Op::LdMatrix { .. } => true,
        _ => false,
    }
}

/// The slice of a program.
#[derive(Debug)]
pub struct Slice {
    /// Its instructions, with branches to their places among these.
    pub program: Program,
    /// Whether accesses depend on what goes through shared or local memory, so that stores to these have to be made.
    pub through_shared: bool,
}

impl Slice {
    /// The slice of `program`.
    pub fn of(program: &Program) -> Slice {
        let alone = Kept::of(program, false);
        let through_shared = alone.reads_chip;
        let Kept { stays, decides, .. } = if through_shared { Kept::of(program, true) } else { alone };
        // Where each instruction, or the next one that stays, stands in the slice. The last is an exit, which stays.
        let mut place = Vec::with_capacity(stays.len());
        let mut code = Vec::new();
        for (i, inst) in program.code.iter().enumerate() {
            place.push(code.len() as u32);
            if stays[i] {
                let mut inst = inst.clone();
                match &mut inst.op {
                    Op::Ld { addr, order: order @ Order::Plain, .. } if decides[i] && !on_chip(addr) => {
                        *order = Order::Deciding;
                    }
                    _ => {}
                }
                code.push(inst);
            } else if chooses(inst, program.meet[i]) {
                // Nothing stays on either way: on to where they meet.
                code.push(Inst { guard: None, place: inst.place, op: Op::Bra { target: program.meet[i] } });
            }
        }
        let code: Vec<Inst> = code
            .into_iter()
            .map(|mut inst| {
                match &mut inst.op {
                    Op::Bra { target } => *target = place[*target as usize],
                    Op::BrxIdx { targets, .. } => targets.iter_mut().for_each(|t| *t = place[*t as usize]),
                    _ => {}
                }
                inst
            })
            .collect();
        let meet = meeting_points(&code);
        let Program { places, registers, literals, shared_width, .. } = program;
        let (places, literals) = (places.clone(), literals.clone());
        Slice {
            program: Program { code, meet, places, registers: *registers, literals, shared_width: *shared_width },
            through_shared,
        }
    }
}

/// Of a program, for each instruction:
struct Kept {
    /// Whether it stays.
    stays: Vec<bool>,
    /// Whether something that stays reads what it sets.
    decides: Vec<bool>,
    /// Of all of them: whether one that decides reads shared or local memory.
    reads_chip: bool,
}

impl Kept {
    fn of(program: &Program, through_shared: bool) -> Kept {
        let code = &program.code;
        let registers: Vec<Registers> = code.iter().map(|inst| Registers::of(inst, through_shared)).collect();
        let branch = |i: usize| chooses(&code[i], program.meet[i]);
        let ways: Vec<Vec<usize>> =
            (0..code.len()).map(|i| if branch(i) { ways(program, i) } else { Vec::new() }).collect();
        let jumps = |i: usize| code[i].guard.is_none() && matches!(code[i].op, Op::Bra { .. });
        let mut kept: Vec<bool> = (0..code.len()).map(|i| !branch(i) && stays(&code[i].op, through_shared)).collect();
        let mut decides = vec![false; code.len()];
        let [p, w, d] = program.registers.map(|n| n as usize);
        let (mut needed, slot) = (vec![false; p + w + d + 1], |(file, r): (File, R)| match file {
            Predicate => r as usize,
            Word => p + r as usize,
            Wide => p + w + r as usize,
            Carry => p + w + d,
        });
        let mut changed = true;
        while changed {
            changed = false;
            for (i, x) in registers.iter().enumerate().rev() {
                decides[i] = x.sets.iter().any(|&r| needed[slot(r)]);
                let on_a_way = || ways[i].iter().any(|&on| kept[on] && !jumps(on));
                if !kept[i] && (decides[i] || on_a_way()) {
                    (kept[i], changed) = (true, true);
                }
                if kept[i] {
                    for &r in &x.reads {
                        changed |= !std::mem::replace(&mut needed[slot(r)], true);
                    }
                }
            }
        }
        let reads_chip = code.iter().zip(&decides).any(|(inst, &decides)| decides && reads_chip(&inst.op));
        Kept { stays: kept, decides, reads_chip }
    }
}

/// The instructions between a branch and where its lanes meet again.
fn ways(program: &Program, from: usize) -> Vec<usize> {
    let (code, meet) = (&program.code, program.meet[from] as usize);
    let mut seen = vec![false; code.len()];
    let mut found = Vec::new();
    let mut next = vec![from];
    while let Some(i) = next.pop() {
        let mut reach = |to: usize| {
            if to != meet && to < code.len() && !std::mem::replace(&mut seen[to], true) {
                found.push(to);
                next.push(to);
            }
        };
        match &code[i].op {
            Op::Bra { target } => reach(*target as usize),
            Op::BrxIdx { targets, .. } => targets.iter().for_each(|&target| reach(target as usize)),
            _ => {}
        }
        let leaves = matches!(code[i].op, Op::Bra { .. } | Op::BrxIdx { .. } | Op::Exit | Op::Trap);
        if !leaves || code[i].guard.is_some() {
            reach(i + 1);
        }
    }
    found
}
