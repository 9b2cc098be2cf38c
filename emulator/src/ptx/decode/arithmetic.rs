//! Arithmetic, logic and comparisons.

use super::Mods;
use super::operands::Operands;
use crate::ptx::inst::{Carry, Cmp, Float, Int, Logic, Mode, Num, Op, R, Round, Test};
use crate::ptx::syntax::Operand;

type Found = Result<Option<Op>, String>;

/// The type a modifier names; untyped bits count as unsigned.
pub fn num(m: &str) -> Option<Num> {
    Some(match m {
        "b8" | "u8" => Num::U8,
        "s8" => Num::S8,
        "b16" | "u16" => Num::U16,
        "s16" => Num::S16,
        "b32" | "u32" => Num::U32,
        "s32" => Num::S32,
        "b64" | "u64" => Num::U64,
        "s64" => Num::S64,
        "f16" => Num::F16,
        "bf16" => Num::Bf16,
        "tf32" => Num::Tf32,
        "f32" => Num::F32,
        "f64" => Num::F64,
        _ => return None,
    })
}

/// The rounding a modifier names.
pub fn round(m: &str) -> Option<Round> {
    Some(match m {
        "rn" | "rni" => Round::Nearest,
        "rz" | "rzi" => Round::Zero,
        "rm" | "rmi" => Round::Down,
        "rp" | "rpi" => Round::Up,
        "rna" => Round::Away,
        _ => return None,
    })
}

fn comparison(m: &str) -> Option<Cmp> {
    Some(match m {
        "eq" => Cmp::Eq,
        "ne" => Cmp::Ne,
        "lt" | "lo" => Cmp::Lt,
        "le" | "ls" => Cmp::Le,
        "gt" | "hi" => Cmp::Gt,
        "ge" | "hs" => Cmp::Ge,
        "equ" => Cmp::EqU,
        "neu" => Cmp::NeU,
        "ltu" => Cmp::LtU,
        "leu" => Cmp::LeU,
        "gtu" => Cmp::GtU,
        "geu" => Cmp::GeU,
        "num" => Cmp::Num,
        "nan" => Cmp::Nan,
        _ => return None,
    })
}

/// The logic function a modifier or opcode names.
pub fn logic(m: &str) -> Option<Logic> {
    Some(match m {
        "and" => Logic::And,
        "or" => Logic::Or,
        "xor" => Logic::Xor,
        _ => return None,
    })
}

/// Takes the one type of an instruction.
pub fn take_type(mods: &mut Mods) -> Result<Num, String> {
    mods.find(num).ok_or_else(|| "the type is missing".into())
}

/// Takes exactly `N` operands.
pub fn exactly<const N: usize>(args: &[Operand]) -> Result<&[Operand; N], String> {
    args.try_into().map_err(|_| format!("{N} operands are wanted, not {}", args.len()))
}

/// Decodes one instruction, if it is arithmetic.
pub fn decode(o: &mut Operands, base: &str, mods: &mut Mods, args: &[Operand]) -> Found {
    match base {
        "setp" => return setp(o, mods, args).map(Some),
        "testp" => return testp(o, mods, args).map(Some),
        "bfi" => {
            let bits = take_type(mods)?.bits();
            let [d, a, b, pos, len] = exactly(args)?;
            let (d, a, b) = (o.out(d, bits)?, o.source(a, bits)?, o.source(b, bits)?);
            let (pos, len) = (o.word(pos, 32)?, o.word(len, 32)?);
            return Ok(Some(if bits == 64 {
                Op::Bfi64 { d, a, b, pos, len }
            } else {
                Op::Bfi32 { d, a, b, pos, len }
            }));
        }
        "lop3" => {
            mods.take("b32");
            let [d, a, b, c, Operand::Int(table)] = exactly(args)? else {
                return Err("the table is no literal".into());
            };
            let (d, a, b, c) = (o.out(d, 32)?, o.word(a, 32)?, o.word(b, 32)?, o.word(c, 32)?);
            return Ok(Some(Op::Int32 { f: Int::Lop3(*table as u8), d, a, b, c }));
        }
        _ => {}
    }
    let first = mods.0.iter().find_map(|m| num(m));
    if matches!(base, "and" | "or" | "xor" | "not") && mods.take("pred") {
        let d = o.pred_out(args.first().ok_or("operands are missing")?)?;
        let a = o.pred(args.get(1).ok_or("operands are missing")?)?;
        return Ok(Some(match (logic(base), args.get(2)) {
            (Some(f), Some(b)) => Op::PredLogic { f, d, a, b: o.pred(b)? },
            _ => Op::PredMov { d, a: crate::ptx::inst::P { r: a.r, not: !a.not } },
        }));
    }
    if first.is_some_and(Num::float) || mods.0.iter().any(|m| matches!(*m, "f16x2" | "bf16x2")) {
        return float(o, base, mods, args);
    }
    integer(o, base, mods, args)
}

