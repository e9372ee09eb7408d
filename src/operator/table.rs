//! A plain table that fits an 80-column terminal: columns as wide as they must be, no colour, nothing that a log or a
//! pipe would choke on.

use std::fmt;

/// The narrowest terminal that people have.
const WIDTH: usize = 80;

/// What stands for the rest of a cell that had to be cut.
const CUT: &str = "..";

/// Rows of `N` cells below a heading.
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    cuttable: usize,
}

impl<const N: usize> Table<N> {
    /// A table of that heading. Where it would be wider than a terminal, the column `cuttable` gives way.
    pub fn new(heading: [&str; N], cuttable: usize) -> Self {
        Table {
            rows: vec![heading.map(str::to_owned)],
            cuttable,
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Whether it has only its heading.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The columns' widths, and the gap between them: first the gap gives way, then the column that may be cut.
    fn layout(&self) -> ([usize; N], usize) {
        let width = |at: usize| {
            self.rows
                .iter()
                .map(|row| row[at].chars().count())
                .max()
                .unwrap_or(0)
        };
        let mut widths: [usize; N] = std::array::from_fn(width);
        let total = |gap: usize| widths.iter().sum::<usize>() + gap * (N - 1);
        let gap = if total(2) <= WIDTH { 2 } else { 1 };
        let excess = total(gap).saturating_sub(WIDTH);
        widths[self.cuttable] = widths[self.cuttable].saturating_sub(excess).max(CUT.len());
        (widths, gap)
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (widths, gap) = self.layout();
        for row in &self.rows {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{:width$}", cut(cell, width)));
            let line = cells.collect::<Vec<_>>().join(&" ".repeat(gap));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width - CUT.len()).chain(CUT.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(profile: &str, device: &str, state: &str) -> String {
        let mut table = Table::new(["GPU", "PROFILE", "DEVICE", "HOLDER", "STATE"], 2);
        table.row(["10", profile, device, "3f2a90c1d7e4", state].map(str::to_owned));
        table.to_string()
    }

    const UUID: &str = "MIG-1a2b3c4d-0000-5000-8000-0123456789ab";

    #[test]
    fn an_ordinary_device_is_shown_whole() {
        for state in ["held 3m", "pending 59s", "freeing 12h"] {
            let text = table("1c.3g.40gb", UUID, state);
            assert!(text.contains(UUID), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
    }

    #[test]
    fn what_is_too_wide_is_cut_where_it_may_be() {
        let old = "MIG-GPU-45d15fcb-f0c8-2fb1-eeac-e0cad1e3a049/13/0";
        let text = table("1c.2g.48gb+me.all", old, "freeing 12h");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(
            text.contains("1c.2g.48gb+me.all MIG-GPU-45d15fcb-f0c8-2fb1-eeac.. 3f2a90c1d7e4 freeing 12h"),
            "{text}"
        );
    }
}
