//! Registers, literals and variables: names become indices and offsets.

use crate::machine::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::ptx::inst::{Addr, Base, P, R, Values};
use crate::ptx::syntax::{Function, Operand, Space, Syntax, Variable};
use std::collections::HashMap;

/// Register files.
const PRED: usize = 0;
const WORD: usize = 1;
const WIDE: usize = 2;

/// The names of the kernel that is being decoded.
pub struct Operands<'a> {
    syntax: &'a Syntax,
    /// The present activation of a function.
    frame: usize,
    function: Option<&'a Function>,
    registers: HashMap<(usize, String), (usize, R)>,
    variables: HashMap<(usize, String), (Space, i64)>,
    module_shared: HashMap<String, i64>,
    known: HashMap<(usize, u64), R>,
    /// Sizes of the register files.
    pub counts: [u32; 3],
    /// Literals of each file.
    pub literals: [Vec<(R, u64)>; 3],
    /// See [`super::Decoded::relocations`].
    pub relocations: Vec<(R, usize, i64)>,
    dynamic: Option<R>,
    dynamic_align: u32,
    /// Bytes of static shared memory.
    pub shared_bytes: u32,
    /// Bytes of local memory of a thread.
    pub local_bytes: u32,
}

impl<'a> Operands<'a> {
    /// No names yet.
    pub fn new(syntax: &'a Syntax) -> Self {
        Operands {
            syntax,
            frame: 0,
            function: None,
            registers: HashMap::new(),
            variables: HashMap::new(),
            module_shared: HashMap::new(),
            known: HashMap::new(),
            counts: [0; 3],
            literals: Default::default(),
            relocations: Vec::new(),
            dynamic: None,
            dynamic_align: 0,
            shared_bytes: 0,
            local_bytes: 0,
        }
    }

    /// Begins an activation: places the function's variables.
    pub fn enter(&mut self, frame: usize, f: &'a Function, names: HashMap<String, (Space, i64)>) -> Result<(), String> {
        self.select(frame, f);
        self.variables.extend(names.into_iter().map(|(name, place)| ((frame, name), place)));
        for v in &f.variables {
            let place = match v.space {
                Space::Shared => (Space::Shared, self.place_shared(v)),
                Space::Local | Space::Param => {
                    let at = self.local_bytes.next_multiple_of(v.align.max(1));
                    self.local_bytes = at + v.bytes;
                    (Space::Local, i64::from(at))
                }
                Space::Global | Space::Const => return Err(format!("{} is declared inside a function", v.name)),
            };
            self.variables.insert((frame, v.name.clone()), place);
        }
        Ok(())
    }

    /// Makes an activation the present one.
    pub fn select(&mut self, frame: usize, f: &'a Function) {
        self.frame = frame;
        self.function = Some(f);
    }

    fn place_shared(&mut self, v: &Variable) -> i64 {
        let at = self.shared_bytes.next_multiple_of(v.align.max(1));
        self.shared_bytes = at + v.bytes;
        i64::from(at)
    }

    /// Space and offset of a variable of the present activation.
    pub fn symbol(&self, name: &str) -> Option<(Space, i64)> {
        self.variables.get(&(self.frame, name.to_string())).copied()
    }

    /// A literal of a file.
    fn literal(&mut self, file: usize, value: u64) -> R {
        if let Some(&r) = self.known.get(&(file, value)) {
            return r;
        }
        let r = self.counts[file];
        self.counts[file] += 1;
        self.literals[file].push((r, value));
        self.known.insert((file, value), r);
        r
    }

    /// A 32-bit literal.
    pub fn word_literal(&mut self, value: u32) -> R {
        self.literal(WORD, u64::from(value))
    }

    /// A 64-bit literal.
    pub fn wide_literal(&mut self, value: u64) -> R {
        self.literal(WIDE, value)
    }

