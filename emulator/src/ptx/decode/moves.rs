//! Moves, selections, conversions and addresses.

use super::Mods;
use super::arithmetic::{exactly, num, round, take_type};
use super::operands::Operands;
use crate::ptx::inst::{Cmp, Num, Op, Round, Special};
use crate::ptx::syntax::{Operand, Space};

type Found = Result<Option<Op>, String>;

/// Decodes one instruction, if it moves or converts.
pub fn decode(o: &mut Operands, base: &str, mods: &mut Mods, args: &[Operand]) -> Found {
    match base {
        "mov" => mov(o, mods, args).map(Some),
        "selp" => {
            let bits = take_type(mods)?.bits();
            let [d, a, b, p] = exactly(args)?;
            let (d, a, b, p) = (o.out(d, bits)?, o.source(a, bits)?, o.source(b, bits)?, o.pred(p)?);
            Ok(Some(if bits == 64 { Op::Select64 { d, a, b, p } } else { Op::Select32 { d, a, b, p } }))
        }
        "slct" => {
            let bits = take_type(mods)?.bits();
            let float = take_type(mods)? == Num::F32;
            let [d, a, b, c] = exactly(args)?;
            let (d, a, b, c) = (o.out(d, bits)?, o.source(a, bits)?, o.source(b, bits)?, o.word(c, 32)?);
            Ok(Some(Op::Slct { wide: bits == 64, float, d, a, b, c }))
        }
        "cvt" => cvt(o, mods, args).map(Some),
        "cvta" => {
            let from_generic = mods.take("to");
            let space = take_space(mods).ok_or("the state space is missing")?;
            if take_type(mods)?.bits() != 64 {
                return Err("addresses have 64 bits".into());
            }
            let [d, a] = exactly(args)?;
            let d = o.out(d, 64)?;
            let a = match a {
                Operand::Symbol(..) if o.as_register(a).is_none() => address(o, a, 64)?,
                _ => o.wide(a)?,
            };
            Ok(Some(Op::Cvta { space, from_generic, d, a }))
        }
        "isspacep" => {
            let space = take_space(mods).ok_or("the state space is missing")?;
            let [d, a] = exactly(args)?;
            Ok(Some(Op::IsSpace { space, d: o.pred_out(d)?, a: o.wide(a)? }))
        }
        _ => Ok(None),
    }
}

/// Takes the state space of an access.
pub fn take_space(mods: &mut Mods) -> Option<Space> {
    mods.find(|m| {
        Some(match m {
            "global" => Space::Global,
            "const" => Space::Const,
            "shared" | "shared::cta" => Space::Shared,
            "local" => Space::Local,
            "param" | "param::entry" | "param::func" => Space::Param,
            _ => return None,
        })
    })
}

/// The address of a variable in its own space, as a literal.
fn address(o: &mut Operands, operand: &Operand, bits: u32) -> Result<u32, String> {
    let Operand::Symbol(name, offset) = operand else { return Err(format!("{operand:?} is no variable")) };
    let (_, at, base) = o.address_of(name, *offset)?;
    match base {
        Some(r) if at == 0 && bits == 64 => Ok(r),
        Some(_) => Err("this address of a variable is not supported".into()),
        None if bits == 64 => Ok(o.wide_literal(at as u64)),
        None => Ok(o.word_literal(at as u32)),
    }
}

fn special(name: &str) -> Option<Special> {
    let axis = match name.rsplit('.').next() {
        Some("x") => 0,
        Some("y") => 1,
        Some("z") => 2,
        _ => 3,
    };
    let stem = name.split('.').next()?;
    Some(match (stem, axis) {
        ("%tid", 0..3) => Special::Tid(axis),
        ("%ntid", 0..3) => Special::Ntid(axis),
        ("%ctaid", 0..3) => Special::Ctaid(axis),
        ("%nctaid", 0..3) => Special::Nctaid(axis),
        ("%laneid", 3) => Special::LaneId,
        ("%warpid", 3) => Special::WarpId,
        ("%nwarpid", 3) => Special::NWarpId,
        ("%smid", 3) => Special::SmId,
        ("%nsmid", 3) => Special::NSmId,
        ("%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo" | "%globaltimer_hi", 3) => {
            Special::Clock
        }
        ("%lanemask_eq", 3) => Special::LaneMask(Cmp::Eq),
        ("%lanemask_lt", 3) => Special::LaneMask(Cmp::Lt),
        ("%lanemask_le", 3) => Special::LaneMask(Cmp::Le),
        ("%lanemask_gt", 3) => Special::LaneMask(Cmp::Gt),
        ("%lanemask_ge", 3) => Special::LaneMask(Cmp::Ge),
        _ => return None,
    })
}

