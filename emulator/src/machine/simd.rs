//! Functions over 32 lanes, compiled once more for processors with AVX2 and fused multiply-add and chosen at run time: without
//! the latter every `fma` is a library call.

/// Whether this processor runs the wide copies.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn wide_lanes() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}

/// Defines a function and, on x86-64, a second copy for AVX2 and FMA to which it turns where the processor allows.
macro_rules! over_lanes {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        pub fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,popcnt,lzcnt,bmi1,bmi2")]
                fn wide($($arg: $ty),*) $(-> $ret)? {
                    plain($($arg),*)
                }
                if crate::machine::simd::wide_lanes() {
                    // SAFETY: the processor has the features; every one with AVX2 and FMA has the others.
                    return unsafe { wide($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}
pub(crate) use over_lanes;

/// The lanes of a 32-bit register.
pub type Word = [u32; 32];
/// The lanes of a 64-bit register.
pub type Wide = [u64; 32];

/// Stores `out` in the lanes of `mask`.
#[inline(always)]
pub fn put<T: Copy>(to: &mut [T; 32], out: [T; 32], mask: u32) {
    if mask == u32::MAX {
        *to = out;
    } else {
        for i in 0..32 {
            to[i] = if mask >> i & 1 != 0 { out[i] } else { to[i] };
        }
    }
}

/// The mask of the lanes for which `f` is true.
#[inline(always)]
pub fn lanes_where(f: impl Fn(usize) -> bool) -> u32 {
    let mut mask = 0;
    for i in 0..32 {
        mask |= u32::from(f(i)) << i;
    }
    mask
}

/// The lanes of a mask, in ascending order.
#[inline(always)]
pub fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let i = mask.trailing_zeros();
            mask &= mask - 1;
            i as usize
        })
    })
}
