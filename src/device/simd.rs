//! The choice of vector instructions at run time.
//!
//! The program is compiled for the oldest processor of its architecture, yet its loops should use what the processor at hand
//! has. `vectorize!(|| ...)` runs a closure inside a function that is compiled for the instruction set that was found: the
//! closure is inlined there, and the compiler turns its plain loops into vector code of that width (512 bits at
//! [`Level::Avx512`], too). Rust never contracts `a * b + c` into a fused operation on its own, so an elementwise loop gives the
//! same bits at every level.
//!
//! Three things decide whether that comes true. The closure's loop is best a plain `for`: the closures of `(0..n).for_each` or
//! one that is called in several places may be left out of line, as narrow as before. What it calls must be
//! `#[inline(always)]`. And `x.tanh()` must be [`Real`](crate::base::Real)'s, as it is in code generic over `R: Real`: on a
//! plain `f32` the same words call the mathematics library, one number at a time.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use crate::base::{Error, Result};

/// A set of vector instructions, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whatever every processor of the architecture has (x86-64: SSE2, aarch64: NEON).
    Portable,
    /// AVX2 and FMA: 256 bits.
    Avx2,
    /// AVX-512 F, BW, CD, DQ, VL: 512 bits.
    Avx512,
    /// The same, and products of bf16 pairs (AVX512-BF16), which [`Precision::Bf16`](super::gemm::Precision::Bf16) uses. Everything
    /// else runs as at [`Level::Avx512`] and has its bits.
    Avx512Bf16,
    /// The same, and products of tiles of bf16 (AMX), of which [`Precision::Bf16`](super::gemm::Precision::Bf16) is made: at this level its
    /// bits are others. On Linux.
    Amx,
}

impl Level {
    /// The highest level that this process can run on this processor.
    pub fn detect() -> Level {
        let level = Level::of_instructions();
        #[cfg(target_arch = "x86_64")]
        if level == Level::Avx512Bf16 && amx() {
            return Level::Amx;
        }
        level
    }

    /// The highest level but [`Level::Amx`], whose registers Linux has to be asked for.
    fn of_instructions() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (avx2, avx512) {
                (true, true) if is_x86_feature_detected!("avx512bf16") => Level::Avx512Bf16,
                (true, true) => Level::Avx512,
                (true, false) => Level::Avx2,
                (false, _) => Level::Portable,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Level::Portable
    }

    /// The level of a name as `DREAMER_SIMD` spells it.
    pub fn named(name: &str) -> Option<Level> {
        match name {
            "portable" => Some(Level::Portable),
            "avx2" => Some(Level::Avx2),
            "avx512" => Some(Level::Avx512),
            "avx512bf16" => Some(Level::Avx512Bf16),
            "amx" => Some(Level::Amx),
            _ => None,
        }
    }
}

/// Whether the processor has AMX with bf16, and the system lets this process use its registers: Linux has to be asked once, for all
/// threads.
#[cfg(target_arch = "x86_64")]
fn amx() -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        /// `ARCH_REQ_XCOMP_PERM` of Linux, and the state component of the tiles' data.
        const REQUEST: (libc::c_int, libc::c_ulong) = (0x1023, 18);
        /// AMX-BF16 and AMX-TILE in EDX of leaf 7.
        const TILES: u32 = 1 << 22 | 1 << 24;
        // SAFETY: every processor of this architecture has the instruction. Newer compilers do not ask for the block.
        #[allow(unused_unsafe)]
        let has = unsafe { __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & TILES == TILES };
        // SAFETY: the call reads no memory of this process.
        has && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST.0, REQUEST.1) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Refuses a word in the environment variable `DREAMER_SIMD` that is no level.
///
/// # Errors
/// The word, and those that there are.
pub fn check() -> Result<()> {
    wanted().map(drop)
}

/// The level that `DREAMER_SIMD` names, if it is set.
fn wanted() -> Result<Option<Level>> {
    let Some(name) = std::env::var_os("DREAMER_SIMD") else { return Ok(None) };
    let level = name.to_str().and_then(Level::named);
    level.map(Some).ok_or_else(|| {
        Error::new(format!(
            "DREAMER_SIMD is {name:?}: set it to portable, avx2, avx512, avx512bf16 or amx, or unset it"
        ))
    })
}