fn mov(o: &mut Operands, mods: &mut Mods, args: &[Operand]) -> Result<Op, String> {
    let [d, a] = exactly(args)?;
    if mods.take("pred") {
        return Ok(Op::PredMov { d: o.pred_out(d)?, a: o.pred(a)? });
    }
    let bits = take_type(mods)?.bits();
    match (d, a) {
        (Operand::Vector(list), _) => {
            let part = bits / list.len().max(1) as u32;
            let mut parts = Vec::new();
            for item in list {
                parts.push(if *item == Operand::Discard { None } else { Some(o.out(item, part)?) });
            }
            Ok(Op::Unpack { a: o.source(a, bits)?, wide: bits == 64, bits: part, parts })
        }
        (_, Operand::Vector(list)) => {
            let part = bits / list.len().max(1) as u32;
            let parts = list.iter().map(|item| o.source(item, part)).collect::<Result<_, _>>()?;
            Ok(Op::Pack { d: o.out(d, bits)?, wide: bits == 64, bits: part, parts })
        }
        (_, Operand::Reg(name)) if special(name).is_some() => {
            Ok(Op::MovSpecial { d: o.out(d, bits)?, wide: bits == 64, what: special(name).expect("just seen") })
        }
        (_, Operand::Symbol(..)) if o.as_register(a).is_none() => {
            let a = match a {
                // The 32-bit address of dynamic shared memory is the low half of the literal that holds it.
                Operand::Symbol(name, offset) if bits == 32 => match o.address_of(name, *offset)? {
                    (Space::Shared, 0, Some(a)) => {
                        let d = o.out(d, 32)?;
                        let (from, to) = (Num::U64, Num::U32);
                        return Ok(Op::Cvt {
                            from,
                            to,
                            round: None,
                            ftz: false,
                            sat: false,
                            relu: false,
                            d,
                            a,
                            from_wide: true,
                        });
                    }
                    _ => address(o, a, 32)?,
                },
                _ => address(o, a, bits)?,
            };
            let d = o.out(d, bits)?;
            Ok(if bits == 64 { Op::Mov64 { d, a } } else { Op::Mov32 { d, a } })
        }
        _ => {
            let (d, a) = (o.out(d, bits)?, o.source(a, bits)?);
            Ok(if bits == 64 { Op::Mov64 { d, a } } else { Op::Mov32 { d, a } })
        }
    }
}

fn cvt(o: &mut Operands, mods: &mut Mods, args: &[Operand]) -> Result<Op, String> {
    let (ftz, sat, relu) = (mods.take("ftz"), mods.take("sat"), mods.take("relu"));
    let integral = mods.0.iter().any(|m| matches!(*m, "rni" | "rzi" | "rmi" | "rpi"));
    let round = mods.find(round);
    let pair = mods.find(|m| match m {
        "f16x2" => Some(Num::F16),
        "bf16x2" => Some(Num::Bf16),
        _ => None,
    });
    if let Some(to) = pair {
        if take_type(mods)? != Num::F32 || sat {
            return Err("pairs are converted from f32 without saturation only".into());
        }
        let [d, a, b] = exactly(args)?;
        let round = round.ok_or("the rounding is missing")?;
        return Ok(Op::CvtPair { to, round, relu, d: o.out(d, 32)?, a: o.word(a, 32)?, b: o.word(b, 32)? });
    }
    let to = take_type(mods)?;
    let from = mods.find(num).ok_or("the source type is missing")?;
    let [d, a] = exactly(args)?;
    // A register may be wider than the type on either side.
    let (from_wide, a) = match o.as_register(a) {
        Some((1, r, bits)) if bits >= from.bits() => (false, r),
        Some((2, r, _)) => (true, r),
        Some(_) => return Err("a register of the wrong width".into()),
        None => (from.bits() == 64, o.source(a, from.bits())?),
    };
    let d = match o.as_register(d) {
        // A signed byte lives in a 16-bit register; no other signed type has a wider register.
        Some((1, r, bits)) if bits == to.bits().max(16) || (bits == 32 && to.bits() < 32 && !to.signed()) => r,
        Some((2, r, _)) if to.bits() == 64 => r,
        _ => return Err("the destination has the wrong width".into()),
    };
    let narrowing = to.float() && (!from.float() || from.bits() > to.bits() || to == Num::Tf32);
    let integer_result = from.float() && !to.float();
    if (narrowing || integer_result) && round.is_none() {
        return Err("the rounding is missing".into());
    }
    if (to == Num::Tf32 && from != Num::F32) || (round == Some(Round::Away) && to != Num::Tf32) {
        return Err("this conversion is not supported".into());
    }
    let directed = round.is_some_and(|round| round != Round::Nearest);
    if !from.float() && ((to == Num::F64 && directed) || (from.bits() == 64 && matches!(to, Num::F16 | Num::Bf16))) {
        return Err("this conversion is not supported".into());
    }
    if integral && !from.float() {
        return Err("an integer is not rounded to an integer".into());
    }
    Ok(Op::Cvt { from, to, round, ftz, sat, relu, d, a, from_wide })
}
