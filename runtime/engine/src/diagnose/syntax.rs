//! Mistakes that the parser finds.

use std::collections::BTreeSet;

use hob_model::Code;
use hob_model::names::nearest;
use rhai::{Engine, LexError, ParseErrorType, Position, Token};

use super::explain::Explained;
use super::functions::{counted, namespaces};
use super::tokens::Tokens;
use super::words::restyle;

/// Names of other languages for what has another one here.
const INSTEAD: [(&[&str], &str); 9] = [
    (&["null", "nil", "void", "undefined", "None", "none"], "the empty value is written `()`"),
    (&["var", "local", "my"], "a variable is declared with `let`"),
    (&["True", "False"], "the truth values are `true` and `false`"),
    (&["elif", "elseif", "elsif"], "it is written `else if`"),
    (
        &["async", "await", "spawn"],
        "calls wait by themselves; `parallel(items, |item| …)` does things side by side",
    ),
    (
        &["function", "def", "func", "lambda"],
        "a function is declared as `fn name(a, b) { … }`, a closure as `|a, b| …`",
    ),
    (&["self"], "the value before the dot is `this`"),
    (&["match", "case"], "it is written `switch value { 1 => …, _ => … }`"),
    (&["not"], "it is written `!`"),
];

/// The shortest name that is worth a guess: any two names of one letter are near.
const SUGGESTED_CHARS_MIN: usize = 3;

/// A mistake and where it is: at the place that the parser names, or at the end of the token before that.
pub(super) struct Mistake {
    pub(super) explained: Explained,
    pub(super) after_previous: bool,
}

/// Explains a mistake of the script `tokens`.
pub(super) fn explain(
    problem: &ParseErrorType,
    at: Position,
    tokens: &Tokens<'_>,
    engine: &Engine,
) -> Mistake {
    use ParseErrorType as P;
    let syntax = |message: String| Explained::invalid(Code::Syntax, message);
    let explained = match problem {
        P::MissingToken(token, why) => return missing(token, why, at, tokens),
        P::BadInput(problem) => unreadable(problem, at, tokens),
        P::VariableUndefined(name) => unknown_variable(name, at, tokens),
        P::ModuleUndefined(name) => unknown_module(name, at, tokens, engine),
        P::Reserved(word) if word.starts_with(char::is_alphabetic) => no_name(word),
        P::VariableExpected | P::PropertyExpected | P::FnMissingName => match tokens.at(at) {
            Some(word) if word.starts_with(char::is_alphabetic) => no_name(&word),
            _ => syntax(restyle(&problem.to_string())),
        },
        P::UnexpectedEOF => syntax("the script ends in the middle of something".to_owned()),
        P::UnknownOperator(operator) if matches!(operator.as_str(), "++" | "--") => {
            let sign = &operator[..1];
            syntax(format!("there is no operator `{operator}`")).hint(format!("write `x {sign}= 1`"))
        }
        P::MismatchedType(wanted, got) => syntax(format!("expected {wanted}, got {got}")),
        P::AssignmentToConstant(name) => {
            syntax(format!("`{name}` is constant")).hint("declare it with `let` to change it")
        }
        P::WrongFnDefinition => {
            syntax("a function is declared inside of a block or another function".to_owned())
                .hint("declare it at the top of the file, or use a closure: `let f = |x| …;`")
        }
        P::FnDuplicatedDefinition(name, params) => {
            syntax(format!("there is a function `{name}` that takes {} already", counted(*params)))
        }
        P::DuplicatedProperty(name) => syntax(format!("the map has `{name}` twice")).word(name),
        P::FnDuplicatedParam(function, name) => {
            syntax(format!("`{function}` has two parameters `{name}`")).word(name)
        }
        P::LoopBreak => syntax("`break` and `continue` belong into a loop".to_owned())
            .hint("in a closure or a function, `return` ends it"),
        P::ExprTooDeep => {
            limit("an expression nests too deeply", "name its parts with `let`, or move them into functions")
        }
        P::TooManyFunctions => limit("too many functions", "move some into another file and `import` it"),
        P::LiteralTooLarge(what, max) => limit(
            &format!("{} has more than {max}", restyle(what)),
            "read large data from a file: `include_text(path)`, `files::read(path)`",
        ),
        other => syntax(restyle(&other.to_string())),
    };
    Mistake { explained, after_previous: false }
}

