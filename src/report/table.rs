//! Aligned plain-text tables, as gradcheck, parity, explain, eval and the end of `train` print them.

use std::fmt;

/// A table: columns with a header, text to the left, numbers to the right.
///
/// ```
/// use dreamer_fast::report::Table;
/// let mut table = Table::new(&["op", ">error"]);
/// table.row(["linear", "3.1e-11"]);
/// table.row(["gru_cell", "2e-10"]);
/// assert_eq!(table.to_string(), "\
/// op          error
/// --------  -------
/// linear    3.1e-11
/// gru_cell    2e-10
/// ");
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    right: Vec<bool>,
    /// A row without cells is a rule.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. A leading `>` aligns a column to the right. When every header is empty no header is printed.
    pub fn new(columns: &[&str]) -> Self {
        Table {
            header: columns.iter().map(|c| c.strip_prefix('>').unwrap_or(c).to_string()).collect(),
            right: columns.iter().map(|c| c.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row of as many cells as there are columns.
    pub fn row<C: ToString>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells: Vec<String> = cells.into_iter().map(|c| c.to_string()).collect();
        let columns = self.header.len();
        assert!(cells.len() == columns, "table: {} cells in a row of {columns} columns", cells.len());
        self.rows.push(cells);
    }

    /// Adds a horizontal rule, in front of totals.
    pub fn rule(&mut self) {
        self.rows.push(Vec::new());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = self.header.iter().map(|c| c.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let rule: Vec<String> = widths.iter().map(|&w| "-".repeat(w)).collect();
        let headed = self.header.iter().any(|c| !c.is_empty());
        let head = [&self.header, &rule];
        let rows = self.rows.iter().map(|row| if row.is_empty() { &rule } else { row });
        for row in head.into_iter().filter(|_| headed).chain(rows) {
            let mut line = String::new();
            for ((cell, &width), &right) in row.iter().zip(&widths).zip(&self.right) {
                line += &if right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", ">µs"]);
        table.row(["a".to_string(), 12.to_string()]);
        table.rule();
        table.row(["all of it".to_string(), 1234.to_string()]);
        let want = "name         µs\n---------  ----\na            12\n---------  ----\nall of it  1234\n";
        assert_eq!(table.to_string(), want);
    }

    #[test]
    fn a_table_without_headers_is_a_list() {
        let mut table = Table::new(&["", ">"]);
        table.row(["steps", "100"]);
        assert_eq!(table.to_string(), "steps  100\n");
    }
}
