//! Reads tokens into [`Syntax`].

use super::lexer::{Located, Token};
use super::syntax::{Function, Item, Operand, Space, Statement, Syntax, Variable};
use std::collections::HashMap;

type Parsed<T> = Result<T, String>;

/// Reads a module.
///
/// # Errors
/// A sentence with the line of what is not understood.
pub fn parse(tokens: &[Located]) -> Parsed<Syntax> {
    let mut p = Parser { tokens, at: 0, source: None, scopes: Vec::new(), renamed: 0 };
    let mut module = Syntax::default();
    while let Some(Token::Word(word)) = p.peek() {
        match word {
            ".version" | ".target" | ".address_size" | ".loc" => {
                p.next();
                p.skip_line();
            }
            ".file" => {
                p.next();
                let number = p.int()? as u32;
                let Some(Token::Text(name)) = p.next() else { return p.unexpected("a file name") };
                module.files.insert(number, name.to_string());
                p.skip_line();
            }
            ".section" => p.skip_braces()?,
            ".visible" | ".weak" | ".extern" | ".common" => {
                p.next();
            }
            ".entry" | ".func" => {
                let f = p.function()?;
                // A declaration may precede the definition.
                if !f.body.is_empty() {
                    module.functions.push(f);
                }
            }
            ".global" | ".const" | ".shared" => module.variables.extend(p.variable()?),
            _ => return p.unexpected("a directive"),
        }
    }
    if p.peek().is_some() { p.unexpected("a directive") } else { Ok(module) }
}