fn setp(o: &mut Operands, mods: &mut Mods, args: &[Operand]) -> Result<Op, String> {
    let cmp = mods.find(comparison).ok_or("the comparison is missing")?;
    let with = mods.find(logic);
    let ftz = mods.take("ftz");
    let ty = take_type(mods)?;
    if matches!(ty, Num::F16 | Num::Bf16) {
        return Err("comparisons of 16-bit floats are not supported".into());
    }
    let (d, not_d) = match args.first().ok_or("operands are missing")? {
        Operand::Pair(p, q) => (o.pred_out(p)?, Some(o.pred_out(q)?)),
        p => (o.pred_out(p)?, None),
    };
    let bits = ty.bits();
    let mut source = |i: usize| o.source(args.get(i).ok_or("operands are missing")?, bits);
    let (a, b) = (source(1)?, source(2)?);
    let with = match with {
        None => None,
        Some(f) => Some((f, o.pred(args.get(3).ok_or("the predicate is missing")?)?)),
    };
    Ok(Op::SetP { ty, cmp, ftz, d, not_d, a, b, with })
}

fn testp(o: &mut Operands, mods: &mut Mods, args: &[Operand]) -> Result<Op, String> {
    let test = mods.find(|m| {
        Some(match m {
            "finite" => Test::Finite,
            "infinite" => Test::Infinite,
            "number" => Test::Number,
            "notanumber" => Test::NotANumber,
            "normal" => Test::Normal,
            "subnormal" => Test::Subnormal,
            _ => return None,
        })
    });
    let wide = take_type(mods)? == Num::F64;
    let [d, a] = exactly(args)?;
    Ok(Op::TestP {
        test: test.ok_or("the test is missing")?,
        wide,
        d: o.pred_out(d)?,
        a: o.source(a, if wide { 64 } else { 32 })?,
    })
}

/// Whether PTX has a function in f64.
fn of_f64(f: Float) -> bool {
    !matches!(f, Float::Ex2 | Float::Lg2 | Float::Sin | Float::Cos | Float::Tanh | Float::MinNan | Float::MaxNan)
}

/// Whether PTX has a function in f16 and bf16.
fn of_halves(f: Float) -> bool {
    !matches!(
        f,
        Float::Div | Float::Rcp | Float::Sqrt | Float::Rsqrt | Float::Lg2 | Float::Sin | Float::Cos | Float::Copysign
    )
}

