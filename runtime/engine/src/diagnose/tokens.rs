//! A script as tokens: to underline a whole word, to look at what stands before a mistake, and to know which names a
//! script gives.

use rhai::{Engine, Position, Token};

/// A token and where it begins, line and column counted from 1.
struct Placed {
    token: Token,
    line: usize,
    column: usize,
}

/// A token of a script, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Lexeme<'a> {
    /// The token.
    pub token: &'a Token,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// How many characters it takes on the line that it begins on.
    pub width: usize,
}

/// The tokens of a script, up to the first thing that is none.
pub struct Tokens<'a> {
    lines: Vec<&'a str>,
    tokens: Vec<Placed>,
}

/// A function that a script defines.
pub(super) struct Defined {
    pub(super) name: String,
    pub(super) params: Vec<String>,
}

impl<'a> Tokens<'a> {
    /// Reads `text` as `engine` does.
    #[must_use]
    pub fn of(engine: &Engine, text: &'a str) -> Self {
        Self { lines: text.lines().collect(), tokens: lex(engine, text) }
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Lexeme<'_>> {
        self.tokens.iter().enumerate().map(|(index, placed)| Lexeme {
            token: &placed.token,
            line: placed.line,
            column: placed.column,
            width: self.width(index),
        })
    }

    /// The index of the token at `position`, or of the one that it lies in.
    fn index_at(&self, position: Position) -> Option<usize> {
        let at = (position.line()?, position.position()?);
        self.tokens.partition_point(|t| (t.line, t.column) <= at).checked_sub(1)
    }

    /// The text of the token at `position`.
    pub(super) fn at(&self, position: Position) -> Option<String> {
        Some(self.shown(self.index_at(position)?))
    }

    /// The texts of up to `count` tokens after the one at `position`.
    pub(super) fn after(&self, position: Position, count: usize) -> Vec<String> {
        let first = self.index_at(position).map_or(0, |index| index + 1);
        (first..self.tokens.len()).take(count).map(|index| self.shown(index)).collect()
    }

    /// The texts of up to `count` tokens before `position`, the nearest first.
    pub(super) fn before(&self, position: Position, count: usize) -> Vec<String> {
        (0..self.first_not_before(position)).rev().take(count).map(|index| self.shown(index)).collect()
    }

    /// How many tokens begin before `position`; all of them when it is the end of the script.
    fn first_not_before(&self, position: Position) -> usize {
        match (position.line(), position.position()) {
            (Some(line), Some(column)) => {
                self.tokens.partition_point(|t| (t.line, t.column) < (line, column))
            }
            _ => self.tokens.len(),
        }
    }

    /// The place right after the token before `position`: where something is missing.
    pub(super) fn end_before(&self, position: Position) -> Option<(usize, usize)> {
        let index = self.first_not_before(position).checked_sub(1)?;
        let placed = &self.tokens[index];
        Some((placed.line, placed.column + self.width(index)))
    }

    /// How many characters the token at `position` takes, or `word` when that stands there.
    #[must_use]
    pub fn len_at(&self, position: Position, word: &str) -> usize {
        let rest = position.line().and_then(|line| self.lines.get(line - 1)).map(|line| {
            line.chars().skip(position.position().unwrap_or(1).saturating_sub(1)).collect::<String>()
        });
        if !word.is_empty() && rest.is_some_and(|rest| rest.starts_with(word)) {
            return word.chars().count();
        }
        self.index_at(position).map_or(1, |index| self.width(index))
    }

    fn shown(&self, index: usize) -> String {
        self.tokens[index].token.to_string()
    }

    /// The width of a token on the line it begins on.
    fn width(&self, index: usize) -> usize {
        let placed = &self.tokens[index];
        let line = self.lines.get(placed.line - 1).copied().unwrap_or("");
        let rest: Vec<char> = line.chars().skip(placed.column - 1).collect();
        let shown: Vec<char> = self.shown(index).chars().collect();
        if rest.starts_with(&shown) {
            return shown.len();
        }
        // What is not written as it is shown, a text or a number, reaches to the next token, comments left out.
        let next = self.tokens.get(index + 1).filter(|next| next.line == placed.line);
        let end = next.map_or(rest.len(), |next| next.column - placed.column);
        let piece = &rest[..end.min(rest.len())];
        let quoted = piece.iter().rposition(|c| matches!(c, '"' | '`' | '\'')).filter(|at| *at > 0);
        let comment = piece.windows(2).position(|two| matches!(two, ['/', '/' | '*']));
        let piece = &piece[..quoted.map(|at| at + 1).or(comment).unwrap_or(piece.len())];
        piece.iter().rposition(|c| !c.is_whitespace()).map_or(1, |at| at + 1)
    }

    /// The names that the script gives to variables, parameters and modules.
    pub(super) fn declared(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (index, placed) in self.tokens.iter().enumerate() {
            match placed.token {
                Token::Let | Token::Const | Token::For | Token::As => names.extend(self.name_at(index + 1)),
                Token::Fn => names.extend(self.listed(index + 3, &Token::RightParen)),
                Token::Catch => names.extend(self.listed(index + 2, &Token::RightParen)),
                Token::Pipe => names.extend(self.listed(index + 1, &Token::Pipe)),
                _ => {}
            }
        }
        names
    }

    /// Whether the script declares `name` outside of functions with `word`.
    pub(super) fn declares(&self, word: &Token, name: &str) -> bool {
        self.tokens.windows(2).any(|two| {
            two[0].token == *word
                && matches!(&two[1].token, Token::Identifier(found) if found.as_str() == name)
        })
    }

    /// The functions that the script defines.
    pub(super) fn functions(&self) -> Vec<Defined> {
        let defined = |index: usize| {
            let name = self.name_at(index + 1)?;
            Some(Defined { name, params: self.listed(index + 3, &Token::RightParen) })
        };
        let starts = self.tokens.iter().enumerate().filter(|(_, placed)| placed.token == Token::Fn);
        starts.filter_map(|(index, _)| defined(index)).collect()
    }

    fn name_at(&self, index: usize) -> Option<String> {
        match &self.tokens.get(index)?.token {
            Token::Identifier(name) => Some(name.to_string()),
            _ => None,
        }
    }

    /// The names from `index` on, between commas, up to `end`; none when something else comes in between.
    fn listed(&self, index: usize, end: &Token) -> Vec<String> {
        let mut names = Vec::new();
        for placed in self.tokens.get(index..).unwrap_or_default() {
            match &placed.token {
                Token::Identifier(name) => names.push(name.to_string()),
                Token::Comma => {}
                token if token == end => return names,
                _ => return Vec::new(),
            }
        }
        Vec::new()
    }
}

/// Reads tokens as the parser does: after the expression inside of `${…}` the tokenizer is told to go on with text.
fn lex(engine: &Engine, text: &str) -> Vec<Placed> {
    let inputs = [text];
    let (tokens, control) = engine.lex(&inputs);
    let mut placed = Vec::new();
    let mut open_braces: Vec<usize> = Vec::new();
    for (token, position) in tokens {
        match (&token, open_braces.last_mut()) {
            (Token::EOF | Token::LexError(_), _) => break,
            (Token::InterpolatedString(_), _) => open_braces.push(0),
            (Token::LeftBrace | Token::MapStart, Some(open)) => *open += 1,
            (Token::RightBrace, Some(open)) => {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    open_braces.pop();
                    control.borrow_mut().is_within_text = true;
                }
            }
            _ => {}
        }
        let (line, column) = (position.line().unwrap_or(1), position.position().unwrap_or(1).max(1));
        placed.push(Placed { token, line, column });
    }
    placed
}
