//! Symbols and definitions, found among the tokens: also of scripts that do not parse.

use hob_engine::bundle::module_file;
use hob_engine::diagnose::{Lexeme, Tokens};
use rhai::{Engine, Token};

/// What declares something with a name: a call whose first argument is a text.
const DECLARATIONS: [&str; 10] =
    ["service", "schedule", "workflow", "flow", "tier", "host", "mount", "dataset", "channel", "alert"];

/// What a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A function.
    Function,
    /// A variable at the top of the file.
    Variable,
    /// A constant at the top of the file.
    Constant,
    /// An imported module.
    Module,
    /// A service, schedule, workflow, flow, tier or host.
    Declaration,
}

/// A name and where it is given; line and column from 1, in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// More about it: the parameters of a function, the kind of a declaration.
    pub detail: String,
    /// Its line.
    pub line: u32,
    /// Its column.
    pub column: u32,
    /// Its width.
    pub length: u32,
}

/// Where something is defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// In the same file.
    Here(Symbol),
    /// A function of another file.
    In {
        /// The file, relative as the import is.
        file: String,
        /// The name of the function.
        name: String,
    },
    /// Another file.
    File(String),
}

fn int(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn symbol(name: &str, kind: Kind, detail: impl Into<String>, at: &Lexeme<'_>) -> Symbol {
    let (line, column, length) = (int(at.line), int(at.column), int(at.width));
    Symbol { name: name.to_owned(), kind, detail: detail.into(), line, column, length }
}

fn identifier<'a>(lexeme: &Lexeme<'a>) -> Option<&'a str> {
    match lexeme.token {
        Token::Identifier(name) => Some(name.as_str()),
        _ => None,
    }
}

/// What a file gives names to, in order.
#[must_use]
pub fn symbols(engine: &Engine, text: &str) -> Vec<Symbol> {
    let tokens = Tokens::of(engine, text);
    let all: Vec<Lexeme<'_>> = tokens.iter().collect();
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for (at, lexeme) in all.iter().enumerate() {
        let next = all.get(at + 1);
        let name = next.and_then(identifier);
        match (lexeme.token, name, next) {
            (Token::LeftBrace | Token::MapStart, ..) => depth += 1,
            (Token::RightBrace, ..) => depth = depth.saturating_sub(1),
            (Token::Fn, Some(name), Some(next)) => {
                found.push(symbol(name, Kind::Function, parameters(&all[at + 2..]), next));
            }
            (Token::Let, Some(name), Some(next)) if depth == 0 => {
                found.push(symbol(name, Kind::Variable, "", next));
            }
            (Token::Const, Some(name), Some(next)) if depth == 0 => {
                found.push(symbol(name, Kind::Constant, "", next));
            }
            (Token::As, Some(name), Some(next)) => found.push(symbol(name, Kind::Module, "", next)),
            (Token::Identifier(word), _, Some(next)) if DECLARATIONS.contains(&word.as_str()) => {
                if let (Token::LeftParen, Some(Lexeme { token: Token::StringConstant(name), .. })) =
                    (next.token, all.get(at + 2))
                {
                    found.push(symbol(name, Kind::Declaration, word.as_str(), lexeme));
                }
            }
            _ => {}
        }
    }
    found
}

/// `(a, b)`
fn parameters(after_name: &[Lexeme<'_>]) -> String {
    let inside = after_name.iter().skip(1).take_while(|lexeme| *lexeme.token != Token::RightParen);
    let names: Vec<&str> = inside.filter_map(identifier).collect();
    format!("({})", names.join(", "))
}

/// Where the name at a place, line and column from 1, is defined.
#[must_use]
pub fn definition(engine: &Engine, file: &str, text: &str, line: usize, column: usize) -> Option<Definition> {
    let tokens = Tokens::of(engine, text);
    let all: Vec<Lexeme<'_>> = tokens.iter().collect();
    let at = all.iter().rposition(|lexeme| {
        lexeme.line == line && lexeme.column <= column && column <= lexeme.column + lexeme.width
    })?;
    if let Token::StringConstant(path) = all[at].token {
        let imported = at.checked_sub(1).is_some_and(|before| *all[before].token == Token::Import);
        return imported.then(|| Definition::File(module_file(file, path)));
    }
    let name = identifier(&all[at])?;
    let module = match at.checked_sub(2).map(|before| (&all[before], all[before + 1].token)) {
        Some((module, Token::DoubleColon)) => identifier(module),
        _ => None,
    };
    if let Some(module) = module {
        let file = imported_as(&all, file, module)?;
        return Some(Definition::In { file, name: name.to_owned() });
    }
    let called = all.get(at + 1).is_some_and(|next| *next.token == Token::LeftParen);
    let function = symbols(engine, text).into_iter().find(|it| it.kind == Kind::Function && it.name == name);
    match function {
        Some(function) if called => Some(Definition::Here(function)),
        function => variable(&all, at, name).or(function).map(Definition::Here),
    }
}

/// The file that is imported as `module`.
fn imported_as(all: &[Lexeme<'_>], file: &str, module: &str) -> Option<String> {
    all.windows(4).find_map(|four| {
        match (four[0].token, four[1].token, four[2].token, identifier(&four[3])) {
            (Token::Import, Token::StringConstant(path), Token::As, Some(name)) if name == module => {
                Some(module_file(file, path))
            }
            _ => None,
        }
    })
}

/// The last place before `at` that gives `name` to a variable or a parameter.
fn variable(all: &[Lexeme<'_>], at: usize, name: &str) -> Option<Symbol> {
    (0..=at).rev().find_map(|index| {
        if identifier(&all[index])? != name {
            return None;
        }
        let before = &all[..index];
        let gives = match before.last()?.token {
            Token::Let | Token::Const | Token::For | Token::As => true,
            // Parameters of closures, functions and `catch` stand behind a bracket or a comma.
            Token::Pipe | Token::LeftParen | Token::Comma => in_parameters(before),
            _ => false,
        };
        gives.then(|| symbol(name, Kind::Variable, "", &all[index]))
    })
}

/// Whether what follows `before` stands in a list of parameters.
fn in_parameters(before: &[Lexeme<'_>]) -> bool {
    let opening =
        before.iter().rposition(|lexeme| !matches!(lexeme.token, Token::Identifier(_) | Token::Comma));
    match opening.map(|at| (at, before[at].token)) {
        Some((_, Token::Pipe)) => true,
        Some((at, Token::LeftParen)) => {
            let ahead = |back: usize| at.checked_sub(back).map(|at| before[at].token);
            matches!(ahead(1), Some(Token::Catch | Token::For)) || matches!(ahead(2), Some(Token::Fn))
        }
        _ => false,
    }
}
