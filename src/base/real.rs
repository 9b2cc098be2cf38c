//! `Real`: the one generic of the CPU half, implemented by f32 (training) and f64 (gradient checks, parity).

/// A floating point number that every op is written for.
pub trait Real:
    Copy
    + Default
    + Send
    + Sync
    + 'static
    + PartialOrd
    + std::fmt::Debug
    + std::fmt::Display
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + std::ops::MulAssign
    + std::iter::Sum
    + bytemuck::Pod
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest number to an f64 constant.
    fn of(x: f64) -> Self;
    /// The same number in f64, exact.
    fn f64(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// e^x - 1 without cancellation near 0.
    fn exp_m1(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The larger of two numbers; a NaN on either side is returned.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers; a NaN on either side is returned.
    fn min(self, other: Self) -> Self;
    /// Whether this is neither infinite nor NaN.
    fn is_finite(self) -> bool;

    /// x where positive, else e^x - 1.
    #[inline(always)]
    fn elu(self) -> Self {
        if self > Self::ZERO { self } else { self.exp_m1() }
    }

    /// 1 / (1 + e^-x).
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }

    /// ln(1 + e^x), without overflow.
    #[inline(always)]
    fn softplus(self) -> Self {
        // ln(1 + e) for e in (0, 1] loses only absolute accuracy below half an ulp of 1, which std + min_std does not see.
        self.max(Self::ZERO) + (Self::ONE + (-self.abs()).exp()).ln()
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exp(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn exp_m1(self) -> Self {
        self.exp_m1()
    }
    #[inline(always)]
    fn ln(self) -> Self {
        self.ln()
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        self.tanh()
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self >= other || self.is_nan() { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self <= other || self.is_nan() { self } else { other }
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

/// The transcendental functions of f32 are written out, without branches and without calls, so that a loop over them becomes
/// vector code at whatever width the machine has, and gives the same bits at every width. The polynomials and the split of
/// ln 2 are those of the Cephes library (Moshier, 1984-2000, `expf.c`, `logf.c`, `tanhf.c`); the errors stay within 2 ULP of
/// the f64 functions, which `tests` below measure.
mod single {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    /// ln 2 in two parts: the high one has so few bits that its product with a small integer is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// 1.5 * 2^23: adding it rounds a small number to the nearest integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;

    /// 2^n for -127 < n < 128, else any number.
    #[inline(always)]
    fn power_of_two(n: i32) -> f32 {
        f32::from_bits((n.wrapping_add(127) << 23) as u32)
    }

    /// x = n ln 2 + r with |r| <= ln 2 / 2; returns (n, e^r - 1).
    #[inline(always)]
    fn reduced_exp_m1(x: f32) -> (i32, f32) {
        let shifted = x * LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = (x - n * LN2_HIGH) - n * LN2_LOW;
        let mut p = 1.987_569_2e-4;
        p = p * r + 1.398_2e-3;
        p = p * r + 8.333_452e-3;
        p = p * r + 4.166_579_6e-2;
        p = p * r + 1.666_666_6e-1;
        p = p * r + 5.0e-1;
        ((shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32), p * (r * r) + r)
    }

    /// Clamps so that 2^n stays a normal number; the comparisons let a NaN through.
    #[inline(always)]
    fn clamp(x: f32) -> f32 {
        let x = if x < -87.0 { -87.0 } else { x };
        if x > 88.37 { 88.37 } else { x }
    }

    #[inline(always)]
    pub fn exp(x: f32) -> f32 {
        let (n, m) = reduced_exp_m1(clamp(x));
        let y = (m + 1.0) * power_of_two(n);
        let y = if x > 88.37 { f32::INFINITY } else { y };
        if x < -87.0 { 0.0 } else { y }
    }

    #[inline(always)]
    pub fn exp_m1(x: f32) -> f32 {
        let (n, m) = reduced_exp_m1(clamp(x));
        let scale = power_of_two(n);
        let y = m * scale + (scale - 1.0);
        if x > 88.37 { f32::INFINITY } else { y }
    }

    /// The bits of `if x > 0 { x } else { exp_m1(x) }`, without what `exp_m1` does for large x: that lane is not taken.
    #[inline(always)]
    pub fn elu(x: f32) -> f32 {
        let (n, m) = reduced_exp_m1(if x < -87.0 { -87.0 } else { x });
        let scale = power_of_two(n);
        let y = m * scale + (scale - 1.0);
        if x > 0.0 { x } else { y }
    }

    #[inline(always)]
    pub fn ln(x: f32) -> f32 {
        // Numbers below the smallest normal one are scaled up by 2^23.
        let tiny = x < f32::MIN_POSITIVE;
        let scaled = if tiny { x * 8_388_608.0 } else { x };
        let bits = scaled.to_bits() as i32;
        // x = m 2^e with m in [sqrt(1/2), sqrt 2).
        let offset = bits.wrapping_sub(0x3f35_04f3);
        let e = (offset >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
        let m = f32::from_bits((offset & 0x007f_ffff).wrapping_add(0x3f35_04f3) as u32) - 1.0;
        let z = m * m;
        let mut p = 7.037_683_6e-2;
        p = p * m - 1.151_461e-1;
        p = p * m + 1.167_699_9e-1;
        p = p * m - 1.242_014_1e-1;
        p = p * m + 1.424_932_3e-1;
        p = p * m - 1.666_805_7e-1;
        p = p * m + 0.200_007_15;
        p = p * m - 2.499_999_4e-1;
        p = p * m + 0.333_333_3;
        let y = ((p * m) * z + e * LN2_LOW) - 0.5 * z;
        let y = (m + y) + e * LN2_HIGH;
        let y = if x == f32::INFINITY { x } else { y };
        let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
        if x >= 0.0 { y } else { f32::NAN }
    }

    #[inline(always)]
    pub fn tanh(x: f32) -> f32 {
        let a = x.abs();
        let z = x * x;
        let mut p = -5.704_988e-3;
        p = p * z + 2.063_909e-2;
        p = p * z - 5.373_971_6e-2;
        p = p * z + 1.333_144_3e-1;
        p = p * z - 3.333_328e-1;
        let near = (p * z) * x + x;
        let far = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
        if a < 0.625 { near } else { far }
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        single::exp(self)
    }
    #[inline(always)]
    fn exp_m1(self) -> Self {
        single::exp_m1(self)
    }
    #[inline(always)]
    fn elu(self) -> Self {
        single::elu(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        single::ln(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        single::tanh(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self >= other || self.is_nan() { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self <= other || self.is_nan() { self } else { other }
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worst distance, in units in the last place of the f32 result, over a sweep of arguments.
    fn worst_ulp(single: impl Fn(f32) -> f32, double: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let steps = 200_000;
        (0..=steps)
            .map(|i| low + (high - low) * i as f32 / steps as f32)
            .map(|x| {
                let (got, want) = (f64::from(single(x)), double(f64::from(x)));
                let ulp = (want.abs() as f32).max(f32::MIN_POSITIVE);
                let ulp = f64::from(f32::from_bits(ulp.to_bits() + 1) - ulp);
                (got - want).abs() / ulp
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn single_precision_functions_stay_within_a_few_ulp() {
        assert!(worst_ulp(Real::exp, f64::exp, -86.0, 88.37) <= 2.0);
        assert!(worst_ulp(Real::exp_m1, f64::exp_m1, -10.0, 10.0) <= 3.0);
        assert!(worst_ulp(Real::ln, f64::ln, 1e-6, 3.0) <= 2.0);
        assert!(worst_ulp(Real::ln, f64::ln, 1.0, 1e6) <= 2.0);
        assert!(worst_ulp(Real::tanh, f64::tanh, -10.0, 10.0) <= 3.0);
    }

    /// Every 997th f32 there is, in both signs, with infinities and zeros.
    #[test]
    fn elu_has_the_bits_of_its_definition() {
        let some = (0..u32::MAX).step_by(997).map(f32::from_bits);
        for x in some.chain([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY]).filter(|x| !x.is_nan()) {
            let want = if x > 0.0 { x } else { Real::exp_m1(x) };
            assert_eq!(Real::elu(x).to_bits(), want.to_bits(), "elu({x})");
        }
    }

    #[test]
    fn a_nan_passes_through() {
        let all = [Real::exp, Real::exp_m1, Real::elu, Real::ln, Real::tanh, Real::sigmoid, Real::softplus];
        for f in all as [fn(f32) -> f32; 7] {
            assert!(f(f32::NAN).is_nan());
        }
        assert!(Real::max(f32::NAN, 1.0).is_nan() && Real::max(1.0, f32::NAN).is_nan());
        assert!(Real::min(f32::NAN, 1.0).is_nan() && Real::min(1.0, f32::NAN).is_nan());
    }
}
