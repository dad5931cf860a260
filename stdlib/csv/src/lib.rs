//! The primitive `csv`: tables as text (RFC 4180) to arrays and back.

mod table;

pub use api::primitive;

use hob_primitive::{Ports, primitive};

/// The most rows that are read or written.
pub const CSV_ROWS_MAX: usize = 1_000_000;

/// Needs no adapter: nothing here reaches the world.
pub fn install(_: &mut Ports) {}

/// Tables as text: CSV, TSV and their like.
///
/// With a header, a row is a map by column; without, an array. Fields are texts: `parse_int` and `parse_float` make
/// numbers of them where that is meant.
#[primitive(name = "csv")]
mod api {
    use hob_model::{OpError, Value};
    use hob_primitive::{Options, Text};

    use crate::table;

    /// How to read.
    #[derive(Options)]
    pub(crate) struct ParseOptions {
        /// The character between fields.
        #[option(default = "\",\".to_owned()")]
        delimiter: String,
        /// The character around fields that hold delimiters or line breaks.
        #[option(default = "\"\\\"\".to_owned()")]
        quote: String,
        /// Lines that start with this character are skipped.
        comment: Option<String>,
        /// Whether the first row names the columns.
        #[option(default = "true")]
        header: bool,
        /// The names of the columns; every row is data then.
        columns: Option<Vec<String>>,
        /// Whether to cut blanks around fields.
        #[option(default = "false")]
        trim: bool,
    }

    /// How to write.
    #[derive(Options)]
    pub(crate) struct StringifyOptions {
        /// The character between fields.
        #[option(default = "\",\".to_owned()")]
        delimiter: String,
        /// Which columns, in which order; left out: all, in order of their names.
        columns: Option<Vec<String>>,
        /// Whether the first line names the columns.
        #[option(default = "true")]
        header: bool,
        /// Whether lines end with CR LF, as RFC 4180 has it, instead of LF.
        #[option(default = "false")]
        crlf: bool,
    }

    /// Reads a table: an array of maps by column, or of arrays with `header: false`.
    ///
    /// Class `pure`: the same text gives the same rows.
    ///
    /// Fails with `invalid` and the line when a row has another number of fields than the first one, or two columns
    /// have one name.
    ///
    /// ```rhai
    /// csv::parse("name,size\nmedia,\"1,5T\"\n") == [#{ name: "media", size: "1,5T" }]
    /// ```
    ///
    /// ```rhai
    /// csv::parse("a;b\nc;d\n", #{ delimiter: ";", header: false }) == [["a", "b"], ["c", "d"]]
    /// ```
    #[operation(pure, returns = "array")]
    fn parse(text: Text, options: ParseOptions) -> Result<Vec<Value>, OpError> {
        let mut reader = csv::ReaderBuilder::new();
        reader
            .has_headers(false)
            .delimiter(table::ascii("delimiter", &options.delimiter)?)
            .quote(table::ascii("quote", &options.quote)?)
            .trim(if options.trim { csv::Trim::All } else { csv::Trim::None });
        if let Some(comment) = &options.comment {
            reader.comment(Some(table::ascii("comment", comment)?));
        }
        table::read(&reader, &text.0, options.header, options.columns)
    }

    /// Writes rows, maps or arrays, as a table.
    ///
    /// Class `pure`. Numbers and truth values become text, `()` and absent columns empty fields.
    ///
    /// Fails with `invalid` when a field is a list, a map or a blob, a row has a column that `columns` lacks, or maps
    /// and arrays are mixed.
    ///
    /// ```rhai
    /// csv::stringify([#{ disk: "sda", free: 12 }, #{ disk: "sdb" }]) == "disk,free\nsda,12\nsdb,\n"
    /// ```
    #[operation(pure, returns = "string")]
    fn stringify(rows: Vec<Value>, options: StringifyOptions) -> Result<String, OpError> {
        let mut writer = csv::WriterBuilder::new();
        writer.delimiter(table::ascii("delimiter", &options.delimiter)?);
        if options.crlf {
            writer.terminator(csv::Terminator::CRLF);
        }
        table::write(&mut writer, rows, options.header, options.columns)
    }
}