struct Parser<'a> {
    tokens: &'a [Located<'a>],
    at: usize,
    /// The last `.loc`.
    source: Option<(u32, u32)>,
    /// Names declared in nested braces and what they stand for.
    scopes: Vec<HashMap<String, String>>,
    renamed: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|t| t.0)
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.at += 1;
        self.tokens.get(self.at - 1).map(|t| t.0)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |t| t.1)
    }

    fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        match self.peek() {
            None => Err(format!("the text ends where {wanted} should stand")),
            Some(t) => Err(format!("line {}: {t:?} stands where {wanted} should", self.line())),
        }
    }

    fn eat(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(Token::Mark(mark));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: char) -> Parsed<()> {
        if self.eat(mark) { Ok(()) } else { self.unexpected(&format!("{mark:?}")) }
    }

    fn word(&mut self) -> Parsed<&'a str> {
        match self.peek() {
            Some(Token::Word(w)) => {
                self.at += 1;
                Ok(w)
            }
            _ => self.unexpected("a name"),
        }
    }

    fn int(&mut self) -> Parsed<u64> {
        let negative = self.eat('-');
        match self.peek() {
            Some(Token::Int(v)) => {
                self.at += 1;
                Ok(if negative { v.wrapping_neg() } else { v })
            }
            _ => self.unexpected("an integer"),
        }
    }

    /// Skips what follows the last token on its line.
    fn skip_line(&mut self) {
        let line = self.tokens[self.at - 1].1;
        while self.at < self.tokens.len() && self.line() == line {
            self.at += 1;
        }
    }

    fn skip_braces(&mut self) -> Parsed<()> {
        while !self.eat('{') {
            if self.next().is_none() {
                return self.unexpected("'{'");
            }
        }
        while !self.eat('}') {
            if self.next().is_none() {
                return self.unexpected("'}'");
            }
        }
        Ok(())
    }

    /// What a name means in the innermost scope that declares it.
    fn resolve(&self, name: &str) -> String {
        self.scopes.iter().rev().find_map(|s| s.get(name)).cloned().unwrap_or_else(|| name.to_string())
    }

    /// The name under which a declaration is kept: braces may declare a name again.
    fn declare(&mut self, name: &str) -> String {
        if self.scopes.len() < 2 {
            return name.to_string();
        }
        self.renamed += 1;
        let kept = format!("{name}@{}", self.renamed);
        self.scopes.last_mut().expect("two scopes").insert(name.to_string(), kept.clone());
        kept
    }

    /// `.space [.align n] .type name [n] = {...}, name ... ;`, or one parameter of a function (without the `;`).
    fn declarators(&mut self) -> Parsed<Vec<Variable>> {
        let line = self.line();
        let space = match self.word()? {
            ".global" => Space::Global,
            ".const" => Space::Const,
            ".shared" => Space::Shared,
            ".local" => Space::Local,
            ".param" => Space::Param,
            other => return Err(format!("line {line}: unknown state space {other}")),
        };
        let (mut align, mut width) = (0, 0);
        while let Some(Token::Word(w)) = self.peek().filter(|t| matches!(t, Token::Word(w) if w.starts_with('.'))) {
            self.at += 1;
            match w {
                ".align" => align = self.int()? as u32,
                ".attribute" => self.skip_parens()?,
                ".ptr" | ".global" | ".const" | ".shared" | ".local" | ".visible" => {}
                _ => width = type_bytes(w).ok_or(format!("line {line}: unknown type {w}"))? * width.max(1),
            }
        }
        let mut out = Vec::new();
        loop {
            let word = self.word()?;
            let name = self.declare(word);
            let mut count = 1;
            while self.eat('[') {
                count *= if self.peek() == Some(Token::Mark(']')) { 0 } else { self.int()? as u32 };
                self.expect(']')?;
            }
            let mut init = Vec::new();
            if self.eat('=') {
                self.initialiser(width, &mut init)?;
            }
            let align = if align == 0 { width } else { align };
            out.push(Variable { name, space, align, bytes: width * count, init });
            if space == Space::Param || !self.eat(',') {
                return Ok(out);
            }
        }
    }

    fn variable(&mut self) -> Parsed<Vec<Variable>> {
        let out = self.declarators()?;
        self.expect(';')?;
        Ok(out)
    }

    fn skip_parens(&mut self) -> Parsed<()> {
        self.expect('(')?;
        while !self.eat(')') {
            if self.next().is_none() {
                return self.unexpected("')'");
            }
        }
        Ok(())
    }

    fn initialiser(&mut self, width: u32, out: &mut Vec<u8>) -> Parsed<()> {
        if self.eat('{') {
            while !self.eat('}') {
                self.initialiser(width, out)?;
                self.eat(',');
            }
            return Ok(());
        }
        let bits = match self.peek() {
            Some(Token::F32(v)) => u64::from(v),
            Some(Token::F64(v)) => v,
            Some(Token::Int(_) | Token::Mark('-')) => {
                let v = self.int()?;
                self.at -= 1;
                v
            }
            _ => return self.unexpected("a literal"),
        };
        self.at += 1;
        out.extend(&bits.to_le_bytes()[..width as usize]);
        Ok(())
    }

    fn params(&mut self) -> Parsed<Vec<Variable>> {
        let mut out = Vec::new();
        self.expect('(')?;
        while !self.eat(')') {
            out.extend(self.declarators()?);
            self.eat(',');
        }
        Ok(out)
    }

    fn function(&mut self) -> Parsed<Function> {
        let entry = self.word()? == ".entry";
        self.source = None;
        let returns = if self.peek() == Some(Token::Mark('(')) { self.params()? } else { Vec::new() };
        let name = self.word()?.to_string();
        let params = if self.peek() == Some(Token::Mark('(')) { self.params()? } else { Vec::new() };
        let (registers, variables, body) = Default::default();
        let mut f = Function { name, entry, params, returns, registers, variables, body, max_threads: None };
        loop {
            match self.peek() {
                Some(Token::Word(".maxntid" | ".reqntid")) => {
                    self.at += 1;
                    let mut product = self.int()? as u32;
                    while self.eat(',') {
                        product *= self.int()? as u32;
                    }
                    f.max_threads = Some(product);
                }
                Some(Token::Word(".minnctapersm" | ".maxnreg" | ".maxnctapersm")) => {
                    self.at += 1;
                    self.int()?;
                }
                Some(Token::Word(".noreturn" | ".attribute")) => {
                    self.at += 1;
                    if self.peek() == Some(Token::Mark('(')) {
                        self.skip_parens()?;
                    }
                }
                Some(Token::Mark(';')) => {
                    self.at += 1;
                    return Ok(f);
                }
                Some(Token::Mark('{')) => break,
                _ => return self.unexpected("a function's body"),
            }
        }
        self.block(&mut f)?;
        Ok(f)
    }

    fn block(&mut self, f: &mut Function) -> Parsed<()> {
        self.expect('{')?;
        self.scopes.push(HashMap::new());
        self.declare_labels();
        loop {
            match self.peek() {
                Some(Token::Mark('}')) => {
                    self.at += 1;
                    self.scopes.pop();
                    return Ok(());
                }
                Some(Token::Mark('{')) => self.block(f)?,
                Some(Token::Mark(';')) => self.at += 1,
                Some(Token::Word(".loc")) => {
                    self.at += 1;
                    self.source = Some((self.int()? as u32, self.int()? as u32));
                    self.skip_line();
                }
                Some(Token::Word(".pragma")) => {
                    self.at += 2;
                    self.expect(';')?;
                }
                Some(Token::Word(".reg")) => self.registers(f)?,
                Some(Token::Word(".shared" | ".local" | ".param")) => {
                    let variables = self.variable()?;
                    f.variables.extend(variables);
                }
                Some(Token::Word(w)) if self.tokens.get(self.at + 1).is_some_and(|t| t.0 == Token::Mark(':')) => {
                    self.at += 2;
                    let name = self.resolve(w);
                    if self.peek() == Some(Token::Word(".branchtargets")) {
                        self.at += 1;
                        let mut targets = Vec::new();
                        while !self.eat(';') {
                            let target = self.word()?;
                            targets.push(self.resolve(target));
                            self.eat(',');
                        }
                        f.body.push(Item::Targets(name, targets));
                    } else {
                        f.body.push(Item::Label(name));
                    }
                }
                Some(Token::Word(_) | Token::Mark('@')) => {
                    let statement = self.statement()?;
                    f.body.push(Item::Inst(statement));
                }
                _ => return self.unexpected("an instruction"),
            }
        }
    }

    /// Declares the labels of the block that begins here: a branch may name one before it stands.
    fn declare_labels(&mut self) {
        let (mut depth, mut i) = (1, self.at);
        while depth > 0 && i + 1 < self.tokens.len() {
            match (self.tokens[i].0, self.tokens[i + 1].0) {
                (Token::Mark('{'), _) => depth += 1,
                (Token::Mark('}'), _) => depth -= 1,
                (Token::Word(w), Token::Mark(':')) if depth == 1 => {
                    self.declare(w);
                }
                _ => {}
            }
            i += 1;
        }
    }

    fn registers(&mut self, f: &mut Function) -> Parsed<()> {
        self.at += 1;
        let ty = self.word()?.trim_start_matches('.').to_string();
        loop {
            let word = self.word()?;
            let count = if self.eat('<') {
                let n = self.int()?;
                self.expect('>')?;
                Some(n)
            } else {
                None
            };
            let name = if count.is_some() { word.to_string() } else { self.declare(word) };
            f.registers.insert(name, (ty.clone(), count));
            if !self.eat(',') {
                return self.expect(';');
            }
        }
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let line = self.line();
        let guard = if self.eat('@') {
            let negated = self.eat('!');
            let word = self.word()?;
            Some((self.resolve(word), negated))
        } else {
            None
        };
        let op = self.word()?.to_string();
        let mut args = Vec::new();
        while !self.eat(';') {
            args.push(self.operand()?);
            self.eat(',');
        }
        Ok(Statement { line, source: self.source, guard, op, args })
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let first = self.simple()?;
        if self.eat('|') {
            return Ok(Operand::Pair(Box::new(first), Box::new(self.simple()?)));
        }
        Ok(first)
    }

    fn list(&mut self, end: char) -> Parsed<Vec<Operand>> {
        let mut out = Vec::new();
        while !self.eat(end) {
            out.push(self.operand()?);
            self.eat(',');
        }
        Ok(out)
    }

    fn offset(&mut self) -> Parsed<i64> {
        if self.eat('+') || self.peek() == Some(Token::Mark('-')) { Ok(self.int()? as i64) } else { Ok(0) }
    }

    fn simple(&mut self) -> Parsed<Operand> {
        match self.peek() {
            Some(Token::F32(v)) => {
                self.at += 1;
                Ok(Operand::F32(v))
            }
            Some(Token::F64(v)) => {
                self.at += 1;
                Ok(Operand::F64(v))
            }
            Some(Token::Int(_) | Token::Mark('-')) => Ok(Operand::Int(self.int()?)),
            Some(Token::Mark('!')) => {
                self.at += 1;
                Ok(Operand::Not(Box::new(self.simple()?)))
            }
            Some(Token::Mark('{')) => {
                self.at += 1;
                Ok(Operand::Vector(self.list('}')?))
            }
            Some(Token::Mark('(')) => {
                self.at += 1;
                Ok(Operand::List(self.list(')')?))
            }
            Some(Token::Mark('[')) => {
                self.at += 1;
                let base = self.simple()?;
                let offset = self.offset()?;
                self.expect(']')?;
                Ok(match base {
                    Operand::Symbol(name, more) => {
                        Operand::Address(Box::new(Operand::Symbol(name, 0)), offset.wrapping_add(more))
                    }
                    base => Operand::Address(Box::new(base), offset),
                })
            }
            Some(Token::Word("_")) => {
                self.at += 1;
                Ok(Operand::Discard)
            }
            Some(Token::Word(w)) => {
                self.at += 1;
                let name = self.resolve(w);
                if w.starts_with('%') {
                    return Ok(Operand::Reg(name));
                }
                let offset = self.offset()?;
                Ok(Operand::Symbol(name, offset))
            }
            _ => self.unexpected("an operand"),
        }
    }
}

/// Bytes of a type such as `.u32`; vectors (`.v2`) count their elements.
fn type_bytes(ty: &str) -> Option<u32> {
    Some(match ty.trim_start_matches('.') {
        "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        "v2" => 2,
        "v4" => 4,
        _ => return None,
    })
}