    /// File, index and bits of a register.
    pub fn register(&mut self, name: &str) -> Result<(usize, R, u32), String> {
        let f = self.function.expect("a function is selected");
        let declared = f.registers.get(name).filter(|d| d.1.is_none()).or_else(|| {
            let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let number: u64 = name[prefix.len()..].parse().ok()?;
            f.registers.get(prefix).filter(|d| d.1.is_some_and(|n| number < n))
        });
        let (ty, _) = declared.ok_or_else(|| format!("there is no register {name}"))?;
        let (file, bits) = match ty.as_str() {
            "pred" => (PRED, 1),
            "b8" | "u8" | "s8" | "b16" | "u16" | "s16" | "f16" | "bf16" => (WORD, 16),
            "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => (WORD, 32),
            "b64" | "u64" | "s64" | "f64" => (WIDE, 64),
            _ => return Err(format!("registers of type .{ty} are not supported")),
        };
        let counts = &mut self.counts;
        let (file, r) = *self.registers.entry((self.frame, name.to_string())).or_insert_with(|| {
            counts[file] += 1;
            (file, counts[file] - 1)
        });
        Ok((file, r, bits))
    }

    /// Whether an operand names a register, and which.
    pub fn as_register(&mut self, operand: &Operand) -> Option<(usize, R, u32)> {
        match operand {
            Operand::Reg(name) | Operand::Symbol(name, 0) => self.register(name).ok(),
            _ => None,
        }
    }

    fn of_file(&mut self, operand: &Operand, file: usize) -> Result<R, String> {
        let (Operand::Reg(name) | Operand::Symbol(name, 0)) = operand else {
            return Err(format!("{operand:?} is no register"));
        };
        let (found, r, _) = self.register(name)?;
        if found == file { Ok(r) } else { Err(format!("{name} has the wrong width")) }
    }

    /// A predicate, possibly negated or literal.
    pub fn pred(&mut self, operand: &Operand) -> Result<P, String> {
        match operand {
            Operand::Not(inner) => self.pred(inner).map(|p| P { r: p.r, not: !p.not }),
            Operand::Int(v) => {
                Ok(P { r: self.literal(PRED, if *v == 0 { 0 } else { u64::from(u32::MAX) }), not: false })
            }
            other => self.of_file(other, PRED).map(|r| P { r, not: false }),
        }
    }

    /// The register of a predicate that is written.
    pub fn pred_out(&mut self, operand: &Operand) -> Result<R, String> {
        match operand {
            Operand::Discard => {
                self.counts[PRED] += 1;
                Ok(self.counts[PRED] - 1)
            }
            other => self.of_file(other, PRED),
        }
    }

    /// A 16- or 32-bit source: a register or a literal of `bits`.
    pub fn word(&mut self, operand: &Operand, bits: u32) -> Result<R, String> {
        let keep = if bits >= 32 { u32::MAX } else { (1 << bits) - 1 };
        match operand {
            Operand::Int(v) => Ok(self.word_literal(*v as u32 & keep)),
            Operand::F32(v) => Ok(self.word_literal(*v)),
            Operand::F64(v) => Ok(self.word_literal((f64::from_bits(*v) as f32).to_bits())),
            other => self.of_file(other, WORD),
        }
    }

    /// A 64-bit source.
    pub fn wide(&mut self, operand: &Operand) -> Result<R, String> {
        match operand {
            Operand::Int(v) | Operand::F64(v) => Ok(self.wide_literal(*v)),
            other => self.of_file(other, WIDE),
        }
    }

    /// A source of either width.
    pub fn source(&mut self, operand: &Operand, bits: u32) -> Result<R, String> {
        if bits == 64 { self.wide(operand) } else { self.word(operand, bits) }
    }

    /// A destination of either width; `_` is a register that nobody reads.
    pub fn out(&mut self, operand: &Operand, bits: u32) -> Result<R, String> {
        let file = if bits == 64 { WIDE } else { WORD };
        match operand {
            Operand::Discard => {
                self.counts[file] += 1;
                Ok(self.counts[file] - 1)
            }
            other => self.of_file(other, file),
        }
    }