fn limit(message: &str, hint: &str) -> Explained {
    Explained::invalid(Code::LimitReached, message).hint(hint)
}

/// A word of the language where a name is wanted.
fn no_name(word: &str) -> Explained {
    let explained =
        Explained::invalid(Code::Syntax, format!("`{word}` is a word of the language and cannot be a name"));
    explained
        .hint(format!("choose another, such as `{word}_`; as the key of a map, put it in quotes"))
        .word(word)
}

fn missing(token: &str, why: &str, at: Position, tokens: &Tokens<'_>) -> Mistake {
    let before = tokens.before(at, 2);
    let here = tokens.at(at).filter(|_| !at.is_none()).unwrap_or_default();
    let message = match token {
        ";" => "`;` is missing at the end of this statement".to_owned(),
        token => format!("`{token}` is missing {}", restyle(why)),
    };
    let mut explained = Explained::invalid(Code::Syntax, message);
    explained.hint = match (token, here.as_str(), before.first().map(String::as_str)) {
        (";", "and", _) | (";", _, Some("and")) => Some("`and` is written `&&`".to_owned()),
        (";", "or", _) | (";", _, Some("or")) => Some("`or` is written `||`".to_owned()),
        (";", ":", _) => Some("types are not written: `let x = …;`".to_owned()),
        (";", "==", _) if before.get(1).is_some_and(|word| word == "let") => {
            Some("`=` assigns; `==` compares".to_owned())
        }
        (";", "=>", _) => Some("a closure is written `|x| …`".to_owned()),
        (";", unit, Some(number)) if is_quantity(number, unit) => {
            Some(format!("durations and sizes are texts: `\"{number}{unit}\"`"))
        }
        ("in", "of", _) => Some("write `for item in list { … }`".to_owned()),
        (",", "=", _) if why.contains("variable name") => Some("write `for i in 0..10 { … }`".to_owned()),
        ("{", ..) => Some("the braces of a block are always written".to_owned()),
        (":", "=", _) => Some("the entries of a map are written `key: value`".to_owned()),
        ("," | ")" | "]" | "}", ";" | "", _) => Some("or a closing bracket is missing".to_owned()),
        ("fn", ..) => {
            Some("only functions are `private`; variables are seen in their own file only".to_owned())
        }
        _ => None,
    };
    Mistake { explained, after_previous: matches!(token, ";" | "," | ")" | "]" | "}") }
}

fn is_quantity(number: &str, unit: &str) -> bool {
    const UNITS: [&str; 12] = ["ms", "s", "m", "h", "d", "w", "K", "M", "G", "KB", "MB", "GB"];
    number.starts_with(|c: char| c.is_ascii_digit()) && UNITS.contains(&unit)
}

