//! numpy's array format (NEP 1, "A Simple File Format for NumPy Arrays"): a header in Python's syntax, then the entries.

use crate::base::{Error, Result};

/// The kinds of entries that episode files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// `|b1`, one byte each.
    Bool,
    /// `|u1`.
    U8,
    /// `<f2`, as danijar/dreamer writes at precision 16.
    F16,
    /// `<f4`.
    F32,
    /// `<f8`.
    F64,
}

impl Dtype {
    /// Bytes of one entry.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::Bool | Dtype::U8 => 1,
            Dtype::F16 => 2,
            Dtype::F32 => 4,
            Dtype::F64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Dtype::Bool => "|b1",
            Dtype::U8 => "|u1",
            Dtype::F16 => "<f2",
            Dtype::F32 => "<f4",
            Dtype::F64 => "<f8",
        }
    }
}

/// An array as read: its bytes are little-endian and in C order, and exactly as many as its shape says.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Kind of the entries.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The entries.
    pub bytes: Vec<u8>,
}

impl Array {
    /// The entries as f32, of whichever kind they are; f64 are rounded.
    pub fn floats(&self) -> Vec<f32> {
        let bytes = &self.bytes;
        match self.dtype {
            Dtype::Bool | Dtype::U8 => bytes.iter().map(|&x| f32::from(x)).collect(),
            Dtype::F16 => bytes.chunks_exact(2).map(|x| half(u16::from_le_bytes([x[0], x[1]]))).collect(),
            Dtype::F32 => bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().expect("4 bytes"))).collect(),
            Dtype::F64 => {
                bytes.chunks_exact(8).map(|x| f64::from_le_bytes(x.try_into().expect("8 bytes")) as f32).collect()
            }
        }
    }
}

/// A number of 16 bits (IEEE 754 binary16) as f32, exact.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// The header of an array; its length is a multiple of 64, as numpy makes it.
pub fn header(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    let mut sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    if shape.len() > 1 {
        sizes.truncate(sizes.len() - 2);
    } else if shape.len() == 1 {
        sizes.truncate(sizes.len() - 1);
    }
    let mut text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({sizes}), }}", dtype.name());
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let length = u16::try_from(text.len()).expect("a shape of a few sizes");
    [MAGIC, &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat()
}

/// Reads an array from the whole of `file`. An error says what is wrong with it, without naming the file.
pub fn parse(file: &[u8]) -> Result<Array> {
    let (header, data) = split(file).ok_or_else(|| Error::new("it has no header of a numpy array"))?;
    let wrong = |what: &str| Error::new(format!("its header has {what}: {}", header.escape_debug()));
    let dtype = match value(header, "descr").ok_or_else(|| wrong("no 'descr'"))?.split('\'').nth(1) {
        Some("|b1") => Dtype::Bool,
        Some("|u1") => Dtype::U8,
        Some("<f2") => Dtype::F16,
        Some("<f4") => Dtype::F32,
        Some("<f8") => Dtype::F64,
        _ => return Err(wrong("a type other than bool, uint8, float16, float32, float64")),
    };
    if !value(header, "fortran_order").is_some_and(|order| order.starts_with("False")) {
        return Err(wrong("no C order"));
    }
    let shape = value(header, "shape")
        .and_then(|text| text.strip_prefix('(')?.split(')').next())
        .and_then(|sizes| {
            let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
            sizes.map(|size| size.parse::<usize>().ok()).collect::<Option<Vec<usize>>>()
        })
        .ok_or_else(|| wrong("no proper 'shape'"))?;
    let expected = shape.iter().try_fold(dtype.bytes(), |product, &size| product.checked_mul(size));
    if expected != Some(data.len()) {
        return Err(Error::new(format!("it has {} bytes of entries but the shape {shape:?}", data.len())));
    }
    Ok(Array { dtype, shape, bytes: data.to_vec() })
}

/// Header text and entries, for versions 1 to 3 of the format.
fn split(file: &[u8]) -> Option<(&str, &[u8])> {
    let rest = file.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk::<2>().map(|(n, rest)| (usize::from(u16::from_le_bytes(*n)), rest))?,
        2 | 3 => rest.split_first_chunk::<4>().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest))?,
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// What follows `'key':` in a header.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_numpys_own_and_read_back() {
        let text = |header: Vec<u8>| String::from_utf8_lossy(&header[10..]).trim_end().to_string();
        assert_eq!(text(header(Dtype::F32, &[3])), "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }");
        assert_eq!(text(header(Dtype::U8, &[3, 7])), "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 7), }");
        for shape in [&[][..], &[2], &[2, 3], &[4, 1, 5]] {
            let count: usize = shape.iter().product();
            let file = [header(Dtype::U8, shape), vec![9; count]].concat();
            assert!(file.len().is_multiple_of(64) || (file.len() - count).is_multiple_of(64));
            let array = parse(&file).unwrap();
            assert_eq!((array.shape.as_slice(), array.bytes.len()), (shape, count));
            assert!(parse(&file[..file.len() - 1]).is_err());
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        let with = |text: &str| [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
        for text in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 2), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4",
            "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (), }",
            "{'descr'",
            "",
        ] {
            assert!(parse(&with(text)).is_err(), "{text}");
        }
        assert!(parse(b"").is_err() && parse(MAGIC).is_err() && parse(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn half_precision_is_exact() {
        let cases = [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (1, 2f32.powi(-24)), (0x0400, 2f32.powi(-14))];
        for (bits, number) in cases {
            assert_eq!(half(bits), number);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan() && half(0x8000).is_sign_negative());
    }
}