/// The level in use: the highest one of this processor, or a lower one if the environment variable `DREAMER_SIMD` names it
/// (`portable`, `avx2`, `avx512`, `avx512bf16`, `amx`). Decided at the first call and constant from then on, since packed matrices depend on it.
///
/// # Panics
/// If `DREAMER_SIMD` holds any other word, see [`check`].
#[inline]
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let wanted = wanted().unwrap_or_else(|error| panic!("{error}"));
        match wanted {
            None | Some(Level::Amx) => Level::detect(),
            Some(level) => level.min(Level::of_instructions()),
        }
    })
}

/// Runs a closure `|| ...` compiled for the instruction set of [`level`]: see the [module](self).
macro_rules! vectorize {
    (|| $body:expr) => {
        $crate::device::simd::with_level(
            #[inline(always)]
            || $body,
        )
    };
}
pub(crate) use vectorize;

/// What `vectorize!` expands to. A closure must say `#[inline(always)]`: without it a large one is called, not inlined, and
/// silently stays as narrow as it was.
#[inline(always)]
pub fn with_level<T>(f: impl FnOnce() -> T) -> T {
    match level() {
        Level::Portable => f(),
        // SAFETY: `level` never exceeds what `detect` found on this processor.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { with_avx2(f) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Bf16 | Level::Amx => unsafe { with_avx512(f) },
        #[cfg(not(target_arch = "x86_64"))]
        other => unreachable!("{other:?} exists on x86-64 only"),
    }
}

/// Runs `f` compiled for AVX2 and FMA.
///
/// # Safety
/// The processor must be at [`Level::Avx2`] or above.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt")]
pub unsafe fn with_avx2<T>(f: impl FnOnce() -> T) -> T {
    f()
}

/// Runs `f` compiled for AVX-512.
///
/// # Safety
/// The processor must be at [`Level::Avx512`] or above.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt")]
pub unsafe fn with_avx512<T>(f: impl FnOnce() -> T) -> T {
    f()
}

/// Runs `f` compiled for AVX-512 with AVX512-BF16.
///
/// # Safety
/// The processor must be at [`Level::Avx512Bf16`] or above.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt")]
pub unsafe fn with_avx512_bf16<T>(f: impl FnOnce() -> T) -> T {
    f()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Philox, Real};

    /// Plain code and vector code give the same bits. At lower levels: `every_level`.
    #[test]
    fn vectorize_changes_no_bit() {
        let mut random = Philox::new(1, 0, 0);
        let x: Vec<f32> = (0..10_007).map(|_| (8.0 * random.normal()) as f32).collect();
        macro_rules! same {
            ($f:ident) => {
                let (mut plain, mut wide) = (vec![0.0_f32; x.len()], vec![0.0_f32; x.len()]);
                for (y, &x) in plain.iter_mut().zip(&x) {
                    *y = std::hint::black_box(Real::$f(x) * x + x);
                }
                vectorize!(|| wide.iter_mut().zip(&x).for_each(|(y, &x)| *y = Real::$f(x) * x + x));
                for ((plain, wide), x) in plain.iter().zip(&wide).zip(&x) {
                    assert_eq!(
                        plain.to_bits(),
                        wide.to_bits(),
                        "{}({x}) at {:?}: {plain}, {wide}",
                        stringify!($f),
                        level()
                    );
                }
            };
        }
        same!(exp);
        same!(exp_m1);
        same!(ln);
        same!(tanh);
        same!(sigmoid);
        same!(softplus);
    }

    /// The level is fixed for a process, so the other test runs again in child processes.
    #[test]
    fn every_level() {
        for name in ["portable", "avx2", "avx512", "avx512bf16"] {
            if Level::named(name).unwrap() > Level::detect() {
                println!("skipped {name}: this processor has {:?}", Level::detect());
                continue;
            }
            let program = std::env::current_exe().unwrap();
            let child = std::process::Command::new(program).arg("vectorize_changes").env("DREAMER_SIMD", name).output();
            let child = child.unwrap();
            let said = String::from_utf8_lossy(&child.stdout);
            assert!(child.status.success() && said.contains("1 passed"), "at {name}: {said}");
        }
    }
}
