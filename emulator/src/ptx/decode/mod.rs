//! Turns the statements of a kernel into instructions of the machine. Device functions are expanded where they are called.

mod access;
mod arithmetic;
mod control;
mod moves;
mod operands;

use super::cfg;
use super::inst::{At, Inst, Op, P, Program, R};
use super::syntax::{Function, Item, Operand, Space, Statement, Syntax};
use operands::Operands;
use std::collections::HashMap;

/// A decoded kernel.
pub struct Decoded {
    /// Its code.
    pub program: Program,
    /// Bytes of static shared memory.
    pub shared_bytes: u32,
    /// Bytes of a thread's local memory.
    pub local_bytes: u32,
    /// Literals that hold addresses of module variables: 64-bit register, index of the variable, offset.
    pub relocations: Vec<(R, usize, i64)>,
}

/// How deep calls may nest: a deeper chain can only be a recursion, which is not supported.
const DEEPEST_CALL: usize = 16;

/// Decodes the kernel `f`, whose parameters lie at `params` (name and offset).
///
/// # Errors
/// A sentence with the line and the instruction that is not understood.
pub fn decode(syntax: &Syntax, f: &Function, params: &[(String, u32)]) -> Result<Decoded, String> {
    let mut d = Decoder {
        operands: Operands::new(syntax),
        syntax,
        code: Vec::new(),
        places: Vec::new(),
        labels: HashMap::new(),
        jumps: Vec::new(),
        frames: 0,
    };
    let mut names: HashMap<String, (Space, i64)> = HashMap::new();
    names.extend(params.iter().map(|(name, offset)| (name.clone(), (Space::Param, i64::from(*offset)))));
    d.function(f, names, None, 0)?;
    // Falling off the end is an exit.
    d.push(At { line: d.places.last().map_or(0, |p| p.line), source: None }, None, Op::Exit);
    for (pc, index, (frame, label)) in std::mem::take(&mut d.jumps) {
        let target = *d
            .labels
            .get(&(frame, label.clone()))
            .ok_or_else(|| format!("line {}: there is no label {label}", d.places[d.code[pc].place as usize].line))?;
        match &mut d.code[pc].op {
            Op::Bra { target: t } => *t = target,
            Op::BrxIdx { targets, .. } => targets[index] = target,
            _ => unreachable!("only branches have labels"),
        }
    }
    let meet = cfg::meeting_points(&d.code);
    let mut o = d.operands;
    o.finish();
    let shared_width = d.code.iter().filter_map(|i| shared_width(&i.op)).min().unwrap_or(4).min(4);
    let program =
        Program { code: d.code, meet, places: d.places, registers: o.counts, literals: o.literals, shared_width };
    Ok(Decoded {
        program,
        shared_bytes: o.shared_bytes,
        local_bytes: o.local_bytes.next_multiple_of(16),
        relocations: o.relocations,
    })
}

/// Bytes of an access that may be one to shared memory.
fn shared_width(op: &Op) -> Option<u32> {
    let shared = |space: &Option<Space>| matches!(space, None | Some(Space::Shared));
    match op {
        Op::Ld { addr, v, .. } | Op::St { addr, v, .. } if shared(&addr.space) => Some(v.bytes),
        Op::Atomic { addr, ty, .. } if shared(&addr.space) => Some(ty.bits() / 8),
        _ => None,
    }
}

struct Decoder<'a> {
    operands: Operands<'a>,
    syntax: &'a Syntax,
    code: Vec<Inst>,
    places: Vec<At>,
    labels: HashMap<(usize, String), u32>,
    /// Branches to labels: instruction, index of the target, label and the frame it belongs to.
    jumps: Vec<(usize, usize, (usize, String))>,
    frames: usize,
}

impl<'a> Decoder<'a> {
    fn push(&mut self, at: At, guard: Option<P>, op: Op) {
        if self.places.last() != Some(&at) {
            self.places.push(at);
        }
        self.code.push(Inst { guard, place: self.places.len() as u32 - 1, op });
    }