fn float(o: &mut Operands, base: &str, mods: &mut Mods, args: &[Operand]) -> Found {
    let approximate = matches!(base, "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh");
    let (f, inputs) = match base {
        "add" => (Float::Add, 2),
        "sub" => (Float::Sub, 2),
        "mul" => (Float::Mul, 2),
        "fma" | "mad" => (Float::Fma, 3),
        "div" => (Float::Div, 2),
        "rcp" => (Float::Rcp, 1),
        "sqrt" => (Float::Sqrt, 1),
        "rsqrt" => (Float::Rsqrt, 1),
        "ex2" => (Float::Ex2, 1),
        "lg2" => (Float::Lg2, 1),
        "sin" => (Float::Sin, 1),
        "cos" => (Float::Cos, 1),
        "tanh" => (Float::Tanh, 1),
        "abs" => (Float::Abs, 1),
        "neg" => (Float::Neg, 1),
        "min" => (if mods.take("NaN") { Float::MinNan } else { Float::Min }, 2),
        "max" => (if mods.take("NaN") { Float::MaxNan } else { Float::Max }, 2),
        "copysign" => (Float::Copysign, 2),
        _ => return Ok(None),
    };
    let mut r = mods.find(round);
    if approximate || matches!(f, Float::Div | Float::Rcp | Float::Sqrt) {
        let named = mods.take("approx") || (f == Float::Div && mods.take("full"));
        if approximate && !named {
            return Err("only the approximate form exists".into());
        }
        r = r.or(Some(Round::Nearest));
    }
    let mode = Mode { round: r.unwrap_or(Round::Nearest), ftz: mods.take("ftz"), sat: mods.take("sat") };
    if args.len() != inputs + 1 {
        return Err(format!("{} operands are wanted, not {}", inputs + 1, args.len()));
    }
    let pair = mods.find(|m| match m {
        "f16x2" => Some(Num::F16),
        "bf16x2" => Some(Num::Bf16),
        _ => None,
    });
    let ty = match pair {
        Some(ty) => ty,
        None => take_type(mods)?,
    };
    let bits = if pair.is_some() { 32 } else { ty.bits() };
    let d = o.out(&args[0], bits)?;
    let mut input = |i: usize| o.source(&args[i.min(inputs)], bits);
    let (a, b, c) = (input(1)?, input(2)?, input(3)?);
    Ok(Some(match ty {
        Num::F32 => Op::F32 { f, mode, d, a, b, c },
        Num::F64 if mode.round == Round::Nearest && !mode.sat && of_f64(f) => Op::F64 { f, d, a, b, c },
        Num::F16 | Num::Bf16 if mode.round == Round::Nearest && !mode.ftz && of_halves(f) => {
            Op::Half { f, ty, pair: pair.is_some(), mode, d, a, b, c }
        }
        _ => return Err("this function of this type and rounding is not supported".into()),
    }))
}

/// `add.cc`, `addc`, `sub.cc`, `subc`, `mad.cc` and `madc`.
fn carry(o: &mut Operands, base: &str, mods: &mut Mods, args: &[Operand]) -> Found {
    let takes = base.ends_with('c');
    let gives = mods.take("cc");
    if !takes && !gives {
        return Ok(None);
    }
    let ty = take_type(mods)?;
    let high = match base {
        "mad" | "madc" if mods.take("lo") => Some(false),
        "mad" | "madc" if mods.take("hi") => Some(true),
        "mad" | "madc" => return Err("one of .lo and .hi is wanted".into()),
        _ => None,
    };
    if args.len() != if high.is_some() { 4 } else { 3 } {
        return Err("the number of operands is wrong".into());
    }
    let bits = ty.bits();
    let d = o.out(&args[0], bits)?;
    let (a, b, c) =
        (o.source(&args[1], bits)?, o.source(&args[2], bits)?, o.source(args.get(3).unwrap_or(&args[2]), bits)?);
    let subtracts = base.starts_with("sub");
    Ok(Some(Op::Carry {
        f: Carry { wide: bits == 64, signed: ty.signed(), high, subtracts, takes, gives },
        d,
        a,
        b,
        c,
    }))
}

