//! Barriers, fences, warp-wide functions and tensor-core products.

use super::Mods;
use super::arithmetic::{exactly, logic, take_type};
use super::operands::Operands;
use crate::ptx::inst::{BarReduce, Int, Matrix, Op, Shuffle, Vote};
use crate::ptx::syntax::Operand;

type Found = Result<Option<Op>, String>;

/// Decodes one instruction, if it is one of these.
pub fn decode(o: &mut Operands, base: &str, mods: &mut Mods, args: &[Operand]) -> Found {
    match base {
        "ret" | "exit" => {
            mods.take("uni");
            Ok(Some(Op::Exit))
        }
        "trap" | "brkpt" => Ok(Some(Op::Trap)),
        "nanosleep" => {
            mods.take("u32");
            Ok(Some(Op::Nanosleep))
        }
        "membar" | "fence" => {
            for m in ["sc", "acq_rel", "acquire", "release", "cta", "gl", "gpu", "sys", "cluster"] {
                mods.take(m);
            }
            Ok(Some(Op::Nop))
        }
        "bar" | "barrier" => bar(o, base, mods, args).map(Some),
        "activemask" => {
            mods.take("b32");
            let [d] = exactly(args)?;
            Ok(Some(Op::ActiveMask { d: o.out(d, 32)? }))
        }
        "shfl" => {
            mods.take("sync");
            let how = mods.find(|m| {
                Some(match m {
                    "up" => Shuffle::Up,
                    "down" => Shuffle::Down,
                    "bfly" => Shuffle::Butterfly,
                    "idx" => Shuffle::Index,
                    _ => return None,
                })
            });
            let how = how.ok_or("the mode is missing")?;
            mods.take("b32");
            let [d, a, b, c, mask] = exactly(args)?;
            let (d, p) = out_with_pred(o, d)?;
            let (a, b, c) = (o.word(a, 32)?, o.word(b, 32)?, o.word(c, 32)?);
            Ok(Some(Op::Shfl { how, d, p, a, b, c, mask: o.word(mask, 32)? }))
        }
        "vote" => {
            mods.take("sync");
            let how = mods.find(|m| {
                Some(match m {
                    "all" => Vote::All,
                    "any" => Vote::Any,
                    "uni" => Vote::Uniform,
                    "ballot" => Vote::Ballot,
                    _ => return None,
                })
            });
            let how = how.ok_or("the mode is missing")?;
            let ballot = mods.take("b32");
            if ballot != (how == Vote::Ballot) || !(ballot || mods.take("pred")) {
                return Err("the type is wrong".into());
            }
            let [d, a, mask] = exactly(args)?;
            let d = if ballot { o.out(d, 32)? } else { o.pred_out(d)? };
            Ok(Some(Op::Vote { how, d, a: o.pred(a)?, mask: o.word(mask, 32)? }))
        }
        "match" => {
            mods.take("sync");
            let all = mods.take("all");
            if !(all || mods.take("any")) {
                return Err("the mode is missing".into());
            }
            let bits = take_type(mods)?.bits();
            let [d, a, mask] = exactly(args)?;
            let (d, p) = out_with_pred(o, d)?;
            Ok(Some(Op::Match { all, wide: bits == 64, d, p, a: o.source(a, bits)?, mask: o.word(mask, 32)? }))
        }
        "redux" => {
            mods.take("sync");
            let name = mods.find(|m| ["add", "min", "max", "and", "or", "xor"].into_iter().find(|n| *n == m));
            let signed = take_type(mods)?.signed();
            let f = match (name.ok_or("the function is missing")?, signed) {
                ("add", _) => Int::Add,
                ("min", true) => Int::MinS,
                ("min", false) => Int::MinU,
                ("max", true) => Int::MaxS,
                ("max", false) => Int::MaxU,
                ("and", _) => Int::And,
                ("or", _) => Int::Or,
                _ => Int::Xor,
            };
            let [d, a, mask] = exactly(args)?;
            Ok(Some(Op::Redux { f, d: o.out(d, 32)?, a: o.word(a, 32)?, mask: o.word(mask, 32)? }))
        }
        "mma" => mma(o, mods, args).map(Some),
        _ => Ok(None),
    }
}

