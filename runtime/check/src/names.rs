//! Variables: which are known where, and which are never used.

use hob_model::{Code, Diagnostic};
use rhai::Position;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `let` or `const`.
    Variable,
    /// Of `for`: all closures of a loop share it.
    Loop,
    /// A parameter, what `catch` caught, or what is given from outside: nobody need use it.
    Given,
}

pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    at: Position,
    used: bool,
}

/// What a frame is around.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// A block, or a closure: what is outside is seen.
    Open,
    /// A function: what is outside is not seen.
    Function,
}

struct Frame {
    edge: Edge,
    variables: Vec<Variable>,
}

/// The variables in scope.
#[derive(Default)]
pub(crate) struct Names {
    frames: Vec<Frame>,
}

impl Names {
    pub(crate) fn enter(&mut self, edge: Edge) {
        self.frames.push(Frame { edge, variables: Vec::new() });
    }

    /// Leaves a block; the names that were declared in it and never used, with their places.
    pub(crate) fn leave(&mut self) -> Vec<(String, Position)> {
        let variables = self.frames.pop().map(|frame| frame.variables).unwrap_or_default();
        let unused = variables.into_iter().filter(|variable| {
            variable.kind == Kind::Variable && !variable.used && !variable.name.starts_with('_')
        });
        unused.map(|variable| (variable.name, variable.at)).collect()
    }

    pub(crate) fn declare(&mut self, name: &str, at: Position, kind: Kind) {
        if let Some(frame) = self.frames.last_mut() {
            frame.variables.push(Variable { name: name.to_owned(), kind, at, used: false });
        }
    }

    /// Marks the variable that `name` stands for as used; what it is, if it is known.
    pub(crate) fn make_use(&mut self, name: &str) -> Option<Kind> {
        let variable = self.find(name)?;
        variable.used = true;
        Some(variable.kind)
    }

    /// Whether `name` is known; assigning to it is no use.
    pub(crate) fn knows(&mut self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Marks a constant of the file as used: functions reach it as `global::NAME`.
    pub(crate) fn make_use_of_global(&mut self, name: &str) {
        let globals = self.frames.first_mut().into_iter().flat_map(|frame| &mut frame.variables);
        for variable in globals.filter(|variable| variable.name == name) {
            variable.used = true;
        }
    }

    fn find(&mut self, name: &str) -> Option<&mut Variable> {
        let beyond = self.frames.iter().rposition(|frame| frame.edge == Edge::Function).unwrap_or(0);
        let seen = self.frames[beyond..].iter_mut().rev();
        seen.flat_map(|frame| frame.variables.iter_mut().rev()).find(|variable| variable.name == name)
    }
}

/// The finding that a name is never used.
pub(crate) fn unused(what: &str, name: &str) -> Diagnostic {
    Diagnostic::warning(Code::Unused, format!("{what} `{name}` is never used"))
        .hint(format!("take it out, or call it `_{name}` if it is meant to be there"))
}