    /// Expands one activation of `f`; `names` says where its parameters lie. `ret` is the label to which it returns.
    fn function(
        &mut self,
        f: &'a Function,
        names: HashMap<String, (Space, i64)>,
        ret: Option<(usize, String)>,
        depth: usize,
    ) -> Result<(), String> {
        let frame = self.frames;
        self.frames += 1;
        self.operands.enter(frame, f, names)?;
        let targets: HashMap<&String, &Vec<String>> = f
            .body
            .iter()
            .filter_map(|item| if let Item::Targets(name, list) = item { Some((name, list)) } else { None })
            .collect();
        for item in &f.body {
            let s = match item {
                Item::Targets(..) => continue,
                Item::Label(name) => {
                    self.labels.insert((frame, name.clone()), self.code.len() as u32);
                    continue;
                }
                Item::Inst(s) => s,
            };
            self.operands.select(frame, f);
            let explain = |e: String| format!("line {}: {}: {e}", s.line, s.op);
            let at = At { line: s.line, source: s.source };
            let guard = match &s.guard {
                None => None,
                Some((name, not)) => {
                    Some(P { r: self.operands.pred(&Operand::Reg(name.clone())).map_err(explain)?.r, not: *not })
                }
            };
            match s.op.split('.').next().unwrap_or("") {
                "call" => self.call(s, f, frame, at, guard, depth)?,
                "ret" if ret.is_some() => {
                    let to = ret.clone().expect("just seen");
                    self.jumps.push((self.code.len(), 0, to));
                    self.push(at, guard, Op::Bra { target: 0 });
                }
                "bra" => {
                    let [Operand::Symbol(label, 0)] = &s.args[..] else {
                        return Err(explain("the target is no label".into()));
                    };
                    self.jumps.push((self.code.len(), 0, (frame, label.clone())));
                    self.push(at, guard, Op::Bra { target: 0 });
                }
                "brx" => {
                    let (Some(index), Some(Operand::Symbol(list, 0))) = (s.args.first(), s.args.get(1)) else {
                        return Err(explain("an index and a list of targets are wanted".into()));
                    };
                    let labels = targets.get(list).ok_or_else(|| explain(format!("there is no list {list}")))?;
                    let index = self.operands.word(index, 32).map_err(explain)?;
                    for (i, label) in labels.iter().enumerate() {
                        self.jumps.push((self.code.len(), i, (frame, label.clone())));
                    }
                    self.push(at, guard, Op::BrxIdx { index, targets: vec![0; labels.len()] });
                }
                _ => {
                    let op = self.instruction(s).map_err(explain)?;
                    self.push(at, guard, op);
                }
            }
        }
        Ok(())
    }

    /// `call (ret), f, (args);`: the callee's parameters are the caller's `.param` variables.
    fn call(
        &mut self,
        s: &'a Statement,
        f: &'a Function,
        frame: usize,
        at: At,
        guard: Option<P>,
        depth: usize,
    ) -> Result<(), String> {
        let explain = |e: &str| format!("line {}: {}: {e}", s.line, s.op);
        if guard.is_some() {
            return Err(explain("a call with a predicate is not supported"));
        }
        if depth == DEEPEST_CALL {
            return Err(explain("calls nest too deep; recursion is not supported"));
        }
        let (mut name, mut lists) = (None, Vec::new());
        for arg in &s.args {
            match arg {
                Operand::List(list) => lists.push((name.is_some(), list)),
                Operand::Symbol(n, 0) if name.is_none() => name = Some(n),
                _ => return Err(explain("calls through pointers are not supported")),
            }
        }
        let name = name.ok_or_else(|| explain("the function has no name"))?;
        let callee = self.syntax.functions.iter().find(|g| &g.name == name && !g.entry);
        let callee = callee.ok_or_else(|| explain(&format!("there is no function {name}")))?;
        let mut names = HashMap::new();
        for (after_name, list) in lists {
            let formal = if after_name { &callee.params } else { &callee.returns };
            for (formal, actual) in formal.iter().zip(list) {
                let Operand::Symbol(actual, 0) = actual else {
                    return Err(explain("an argument is no .param variable"));
                };
                let place = self.operands.symbol(actual).ok_or_else(|| explain(&format!("there is no {actual}")))?;
                names.insert(formal.name.clone(), place);
            }
        }
        let back = (frame, format!("{name} returns {}", self.code.len()));
        self.function(callee, names, Some(back.clone()), depth + 1)?;
        self.operands.select(frame, f);
        // A branch needs an instruction to land on even where the call is the last statement.
        self.labels.insert(back, self.code.len() as u32);
        self.push(at, None, Op::Nop);
        Ok(())
    }

    fn instruction(&mut self, s: &Statement) -> Result<Op, String> {
        let mut words = s.op.split('.');
        let base = words.next().unwrap_or("");
        let mut mods = Mods(words.collect());
        let o = &mut self.operands;
        let found = arithmetic::decode(o, base, &mut mods, &s.args)?;
        let found = match found {
            None => moves::decode(o, base, &mut mods, &s.args)?,
            some => some,
        };
        let found = match found {
            None => access::decode(o, base, &mut mods, &s.args)?,
            some => some,
        };
        let found = match found {
            None => control::decode(o, base, &mut mods, &s.args)?,
            some => some,
        };
        let op = found.ok_or("unknown instruction")?;
        match mods.0.first() {
            None => Ok(op),
            Some(m) => Err(format!("unknown modifier .{m}")),
        }
    }
}

/// The modifiers of an opcode that are not understood yet.
struct Mods<'a>(Vec<&'a str>);

impl<'a> Mods<'a> {
    /// Takes a modifier if it is there.
    fn take(&mut self, name: &str) -> bool {
        let found = self.0.iter().position(|m| *m == name);
        found.map(|i| self.0.remove(i)).is_some()
    }

    /// Takes the first modifier for which `f` answers.
    fn find<T>(&mut self, f: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (i, value) = self.0.iter().enumerate().find_map(|(i, m)| Some((i, f(m)?)))?;
        self.0.remove(i);
        Some(value)
    }
}