fn integer(o: &mut Operands, base: &str, mods: &mut Mods, args: &[Operand]) -> Found {
    if matches!(base, "add" | "addc" | "sub" | "subc" | "mad" | "madc")
        && let Some(op) = carry(o, base, mods, args)?
    {
        return Ok(Some(op));
    }
    let known = [
        "add", "sub", "mul", "mad", "mul24", "div", "rem", "abs", "neg", "min", "max", "sad", "and", "or", "xor",
        "not", "cnot", "shl", "shr", "popc", "clz", "brev", "bfe", "bfind", "prmt", "shf",
    ];
    if !known.contains(&base) {
        return Ok(None);
    }
    let ty = take_type(mods)?;
    let signed = ty.signed();
    let pick = |s: Int, u: Int| if signed { s } else { u };
    let mut product = |lo: Int, hi_s: Int, hi_u: Int| match () {
        _ if mods.take("lo") => Ok(Some(lo)),
        _ if mods.take("hi") => Ok(Some(pick(hi_s, hi_u))),
        _ if mods.take("wide") => Ok(None),
        _ => Err("one of .lo, .hi and .wide is wanted".to_string()),
    };
    // Functions, and the number of inputs.
    let (f, inputs) = match base {
        "mul" => (product(Int::MulLo, Int::MulHiS, Int::MulHiU)?, 2),
        "mad" => (product(Int::MadLo, Int::MadHiS, Int::MadHiU)?, 3),
        "mul24" if mods.take("lo") => (Some(pick(Int::Mul24S, Int::Mul24U)), 2),
        "add" => (Some(if signed && mods.take("sat") { Int::AddSat } else { Int::Add }), 2),
        "sub" => (Some(if signed && mods.take("sat") { Int::SubSat } else { Int::Sub }), 2),
        "div" => (Some(pick(Int::DivS, Int::DivU)), 2),
        "rem" => (Some(pick(Int::RemS, Int::RemU)), 2),
        "min" => (Some(pick(Int::MinS, Int::MinU)), 2),
        "max" => (Some(pick(Int::MaxS, Int::MaxU)), 2),
        "sad" => (Some(pick(Int::SadS, Int::SadU)), 3),
        "abs" => (Some(Int::Abs), 1),
        "neg" => (Some(Int::Neg), 1),
        "and" => (Some(Int::And), 2),
        "or" => (Some(Int::Or), 2),
        "xor" => (Some(Int::Xor), 2),
        "not" => (Some(Int::Not), 1),
        "cnot" => (Some(Int::Cnot), 1),
        "shl" => (Some(Int::Shl), 2),
        "shr" => (Some(pick(Int::ShrS, Int::ShrU)), 2),
        "popc" => (Some(Int::Popc), 1),
        "clz" => (Some(Int::Clz), 1),
        "brev" => (Some(Int::Brev), 1),
        "bfind" if mods.take("shiftamt") => (Some(pick(Int::BfindShiftS, Int::BfindShiftU)), 1),
        "bfind" => (Some(pick(Int::BfindS, Int::BfindU)), 1),
        "bfe" => (Some(pick(Int::BfeS, Int::BfeU)), 3),
        "prmt" => (Some(Int::Prmt), 3),
        "shf" => {
            let (left, wrap) = (mods.take("l"), mods.take("wrap"));
            if !(left || mods.take("r")) || !(wrap || mods.take("clamp")) {
                return Err("a direction and one of .wrap and .clamp are wanted".into());
            }
            let f = match (left, wrap) {
                (true, true) => Int::ShfLWrap,
                (true, false) => Int::ShfLClamp,
                (false, true) => Int::ShfRWrap,
                (false, false) => Int::ShfRClamp,
            };
            (Some(f), 3)
        }
        _ => return Ok(None),
    };
    if args.len() != inputs + 1 {
        return Err(format!("{} operands are wanted, not {}", inputs + 1, args.len()));
    }
    let bits = ty.bits();
    let counts = matches!(base, "popc" | "clz" | "bfind");
    // Shift amounts and positions are 32 bits wide whatever the type is.
    let narrow = |i: usize| (matches!(base, "shl" | "shr") && i == 2) || (base == "bfe" && i >= 2);
    let out_bits = match f {
        None => bits * 2,
        Some(_) if counts => 32,
        Some(_) => bits,
    };
    let d: R = o.out(&args[0], out_bits)?;
    let mut input = |i: usize| {
        let i = i.min(inputs);
        let width = if narrow(i) {
            32
        } else if f.is_none() && i == 3 {
            bits * 2
        } else {
            bits
        };
        o.source(&args[i], width)
    };
    let (a, b) = (input(1)?, input(2)?);
    let c = if inputs == 3 { Some(input(3)?) } else { None };
    let Some(f) = f else {
        return Ok(Some(match bits {
            16 => Op::Wide16 { signed, d, a, b, c: c.unwrap_or_else(|| o.word_literal(0)) },
            32 => Op::Wide32 { signed, d, a, b, c: c.unwrap_or_else(|| o.wide_literal(0)) },
            _ => return Err("only 16 and 32 bits are widened".into()),
        }));
    };
    let c = c.unwrap_or(b);
    let of_two_widths = matches!(f, Int::AddSat | Int::SubSat | Int::Prmt | Int::Mul24S | Int::Mul24U)
        || matches!(f, Int::ShfLClamp | Int::ShfLWrap | Int::ShfRClamp | Int::ShfRWrap);
    match bits {
        32 => Ok(Some(Op::Int32 { f, d, a, b, c })),
        64 if counts => Ok(Some(Op::Count64 { f, d, a })),
        64 if !of_two_widths => Ok(Some(Op::Int64 { f, d, a, b, c })),
        16 if !of_two_widths && !counts && !matches!(f, Int::Brev | Int::BfeS | Int::BfeU) => {
            Ok(Some(Op::Int16 { f, signed, d, a, b, c }))
        }
        _ => Err("this type is not supported".into()),
    }
}
