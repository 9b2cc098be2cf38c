//! Cuts PTX text into tokens.

/// One token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// An opcode, directive, register, label or other name, with the dots in it.
    Word(&'a str),
    /// An integer literal, as two's complement.
    Int(u64),
    /// The bits of a single-precision literal.
    F32(u32),
    /// The bits of a double-precision literal.
    F64(u64),
    /// A quoted string.
    Text(&'a str),
    /// Punctuation.
    Mark(char),
}

/// A token and the line on which it stands, from 1.
pub type Located<'a> = (Token<'a>, u32);

fn in_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

/// The tokens of `text`.
///
/// # Errors
/// A sentence with the line of the character or literal that is not PTX.
pub fn tokens(text: &str) -> Result<Vec<Located<'_>>, String> {
    let bytes = text.as_bytes();
    let (mut out, mut i, mut line) = (Vec::new(), 0, 1);
    while i < bytes.len() {
        let (c, next, start) = (bytes[i], bytes.get(i + 1).copied().unwrap_or(0), i);
        match c {
            b'\n' => {
                line += 1;
                i += 1;
            }
            b' ' | b'\t' | b'\r' | 0 => i += 1,
            b'/' if next == b'/' => {
                while i < bytes.len() && bytes[i] != b'\n' {
                    i += 1;
                }
            }
            b'/' if next == b'*' => {
                let end = text[i..].find("*/").ok_or(format!("line {line}: a comment has no end"))?;
                line += text[i..i + end].matches('\n').count() as u32;
                i += end + 2;
            }
            b'"' => {
                let end = text[i + 1..].find('"').ok_or(format!("line {line}: a string has no end"))?;
                out.push((Token::Text(&text[i + 1..i + 1 + end]), line));
                i += end + 2;
            }
            b'0'..=b'9' => {
                while i < bytes.len() && in_word(bytes[i]) {
                    i += 1;
                }
                let literal = &text[start..i];
                out.push((number(literal).ok_or(format!("line {line}: {literal} is not a number"))?, line));
            }
            _ if in_word(c) => {
                // `::` belongs to modifiers such as .shared::cta.
                while i < bytes.len() && (in_word(bytes[i]) || bytes[i..].starts_with(b"::")) {
                    i += if bytes[i] == b':' { 2 } else { 1 };
                }
                out.push((Token::Word(&text[start..i]), line));
            }
            b',' | b';' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'<' | b'>' | b'+' | b'-' | b'|' | b'!' | b'@'
            | b':' | b'=' => {
                out.push((Token::Mark(c as char), line));
                i += 1;
            }
            _ => return Err(format!("line {line}: unexpected character {:?}", c as char)),
        }
    }
    Ok(out)
}

fn number(literal: &str) -> Option<Token<'_>> {
    let lower = literal.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0f").filter(|h| h.len() == 8) {
        return u32::from_str_radix(hex, 16).ok().map(Token::F32);
    }
    if let Some(hex) = lower.strip_prefix("0d").filter(|h| h.len() == 16) {
        return u64::from_str_radix(hex, 16).ok().map(Token::F64);
    }
    let digits = lower.trim_end_matches('u');
    let value = if let Some(hex) = digits.strip_prefix("0x") {
        u64::from_str_radix(hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        u64::from_str_radix(binary, 2)
    } else if digits.len() > 1 && digits.starts_with('0') && !digits.contains('.') {
        u64::from_str_radix(&digits[1..], 8)
    } else if digits.contains('.') {
        return digits.parse::<f64>().ok().map(|v| Token::F64(v.to_bits()));
    } else {
        digits.parse()
    };
    value.ok().map(Token::Int)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_lines() {
        let got =
            tokens("@!%p1 ld.shared::cta.f32 %f1, [a+-4]; // x\n/* \n */ 0f3F800000 0d4000000000000000 0x1F 017 7U")
                .unwrap();
        let plain: Vec<_> = got.iter().map(|t| t.0).collect();
        use Token::*;
        assert_eq!(plain[..4], [Mark('@'), Mark('!'), Word("%p1"), Word("ld.shared::cta.f32")]);
        assert_eq!(plain[4..11], [Word("%f1"), Mark(','), Mark('['), Word("a"), Mark('+'), Mark('-'), Int(4)]);
        assert_eq!(plain[13..], [F32(0x3f80_0000), F64(0x4000_0000_0000_0000), Int(31), Int(15), Int(7)]);
        assert_eq!(got.last().unwrap().1, 3);
        assert_eq!(tokens("a\n 12x").unwrap_err(), "line 2: 12x is not a number");
    }
}