/// `d` or `d|p`.
fn out_with_pred(o: &mut Operands, operand: &Operand) -> Result<(u32, Option<u32>), String> {
    match operand {
        Operand::Pair(d, p) => Ok((o.out(d, 32)?, Some(o.pred_out(p)?))),
        d => Ok((o.out(d, 32)?, None)),
    }
}

fn bar(o: &mut Operands, base: &str, mods: &mut Mods, args: &[Operand]) -> Result<Op, String> {
    mods.take("cta");
    mods.take("aligned");
    if base == "bar" && mods.take("warp") {
        mods.take("sync");
        let [mask] = exactly(args)?;
        return Ok(Op::BarWarp { mask: o.word(mask, 32)? });
    }
    if mods.take("red") {
        let logic = mods.find(logic);
        let counts = logic.is_none() && mods.take("popc") && mods.take("u32");
        if !(counts || (logic.is_some() && mods.take("pred"))) {
            return Err("the reduction is not known".into());
        }
        let (d, rest) = args.split_first().ok_or("operands are missing")?;
        let (a, rest) = rest.split_last().ok_or("operands are missing")?;
        let d = if counts { o.out(d, 32)? } else { o.pred_out(d)? };
        let reduce = Some(BarReduce { logic, d, a: o.pred(a)? });
        let id = o.word(rest.first().ok_or("operands are missing")?, 32)?;
        let threads = rest.get(1).map(|r| o.word(r, 32)).transpose()?;
        return Ok(Op::Bar { id, threads, arrive: false, reduce });
    }
    let arrive = mods.take("arrive");
    if !(arrive || mods.take("sync")) {
        return Err("one of .sync, .arrive and .red is wanted".into());
    }
    let id = o.word(args.first().ok_or("operands are missing")?, 32)?;
    let threads = args.get(1).map(|r| o.word(r, 32)).transpose()?;
    if arrive && threads.is_none() {
        return Err("the number of threads is missing".into());
    }
    Ok(Op::Bar { id, threads, arrive, reduce: None })
}

fn mma(o: &mut Operands, mods: &mut Mods, args: &[Operand]) -> Result<Op, String> {
    mods.take("sync");
    mods.take("aligned");
    let k = mods
        .find(|m| match m {
            "m16n8k16" => Some(16),
            "m16n8k8" => Some(8),
            "m16n8k4" => Some(4),
            _ => None,
        })
        .ok_or("this shape is not supported")?;
    let types: Vec<&str> = std::mem::take(&mut mods.0);
    let ty = match types[..] {
        ["row", "col", "f32", "bf16", "bf16", "f32"] => Matrix::Bf16,
        ["row", "col", "f32", "f16", "f16", "f32"] => Matrix::F16,
        ["row", "col", "f32", "tf32", "tf32", "f32"] => Matrix::Tf32,
        _ => return Err("these types and layouts are not supported".into()),
    };
    let pairs = matches!(ty, Matrix::Bf16 | Matrix::F16);
    if (pairs && k == 4) || (!pairs && k == 16) {
        return Err("this shape is not supported for these types".into());
    }
    let per_register = if pairs { 2 } else { 1 };
    let (in_a, in_b) = (16 * k / 32 / per_register, 8 * k / 32 / per_register);
    let [d, a, b, c] = exactly(args)?;
    let mut list = |operand: &Operand, n: u32, out: bool| -> Result<Vec<u32>, String> {
        let one = std::slice::from_ref(operand);
        let items = if let Operand::Vector(list) = operand { list.as_slice() } else { one };
        if items.len() != n as usize {
            return Err(format!("{n} registers are wanted, not {}", items.len()));
        }
        items.iter().map(|r| if out { o.out(r, 32) } else { o.word(r, 32) }).collect()
    };
    let four = |v: Vec<u32>| [v[0], v[1], v[2], v[3]];
    let (d, a, b, c) = (list(d, 4, true)?, list(a, in_a, false)?, list(b, in_b, false)?, list(c, 4, false)?);
    Ok(Op::Mma { ty, k, d: four(d), a, b, c: four(c) })
}