    /// Where `name + offset` lies: its space, an offset in it and, for what has no fixed place, a 64-bit register with its base.
    pub fn address_of(&mut self, name: &str, offset: i64) -> Result<(Space, i64, Option<R>), String> {
        if let Some((space, at)) = self.symbol(name) {
            return Ok((space, at + offset, None));
        }
        let syntax = self.syntax;
        let index =
            syntax.variables.iter().position(|v| v.name == name).ok_or(format!("there is no variable {name}"))?;
        let v = &syntax.variables[index];
        if v.space == Space::Shared {
            let at = match self.module_shared.get(name) {
                Some(&at) => at,
                None if v.bytes == 0 => return Ok((Space::Shared, offset, Some(self.dynamic_base(v.align)))),
                None => {
                    let at = self.place_shared(v);
                    self.module_shared.insert(name.to_string(), at);
                    at
                }
            };
            return Ok((Space::Shared, at + offset, None));
        }
        let r = self.counts[WIDE];
        self.counts[WIDE] += 1;
        self.relocations.push((r, index, offset));
        Ok((v.space, 0, Some(r)))
    }

    /// The literal that holds where dynamic shared memory begins: `extern .shared x[]` follows static shared memory, whose
    /// size is known once the whole kernel is decoded.
    fn dynamic_base(&mut self, align: u32) -> R {
        self.dynamic_align = self.dynamic_align.max(align);
        *self.dynamic.get_or_insert_with(|| {
            self.counts[WIDE] += 1;
            self.counts[WIDE] - 1
        })
    }

    /// Fixes where dynamic shared memory begins.
    pub fn finish(&mut self) {
        if let Some(r) = self.dynamic {
            self.shared_bytes = self.shared_bytes.next_multiple_of(self.dynamic_align.max(16));
            self.literals[WIDE].push((r, u64::from(self.shared_bytes)));
        }
    }

    /// An address operand of a state space (`None`: generic).
    pub fn addr(&mut self, operand: &Operand, space: Option<Space>) -> Result<Addr, String> {
        let Operand::Address(base, offset) = operand else { return Err(format!("{operand:?} is no address")) };
        let offset = *offset;
        if let Some((file, r, _)) = self.as_register(base) {
            let base = match file {
                WORD => Base::Word(r),
                WIDE => Base::Wide(r),
                _ => return Err("a predicate is no address".into()),
            };
            return Ok(Addr { space, base, offset });
        }
        match &**base {
            Operand::Int(v) => Ok(Addr { space, base: Base::Zero, offset: offset.wrapping_add(*v as i64) }),
            Operand::Symbol(name, more) => {
                let (found, at, relocated) = self.address_of(name, offset + more)?;
                match (space, found) {
                    (Some(a), b) if a == b => {}
                    (Some(Space::Param), Space::Local) | (None, Space::Global | Space::Const) => {}
                    (None, Space::Shared) => {
                        return Ok(Addr { space, base: Base::Zero, offset: at + SHARED_WINDOW as i64 });
                    }
                    (None, Space::Local) => {
                        return Ok(Addr { space, base: Base::Zero, offset: at + LOCAL_WINDOW as i64 });
                    }
                    _ => return Err(format!("{name} is in another state space")),
                }
                Ok(match relocated {
                    Some(r) => Addr { space: Some(found), base: Base::Wide(r), offset: at },
                    None => Addr { space: Some(found), base: Base::Zero, offset: at },
                })
            }
            other => Err(format!("{other:?} is no address")),
        }
    }

    /// The registers or literals of an access with elements of `bits` bits.
    pub fn values(&mut self, operand: &Operand, bits: u32, signed: bool, load: bool) -> Result<Values, String> {
        let one = std::slice::from_ref(operand);
        let list = if let Operand::Vector(list) = operand { list.as_slice() } else { one };
        let (mut regs, mut widths) = (Vec::new(), Vec::new());
        for item in list {
            let (r, width) = match self.as_register(item) {
                Some((WORD, r, width)) => (r, width),
                Some((WIDE, r, _)) => (r, 64),
                Some(_) => return Err("a predicate has no place in memory".into()),
                None if load => (self.out(item, bits)?, bits.max(16)),
                None => (self.source(item, bits)?, bits.max(16)),
            };
            regs.push(r);
            widths.push(width);
        }
        let width = widths[0];
        if widths.iter().any(|&w| (w == 64) != (width == 64)) || width < bits {
            return Err("registers of the wrong width".into());
        }
        Ok(Values { regs, wide: width == 64, bits: width, bytes: bits / 8, signed })
    }
}
