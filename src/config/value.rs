//! What a key may hold: reading a value from text, writing it as TOML, and the range it must lie in.

/// A type that a key can have.
pub trait Value: Sized + Clone + PartialEq {
    /// For a choice between words: each word and what it means.
    const CHOICES: &'static [(&'static str, &'static str)] = &[];

    /// What the key takes, as the middle of a sentence: `a whole number`, `one of auto, cpu, cuda`.
    fn expects() -> String;

    /// Reads the text of `--set key=TEXT`; `None` when it is not of this type.
    fn parse(text: &str) -> Option<Self>;

    /// The value as it stands behind `key = ` in a TOML file.
    fn toml(&self) -> String;

    /// Every number in the value, for [`Rule::admits`]; nothing for text, switches and choices.
    fn numbers(&self) -> Vec<f64> {
        Vec::new()
    }
}

/// Which numbers a key admits. Infinities and NaN never reach a rule: they do not parse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Whatever the type holds.
    Any,
    /// This or more.
    AtLeast(f64),
    /// More than this.
    Above(f64),
    /// From the first to the second, both included.
    Within(f64, f64),
    /// One of these.
    OneOf(&'static [f64]),
}

impl Rule {
    /// Whether a number may be used.
    pub fn admits(self, x: f64) -> bool {
        match self {
            Rule::Any => true,
            Rule::AtLeast(low) => x >= low,
            Rule::Above(low) => x > low,
            Rule::Within(low, high) => (low..=high).contains(&x),
            Rule::OneOf(allowed) => allowed.contains(&x),
        }
    }

    /// The rule in words that follow "a number"; empty for [`Rule::Any`].
    pub fn words(self) -> String {
        match self {
            Rule::Any => String::new(),
            Rule::AtLeast(low) => format!(", {low} or more"),
            Rule::Above(low) => format!(" above {low}"),
            Rule::Within(low, high) => format!(" from {low} to {high}"),
            Rule::OneOf(allowed) => {
                let names: Vec<String> = allowed.iter().map(f64::to_string).collect();
                format!(": {}", names.join(", "))
            }
        }
    }
}

/// A whole number in plain (`100000`, `100_000`) or scientific (`1e5`) notation. Beyond 2^53 a number in scientific
/// notation would be rounded, so it is refused there; nothing passes 2^63 - 1, TOML's largest integer.
fn parse_whole(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    if let Ok(exact) = text.parse::<u64>() {
        return (exact <= i64::MAX as u64).then_some(exact);
    }
    let x = text.parse::<f64>().ok()?;
    (x.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&x)).then_some(x as u64)
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn expects() -> String {
                "a whole number".into()
            }
            fn parse(text: &str) -> Option<Self> {
                parse_whole(text)?.try_into().ok()
            }
            fn toml(&self) -> String {
                self.to_string()
            }
            fn numbers(&self) -> Vec<f64> {
                vec![*self as f64]
            }
        }
    )+};
}
whole_number!(u32, u64, usize);

impl Value for f64 {
    fn expects() -> String {
        "a number".into()
    }
    fn parse(text: &str) -> Option<Self> {
        text.replace('_', "").parse().ok().filter(|x: &f64| x.is_finite())
    }
    fn toml(&self) -> String {
        // Rust's shortest exact form; `{:?}` keeps the point that makes it a float in TOML (`3.0`, `6e-5`).
        format!("{self:?}")
    }
    fn numbers(&self) -> Vec<f64> {
        vec![*self]
    }
}

impl Value for bool {
    fn expects() -> String {
        "true or false".into()
    }
    fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "True" => Some(true),
            "false" | "False" => Some(false),
            _ => None,
        }
    }
    fn toml(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn expects() -> String {
        "text".into()
    }
    fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && !text.chars().any(char::is_control);
        fits.then(|| text.to_string())
    }
    fn toml(&self) -> String {
        toml::Value::String(self.clone()).to_string()
    }
}

/// Widths of successive layers: `200,200`, or `[200, 200]` in a file. An empty list means no layer.
impl Value for Vec<usize> {
    fn expects() -> String {
        "a list, such as 200,200, of whole numbers".into()
    }
    fn parse(text: &str) -> Option<Self> {
        let inner = match text.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None => text,
        };
        if inner.trim().is_empty() {
            return Some(Vec::new());
        }
        inner.split(',').map(|part| usize::parse(part.trim())).collect()
    }
    fn toml(&self) -> String {
        format!("{self:?}")
    }
    fn numbers(&self) -> Vec<f64> {
        self.iter().map(|&width| width as f64).collect()
    }
}

/// Declares an enum whose variants are the words of a key: `Elu = "elu"`, each with its one-line doc.
macro_rules! choice {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// The word that stands for this choice in flags and files.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl $crate::config::value::Value for $name {
            const CHOICES: &'static [(&'static str, &'static str)] = &[$(($word, concat!($($doc),+))),+];

            fn expects() -> String {
                format!("one of {}", [$($word),+].join(", "))
            }
            fn parse(text: &str) -> Option<Self> {
                match text { $($word => Some($name::$variant),)+ _ => None }
            }
            fn toml(&self) -> String {
                format!("\"{}\"", self.word())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(super) use choice;
