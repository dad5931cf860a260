//! What is known of an argument from how it is written.

use hob_model::{Value, duration, size};
use rhai::{Expr, FnPtr, Stmt};

/// An argument as it is written.
pub(crate) enum Literal<'a> {
    Text(&'a str),
    Int,
    Float,
    Bool,
    Char,
    Array,
    Map,
    Unit,
    Function,
}

/// What `expr` is, when that is written there.
pub(crate) fn literal(expr: &Expr) -> Option<Literal<'_>> {
    Some(match expr {
        Expr::StringConstant(text, _) => Literal::Text(text),
        Expr::IntegerConstant(..) => Literal::Int,
        Expr::FloatConstant(..) => Literal::Float,
        Expr::BoolConstant(..) => Literal::Bool,
        Expr::CharConstant(..) => Literal::Char,
        Expr::Array(..) => Literal::Array,
        Expr::Map(..) => Literal::Map,
        Expr::Unit(_) => Literal::Unit,
        Expr::DynamicConstant(value, _) if value.is::<FnPtr>() => Literal::Function,
        Expr::Stmt(block) if closure_of(block.statements()).is_some() => Literal::Function,
        _ => return None,
    })
}

/// The closure that a block stands for: one that captures variables is a block that shares them first.
pub(crate) fn closure_of(statements: &[Stmt]) -> Option<(&rhai::FnCallExpr, rhai::Position)> {
    match statements {
        [Stmt::Share(_), Stmt::Expr(call)] => match &**call {
            Expr::FnCall(call, at) if call.name == "curry" => Some((call, *at)),
            _ => None,
        },
        _ => None,
    }
}

impl Literal<'_> {
    /// Its type, as scripts see it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Char => "char",
            Self::Array => "array",
            Self::Map => "map",
            Self::Unit => "()",
            Self::Function => "function",
        }
    }

    /// Whether it may be given where `kind` is wanted; if not, what is wrong with it.
    pub(crate) fn fits(&self, kind: &str) -> Result<(), String> {
        if kind.is_empty() || kind == "any" || matches!(self, Self::Unit) {
            return Ok(());
        }
        let mut problem = format!("expected {kind}, got {}", self.type_name());
        for kind in kind.split(" or ").flat_map(|kinds| kinds.split(", ")) {
            match (kind, self) {
                ("duration", Self::Text(text)) => match duration::parse(text) {
                    Ok(_) => return Ok(()),
                    Err(error) => problem = error.to_string(),
                },
                ("size", Self::Text(text)) => match size::parse(text) {
                    Ok(_) => return Ok(()),
                    Err(error) => problem = error.to_string(),
                },
                ("float" | "size", Self::Int) => return Ok(()),
                // Their texts have forms of their own, which the operations know.
                ("mode" | "signal" | "time", Self::Text(_)) | ("signal", Self::Int) => return Ok(()),
                ("string" | "int" | "float" | "bool" | "array" | "map" | "function", _) => {
                    if kind == self.type_name() {
                        return Ok(());
                    }
                }
                ("duration" | "size" | "mode" | "signal" | "time" | "blob" | "secret", _) => {}
                // A kind that a primitive made up.
                _ => return Ok(()),
            }
        }
        Err(problem)
    }
}

/// The value of an argument as far as permissions look at it; `()` for what is not known.
pub(crate) fn value(expr: &Expr) -> Value {
    match expr {
        Expr::StringConstant(text, _) => Value::from(text.as_str()),
        Expr::IntegerConstant(number, _) => Value::Int(*number),
        Expr::Array(items, _) => Value::Array(items.iter().map(value).collect()),
        _ => Value::Unit,
    }
}
