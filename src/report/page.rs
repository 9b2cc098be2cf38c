//! One HTML page without outside resources: headings, text, plots as SVG, pictures as data, tables, and commands to copy.
//!
//! A page is built from top to bottom. Every text is escaped; an SVG is taken as it is. Styles follow the reader's choice of light or
//! dark. The same calls give the same bytes.

use std::fmt::Write as _;

/// A page under construction.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
}

/// A cell of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Field {
    text: String,
    number: bool,
    share: Option<f64>,
    good: Option<bool>,
}

impl Field {
    /// Text, to the left.
    pub fn text(text: impl Into<String>) -> Self {
        Field { text: text.into(), ..Field::default() }
    }

    /// A number, to the right.
    pub fn number(text: impl Into<String>) -> Self {
        Field { text: text.into(), number: true, ..Field::default() }
    }

    /// The same with a bar behind it, as wide as this share of the cell.
    pub fn bar(self, share: f64) -> Self {
        Field { share: Some(share.clamp(0.0, 1.0)), ..self }
    }

    /// The same with a mark: whether a bar was reached.
    pub fn marked(self, good: bool) -> Self {
        Field { good: Some(good), ..self }
    }
}

impl Page {
    /// A page with this title and nothing below it.
    pub fn new(title: &str) -> Self {
        Page { title: title.into(), body: String::new() }
    }

    /// A heading; what follows belongs to it.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.element("h2", text)
    }

    /// A smaller heading.
    pub fn subheading(&mut self, text: &str) -> &mut Self {
        self.element("h3", text)
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        self.element("p", text)
    }

    /// SVG documents side by side, as many as fit, with a caption and the command that makes them again.
    pub fn plots(&mut self, svgs: &[String], caption: &str, command: &str) -> &mut Self {
        self.body += "<figure><div class=\"plots\">\n";
        svgs.iter().for_each(|svg| {
            let _ = writeln!(self.body, "<div>{svg}</div>");
        });
        self.body += "</div>";
        self.close_figure(caption, command)
    }

    /// A PNG file, with a caption and the command that makes it again.
    pub fn picture(&mut self, png: &[u8], caption: &str, command: &str) -> &mut Self {
        let alt = escaped(caption);
        let _ = writeln!(self.body, "<figure><img alt=\"{alt}\" src=\"data:image/png;base64,{}\">", base64(png));
        self.close_figure(caption, command)
    }

    /// A table with as many headers as each row has fields.
    pub fn table(&mut self, headers: &[String], rows: &[Vec<Field>]) -> &mut Self {
        self.body += "<div class=\"wide\"><table><thead><tr>";
        for header in headers {
            let _ = write!(self.body, "<th>{}</th>", escaped(header));
        }
        self.body += "</tr></thead><tbody>\n";
        for row in rows {
            assert!(row.len() == headers.len(), "page: {} fields in a row of {} columns", row.len(), headers.len());
            self.body += "<tr>";
            row.iter().for_each(|field| self.field(field));
            self.body += "</tr>\n";
        }
        self.body += "</tbody></table></div>\n";
        self
    }

    /// Commands that open under a summary.
    pub fn commands(&mut self, summary: &str, commands: &[String]) -> &mut Self {
        let _ = write!(self.body, "<details><summary>{}</summary><pre>", escaped(summary));
        commands.iter().for_each(|command| {
            let _ = writeln!(self.body, "{}", escaped(command));
        });
        self.body += "</pre></details>\n";
        self
    }

    /// The whole document.
    pub fn to_html(&self) -> String {
        let title = escaped(&self.title);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<h1>{title}</h1>\n{}</body>\n</html>\n",
            self.body
        )
    }

    fn element(&mut self, tag: &str, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<{tag}>{}</{tag}>", escaped(text));
        self
    }

    fn close_figure(&mut self, caption: &str, command: &str) -> &mut Self {
        let _ = writeln!(
            self.body,
            "<figcaption>{}<pre>{}</pre></figcaption></figure>",
            escaped(caption),
            escaped(command)
        );
        self
    }

    fn field(&mut self, field: &Field) {
        let class = if field.number { " class=\"number\"" } else { "" };
        let style = field.share.map_or(String::new(), |share| {
            let percent = 100.0 * share;
            format!(
                " style=\"background:linear-gradient(to right,var(--bar) {percent:.1}%,transparent {percent:.1}%)\""
            )
        });
        let mark = match field.good {
            Some(true) => " <span class=\"good\">reached</span>",
            Some(false) => " <span class=\"short\">short</span>",
            None => "",
        };
        let _ = write!(self.body, "<td{class}{style}>{}{mark}</td>", escaped(&field.text));
    }
}

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --faint: #6b6b6b; --rule: #d8d8d8; --bar: #cfe3f7; --code: #f4f4f4; }
@media (prefers-color-scheme: dark) {
:root { --ink: #e6e6e6; --paper: #161616; --faint: #9a9a9a; --rule: #3a3a3a; --bar: #1f4467; --code: #222222; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-top: 1px solid var(--rule); padding-top: 1rem; }
p { max-width: 48rem; }
figure { margin: 1.5rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
.plots svg { width: 100%; height: auto; max-width: 44rem; }
img { max-width: 100%; image-rendering: pixelated; }
figcaption { color: var(--faint); font-size: 0.9rem; }
pre { background: var(--code); color: var(--ink); padding: 0.5rem 0.75rem; overflow-x: auto; font-size: 0.85rem; margin: 0.5rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.good { color: #1a7f37; font-size: 0.8rem; }
.short { color: #b35900; font-size: 0.8rem; }
";

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, i| word << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i) & 63) as usize] as char;
            out.push(if i <= group.len() { letter } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn base64_agrees_with_the_rfc() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn every_text_is_escaped_and_an_svg_is_not() {
        let mut page = Page::new("a < b");
        page.heading("<h>").paragraph("p & q").plots(&["<svg></svg>".into()], "<c>", "run --set \"a=b\"");
        page.table(&["<t>".into()], &[vec![Field::text("<f>")]])
            .commands("<s>", &["<x>".into()])
            .picture(b"foo", "\"", "y");
        let html = page.to_html();
        for tag in ["<h>", "<c>", "<t>", "<f>", "<s>", "<x>", "a < b", "p & q", "\"a=b\"", "alt=\"\"\""] {
            assert!(!html.contains(tag), "{tag}");
        }
        assert!(html.contains("<div><svg></svg></div>") && html.contains("base64,Zm9v\""));
    }

    #[test]
    fn a_bar_is_as_wide_as_its_share_and_a_mark_says_what_was_reached() {
        let mut page = Page::new("t");
        page.table(
            &["n".into()],
            &[vec![Field::number("0.25").bar(0.25).marked(false)], vec![Field::number("2").bar(2.0)]],
        );
        let html = page.to_html();
        assert!(
            html.contains("var(--bar) 25.0%,transparent 25.0%")
                && html.contains(">short<")
                && !html.contains(">reached<")
        );
        assert!(html.contains("var(--bar) 100.0%"));
    }
}
