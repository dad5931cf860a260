//! What turns data into terminal output.
//!
//! Nothing here reads the environment, a clock or a file, and nothing writes but to a writer or a draw target that the
//! caller hands over: the binary looks at its terminal once, makes a [`Style`] of what it finds, and passes it on.
//!
//! | module | does |
//! |---|---|
//! | [`diagnostic`] | problems, with the source line and a caret |
//! | [`color`] | when to use colours, and what each of them means |
//! | [`table`] | lists |
//! | [`records`] | values of scripts as tables and trees |
//! | [`human`] | durations, times and counts for people |
//! | [`progress`], [`bars`] | what long work says about itself |
//! | [`json`] | values as JSON text |
//! | [`text`] | widths, and control characters made harmless |

pub mod bars;
pub mod color;
pub mod diagnostic;
pub mod human;
pub mod json;
pub mod progress;
pub mod records;
pub mod table;
pub mod text;
mod token;

pub use bars::Bars;
pub use color::{ColorChoice, Role};
pub use diagnostic::{Sources, render, render_all};
pub use progress::{End, Lines, Progress, Silent, Task, Unit};
pub use table::{Cell, Column, Table};

/// What the place that output goes to can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to colour; see [`color::enabled`].
    pub color: bool,
    /// The width of the terminal in columns; `None` when it is no terminal, and then nothing is shortened.
    pub width_columns: Option<u16>,
}

impl Style {
    /// No colours and no width: for files, pipes and logs.
    #[must_use]
    pub const fn plain() -> Self {
        Self { color: false, width_columns: None }
    }

    /// A terminal of `width_columns` columns with colours.
    #[must_use]
    pub const fn terminal(width_columns: u16) -> Self {
        Self { color: true, width_columns: Some(width_columns) }
    }
}
