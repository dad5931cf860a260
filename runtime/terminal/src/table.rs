//! Lists as tables: a header, no borders, one line a row.

use comfy_table::{CellAlignment, ContentArrangement, ContentLineStyle, presets};

use crate::text::{ELLIPSIS, one_line};
use crate::{Role, Style};

/// The spaces between two columns: one of them is [`BOUNDARY`].
const GAP_COLUMNS: u16 = 2;

/// The narrowest terminal a table is fitted to; on a narrower one it is cut at this width.
const WIDTH_COLUMNS_MIN: u16 = 20;

/// What comfy-table puts between columns, so that cells can be found again in its lines and be coloured, and the only
/// place where it may break the text of a cell. No cell has it, since control characters are made visible.
const BOUNDARY: char = '\u{1f}';

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    title: String,
    right: bool,
}

impl Column {
    /// A column of texts.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), right: false }
    }

    /// A column of numbers, aligned at the right.
    pub fn number(title: impl Into<String>) -> Self {
        Self { title: title.into(), right: true }
    }
}

/// One cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    role: Option<Role>,
}

impl Cell {
    /// A text in the look of `role`.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { text: text.into(), role: Some(role) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), role: None }
    }
}

/// Rows under a header.
///
/// ```
/// use hob_terminal::{Column, Style, Table};
///
/// let mut table = Table::new([Column::new("name"), Column::number("runs")]);
/// table.row(["backup", "12"]);
/// table.row(["media-ingest", "3"]);
/// assert_eq!(table.render(Style::plain()), "\
/// NAME          RUNS
/// backup          12
/// media-ingest     3
/// ");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row. Cells that are missing stay empty, those without a column are dropped.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let mut row: Vec<Cell> = cells.into_iter().map(Into::into).collect();
        row.resize_with(self.columns.len(), Cell::default);
        self.rows.push(row);
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text. On a terminal each row takes one line and what does not fit ends in `…`; anywhere else
    /// nothing is shortened. Control characters are made visible.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        if self.columns.is_empty() {
            return String::new();
        }
        let header: Vec<Cell> =
            self.columns.iter().map(|column| Cell::new(Role::Muted, column.title.to_uppercase())).collect();
        let rows: Vec<&[Cell]> = std::iter::once(&header).chain(&self.rows).map(Vec::as_slice).collect();
        let laid_out = self.laid_out(&rows, style.width_columns);
        let mut out = String::new();
        for (line, row) in laid_out.lines().zip(rows) {
            let cells = line.split(BOUNDARY).zip(row).map(|(text, cell)| painted(text, cell.role, style));
            out.push_str(cells.collect::<Vec<_>>().join(" ").trim_end());
            out.push('\n');
        }
        out
    }

    /// The rows with each cell cut and padded to its column, one line a row.
    fn laid_out(&self, rows: &[&[Cell]], width_columns: Option<u16>) -> comfy_table::Table {
        let lines = presets::NOTHING.content_lines(ContentLineStyle::none().junction(BOUNDARY));
        let mut table = comfy_table::Table::new();
        table.load_style(lines).set_truncation_indicator(ELLIPSIS).set_delimiter(BOUNDARY);
        match width_columns {
            // The padding behind the last column is cut off in the end.
            Some(width) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width.max(WIDTH_COLUMNS_MIN).saturating_add(GAP_COLUMNS - 1)),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        for cells in rows {
            let mut row =
                comfy_table::Row::from(cells.iter().map(|cell| one_line(&cell.text)).collect::<Vec<_>>());
            row.max_height(1);
            table.add_row(row);
        }
        for (column, laid_out) in self.columns.iter().zip(table.column_iter_mut()) {
            laid_out.set_padding((0, GAP_COLUMNS - 1));
            laid_out.set_cell_alignment(if column.right {
                CellAlignment::Right
            } else {
                CellAlignment::Left
            });
        }
        table
    }
}

/// `padded` with its text, but not its padding, in the look of `role`.
fn painted(padded: &str, role: Option<Role>, style: Style) -> String {
    let text = padded.trim();
    match role {
        Some(role) if style.color && !text.is_empty() => {
            padded.replacen(text, &style.paint(role, text).to_string(), 1)
        }
        _ => padded.to_owned(),
    }
}
