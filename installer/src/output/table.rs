//! A table for people: columns as wide as what is in them, three spaces apart, as kubectl's.

use super::Style;

/// Rows under a heading.
#[derive(Clone, Debug)]
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<(Style, String)>>,
}

impl Table {
    /// A table with this heading.
    #[must_use]
    pub fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { heading: heading.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// One more row.
    #[must_use]
    pub fn row<const N: usize>(mut self, cells: [&str; N]) -> Self {
        self.push(cells.map(|cell| (Style::Plain, cell.to_owned())).into());
        self
    }

    /// One more row, with a style for each cell.
    pub fn push(&mut self, cells: Vec<(Style, String)>) {
        self.rows.push(cells);
    }

    /// The table as text, a line each row.
    #[must_use]
    pub fn render(&self, colors: bool) -> String {
        let mut widths: Vec<usize> = self.heading.iter().map(|cell| width(cell)).collect();
        for row in &self.rows {
            for (column, (_, cell)) in widths.iter_mut().zip(row) {
                *column = (*column).max(width(cell));
            }
        }
        let heading: Vec<_> = self.heading.iter().map(|cell| (Style::Plain, cell.clone())).collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            // What is padding after the last cell would only make lines wrap.
            let mut gap = 0;
            for ((style, cell), column) in row.iter().zip(&widths) {
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(&style.paint(cell, colors));
                gap = column.saturating_sub(width(cell)) + BETWEEN;
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// How many columns of a terminal a text takes.
fn width(text: &str) -> usize {
    text.chars().count()
}

const BETWEEN: usize = 3;