fn unreadable(problem: &LexError, at: Position, tokens: &Tokens<'_>) -> Explained {
    let syntax = |message: String| Explained::invalid(Code::Syntax, message);
    match problem {
        LexError::UnexpectedInput(word) if word == "try" => {
            syntax("`try` is a statement and has no value".to_owned())
                .word(word)
                .hint("declare the variable first: `let x = (); try { x = …; } catch (e) { x = …; }`")
        }
        LexError::UnexpectedInput(word) => {
            let explained = syntax(format!("unexpected `{word}`")).word(word);
            match tokens.before(at, 1).first().map(String::as_str) {
                Some("+" | "-" | "*" | "/" | "=" | "&&" | "||" | "==" | "(" | ",") => {
                    explained.hint("a value is missing before it")
                }
                _ => explained,
            }
        }
        LexError::UnterminatedString => syntax("the text that begins here has no end".to_owned())
            .hint("a text over several lines is written between back quotes"),
        LexError::MalformedChar(_) => syntax("this is no single character".to_owned())
            .hint("texts are written in double quotes; single quotes hold one character"),
        LexError::MalformedEscapeSequence(sequence) => {
            syntax(format!("`{sequence}` means nothing in a text"))
                .hint("a backslash itself is written `\\\\`")
        }
        LexError::ImproperSymbol(word, _) if word == "eval" => syntax("`eval` is not available".to_owned())
            .word(word)
            .hint("what a script can reach is known before it runs: use a function or a closure"),
        LexError::StringTooLong(bytes_max) => limit(
            &format!("a text has more than {bytes_max} bytes"),
            "read large texts from a file: `include_text(path)`, `files::read(path)`",
        ),
        LexError::ImproperSymbol(word, _) if word == "=" => {
            syntax("a value is wanted here, not an assignment".to_owned()).hint("`==` compares; `=` assigns")
        }
        LexError::ImproperSymbol(word, text) if !text.is_empty() => {
            // "… is not valid. This is not Go! Should it be '<='?": what it should be is the hint.
            let (message, hint) = text.split_once("Should it be ").unwrap_or((text, ""));
            let message = message.split(". This is").next().unwrap_or(message).trim();
            let explained = syntax(restyle(message)).word(word);
            match hint {
                "" => explained,
                hint => explained.hint(format!("should it be {}", hint.replace('\'', "`"))),
            }
        }
        other => syntax(restyle(&other.to_string())),
    }
}

fn unknown_variable(name: &str, at: Position, tokens: &Tokens<'_>) -> Explained {
    let explained = Explained::invalid(Code::UnknownName, format!("unknown variable `{name}`")).word(name);
    if let Some((_, instead)) = INSTEAD.iter().find(|(names, _)| names.contains(&name)) {
        return explained.hint(*instead);
    }
    if let [bracket, word] = &tokens.before(at, 2)[..]
        && let Some((_, instead)) =
            INSTEAD.iter().find(|(names, _)| bracket == "(" && names.contains(&word.as_str()))
    {
        return explained.hint(*instead);
    }
    let after = tokens.after(at, 2);
    let next = after.iter().map(String::as_str).collect::<Vec<_>>();
    if matches!(next[..], [":", ..])
        && tokens.before(at, 1).first().is_some_and(|word| word == "{" || word == ",")
    {
        return explained.hint("a map is written `#{ key: value }`");
    }
    if matches!(next[..], ["=>", ..] | [")", "=>"]) {
        return explained.hint("a closure is written `|x| …`");
    }
    if tokens.declares(&Token::Const, name) {
        return explained.hint(format!(
            "functions do not see the script's variables; a constant is `global::{name}` there"
        ));
    }
    if tokens.declares(&Token::Let, name) {
        return explained.hint(format!(
            "it is declared elsewhere: functions do not see the script's variables, pass `{name}` as an argument"
        ));
    }
    suggest(explained, name, &tokens.declared().into_iter().collect())
}

fn unknown_module(name: &str, at: Position, tokens: &Tokens<'_>, engine: &Engine) -> Explained {
    let path = tokens.after(at, 2).concat();
    let explained = Explained::invalid(Code::UnknownName, format!("unknown primitive or module `{name}`"));
    let explained = explained.word(format!("{name}{path}"));
    let mut known = namespaces(engine);
    known.extend(tokens.declared());
    suggest(explained, name, &known)
}

fn suggest(mut explained: Explained, name: &str, known: &BTreeSet<String>) -> Explained {
    if name.chars().count() < SUGGESTED_CHARS_MIN {
        return explained;
    }
    let others = known.iter().map(String::as_str).filter(|known| *known != name);
    if let Some(nearest) = nearest(name, others) {
        explained.message = format!("{}; did you mean `{nearest}`?", explained.message);
    }
    explained
}
