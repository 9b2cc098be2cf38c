//! Loads, stores, atomics and asynchronous copies.

use super::Mods;
use super::arithmetic::{exactly, take_type};
use super::moves::take_space;
use super::operands::Operands;
use crate::ptx::inst::{Atom, Num, Op, Order};
use crate::ptx::syntax::{Operand, Space};

type Found = Result<Option<Op>, String>;

/// Takes what orders an access, and the cache hints, which mean nothing here.
fn take_order(mods: &mut Mods) -> Order {
    let mut order = Order::Plain;
    mods.take("weak");
    if mods.take("nc") {
        order = Order::NonCoherent;
    }
    for m in ["volatile", "relaxed", "acquire", "release", "acq_rel"] {
        if mods.take(m) {
            order = Order::Synchronising;
        }
    }
    let hint = |m: &str| {
        let known = matches!(m, "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "cta" | "gpu" | "sys" | "cluster");
        (known || m.starts_with("L1::") || m.starts_with("L2::")).then_some(())
    };
    while mods.find(hint).is_some() {}
    order
}

/// Decodes one instruction, if it touches memory.
pub fn decode(o: &mut Operands, base: &str, mods: &mut Mods, args: &[Operand]) -> Found {
    match base {
        "ld" | "ldu" | "st" => {
            let order = take_order(mods);
            let space = take_space(mods);
            let vector = mods.find(|m| match m {
                "v2" => Some(2),
                "v4" => Some(4),
                _ => None,
            });
            let ty = take_type(mods)?;
            let (memory, data) = match (base, exactly(args)?) {
                ("st", [memory, data]) => (memory, data),
                (_, [data, memory]) => (memory, data),
            };
            let v = o.values(data, ty.bits(), ty.signed(), base != "st")?;
            if v.regs.len() != vector.unwrap_or(1) || v.regs.len() as u32 * v.bytes > 16 {
                return Err("the number of elements is wrong".into());
            }
            let addr = o.addr(memory, space)?;
            if base == "st" && matches!(addr.space, Some(Space::Param | Space::Const)) {
                return Err("this state space is not written".into());
            }
            Ok(Some(if base == "st" { Op::St { addr, order, v } } else { Op::Ld { addr, order, v } }))
        }
        "atom" | "red" => {
            take_order(mods);
            mods.take("noftz");
            let space = take_space(mods);
            let f = mods
                .find(|m| {
                    Some(match m {
                        "add" => Atom::Add,
                        "min" => Atom::Min,
                        "max" => Atom::Max,
                        "exch" => Atom::Exch,
                        "cas" => Atom::Cas,
                        "inc" => Atom::Inc,
                        "dec" => Atom::Dec,
                        "and" => Atom::And,
                        "or" => Atom::Or,
                        "xor" => Atom::Xor,
                        _ => return None,
                    })
                })
                .ok_or("the function is missing")?;
            let ty = take_type(mods)?;
            let bits = ty.bits();
            let float = matches!(ty, Num::F32 | Num::F64);
            if bits < 32 || (float && f != Atom::Add) {
                return Err("atomics of this type are not supported".into());
            }
            let (d, rest) = if base == "atom" {
                let (d, rest) = args.split_first().ok_or("operands are missing")?;
                (if *d == Operand::Discard { None } else { Some(o.out(d, bits)?) }, rest)
            } else {
                (None, args)
            };
            if rest.len() != if f == Atom::Cas { 3 } else { 2 } {
                return Err("the number of operands is wrong".into());
            }
            let addr = o.addr(&rest[0], space)?;
            if !matches!(addr.space, None | Some(Space::Global | Space::Shared)) {
                return Err("atomics work on global and shared memory only".into());
            }
            let b = o.source(&rest[1], bits)?;
            let c = if let Some(c) = rest.get(2) { o.source(c, bits)? } else { b };
            Ok(Some(Op::Atomic { addr, f, ty, d, b, c }))
        }
        "cp" => async_copy(o, mods, args),
        "ldmatrix" => {
            for m in ["sync", "aligned", "m8n8"] {
                if !mods.take(m) {
                    return Err(format!(".{m} is missing"));
                }
            }
            mods.take("b16");
            let count = mods.find(|m| match m {
                "x1" => Some(1),
                "x2" => Some(2),
                "x4" => Some(4),
                _ => None,
            });
            let trans = mods.take("trans");
            let space = take_space(mods);
            let [Operand::Vector(list), memory] = exactly(args)? else {
                return Err("registers in braces are wanted".into());
            };
            if count != Some(list.len()) {
                return Err("the number of registers is wrong".into());
            }
            let d = list.iter().map(|r| o.out(r, 32)).collect::<Result<_, _>>()?;
            let addr = o.addr(memory, space)?;
            Ok(Some(Op::LdMatrix { addr, trans, d }))
        }
        "prefetch" | "prefetchu" => {
            for m in ["global", "local", "L1", "L2", "L2::evict_last", "L2::evict_normal"] {
                mods.take(m);
            }
            Ok(Some(Op::Nop))
        }
        _ => Ok(None),
    }
}

fn async_copy(o: &mut Operands, mods: &mut Mods, args: &[Operand]) -> Found {
    if !mods.take("async") {
        return Err("only cp.async is supported".into());
    }
    if mods.take("commit_group") {
        return Ok(Some(Op::CpAsyncCommit));
    }
    if mods.take("wait_all") {
        return Ok(Some(Op::CpAsyncWaitAll));
    }
    if mods.take("wait_group") {
        let [Operand::Int(n)] = args else { return Err("the number of groups is no literal".into()) };
        return Ok(Some(Op::CpAsyncWait(*n as u32)));
    }
    let whole_lines = mods.take("cg");
    if !(whole_lines || mods.take("ca")) || !(mods.take("shared") || mods.take("shared::cta")) || !mods.take("global") {
        return Err("only copies from global to shared memory are supported".into());
    }
    while mods.find(|m| m.starts_with("L2::").then_some(())).is_some() {}
    let (Some(dst), Some(src), Some(Operand::Int(bytes))) = (args.first(), args.get(1), args.get(2)) else {
        return Err("the size is no literal".into());
    };
    let bytes = *bytes as u32;
    if !(bytes == 16 || (!whole_lines && matches!(bytes, 4 | 8))) {
        return Err(format!("{bytes} bytes are not a size that this copy has"));
    }
    let (dst, src) = (o.addr(dst, Some(Space::Shared))?, o.addr(src, Some(Space::Global))?);
    let src_bytes = args.get(3).map(|r| o.word(r, 32)).transpose()?;
    Ok(Some(Op::CpAsync { dst, src, bytes, src_bytes }))
}
