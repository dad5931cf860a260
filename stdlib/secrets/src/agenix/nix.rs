//! The part of Nix that names things: texts, lists, sets, `let`, `inherit`, `with`, selection, `++` and `//`.
//!
//! Parsed by the crate `rnix`; everything that would have to be computed, imported or called is refused with its place.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use rnix::ast::{self, AstNode, Attr, BinOpKind, Entry, Expr, HasEntry, InterpolPart};
use rnix::{Root, SyntaxKind};

use crate::error::{Error, Kind, Result};

/// The largest file, in bytes.
const SOURCE_BYTES_MAX: usize = 1024 * 1024;
/// How deep expressions may lie in each other.
const DEPTH_MAX: usize = 64;
/// The most tokens that open something or join two expressions: what the parser recurses for.
const OPENING_TOKENS_MAX: usize = 20_000;
/// How deep brackets may lie in each other.
const BRACKETS_MAX: usize = 64;
/// How many times operators and keywords may follow each other without a bracket or semicolon in between.
const CHAIN_MAX: usize = 256;
/// The most values that are made.
const VALUES_MAX: usize = 100_000;

/// A place in the text, as a byte.
pub(super) type Position = usize;

/// A value with the place where it was written.
type Placed = (Nix, Position);

/// A value.
#[derive(Clone)]
pub(super) enum Nix {
    Text(String),
    Bool(bool),
    List(Vec<Placed>),
    Set(BTreeMap<String, Placed>),
}

/// A file, evaluated.
pub(super) struct Evaluated {
    /// Its value.
    pub(super) value: Placed,
    /// What a `let` gives a name to and nothing needs.
    pub(super) unused: Vec<(String, Position)>,
}

/// Evaluates a whole file.
pub(super) fn evaluate(text: &str) -> Result<Evaluated> {
    if text.len() > SOURCE_BYTES_MAX {
        return Err(crate::too_large("secrets.nix", SOURCE_BYTES_MAX));
    }
    shallow(text)?;
    let parsed = Root::parse(text);
    if let Some(error) = parsed.errors().first() {
        return Err(Error::rules(format!("this is no Nix: {error}")));
    }
    let expression = parsed.tree().expr().ok_or_else(|| Error::rules("the file is empty"))?;
    let evaluation = Evaluation { text, values: RefCell::new(0), blocks: RefCell::default() };
    let value = evaluation.value(&expression, &Rc::new(Scope::default()), 0)?;
    let mut unused: Vec<_> = evaluation.blocks.borrow().iter().flat_map(|block| block.unused()).collect();
    unused.sort_by_key(|(_, at)| *at);
    Ok(Evaluated { value, unused })
}

/// Refuses what would make the parser recurse too deep.
fn shallow(text: &str) -> Result<()> {
    let (mut open, mut chain, mut opening, mut at) = (0usize, 0usize, 0usize, 0usize);
    for (kind, token) in rnix::tokenize(text) {
        match kind {
            SyntaxKind::TOKEN_L_BRACE
            | SyntaxKind::TOKEN_L_BRACK
            | SyntaxKind::TOKEN_L_PAREN
            | SyntaxKind::TOKEN_INTERPOL_START => {
                open += 1;
                opening += 1;
            }
            SyntaxKind::TOKEN_R_BRACE
            | SyntaxKind::TOKEN_R_BRACK
            | SyntaxKind::TOKEN_R_PAREN
            | SyntaxKind::TOKEN_INTERPOL_END => {
                open = open.saturating_sub(1);
            }
            SyntaxKind::TOKEN_SEMICOLON | SyntaxKind::TOKEN_STRING_START | SyntaxKind::TOKEN_IN => chain = 0,
            kind if kind.is_trivia()
                || matches!(
                    kind,
                    SyntaxKind::TOKEN_IDENT | SyntaxKind::TOKEN_STRING_CONTENT | SyntaxKind::TOKEN_STRING_END
                ) => {}
            _ => {
                chain += 1;
                opening += 1;
            }
        }
        if open > BRACKETS_MAX || chain > CHAIN_MAX || opening > OPENING_TOKENS_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                "expressions lie too deep in each other, or there are too many",
            )
            .at(text, at));
        }
        at += token.len();
    }
    Ok(())
}

/// What a name stands for.
enum Slot {
    /// Not looked at yet.
    Pending(Expr),
    /// A name of a set that was not looked at yet: `inherit (set) name`.
    Inherited(Expr, String),
    /// Being evaluated: meeting it again is a circle.
    Busy,
    Done(Placed),
}

/// Names that are known in an expression.
#[derive(Default)]
struct Scope {
    slots: RefCell<HashMap<String, Slot>>,
    /// The names of a `with`, which any other definition hides.
    with: Option<BTreeMap<String, Placed>>,
    parent: Option<Rc<Scope>>,
}

impl Scope {
    /// The names that nothing has asked for: names are looked at when they are needed.
    fn unused(&self) -> Vec<(String, Position)> {
        let slots = self.slots.borrow();
        let unused = slots.iter().filter_map(|(name, slot)| match slot {
            Slot::Pending(expression) | Slot::Inherited(expression, _) => {
                Some((name.clone(), position(expression)))
            }
            Slot::Busy | Slot::Done(_) => None,
        });
        unused.collect()
    }
}

struct Evaluation<'a> {
    text: &'a str,
    values: RefCell<usize>,
    /// The names of each `let`.
    blocks: RefCell<Vec<Rc<Scope>>>,
}

fn position(node: &impl AstNode<Language = rnix::NixLanguage>) -> Position {
    usize::from(node.syntax().text_range().start())
}

impl Evaluation<'_> {
    fn refuse(&self, what: &str, at: Position) -> Error {
        Error::unsupported(what).at(self.text, at).hint(
            "hob reads the part of Nix that names things: texts, lists, sets, `let`, `inherit`, `with`, `++`, `//`; write the rest out",
        )
    }

    fn value(&self, expression: &Expr, scope: &Rc<Scope>, depth: usize) -> Result<Placed> {
        let at = position(expression);
        let mut values = self.values.borrow_mut();
        *values += 1;
        if *values > VALUES_MAX || depth > DEPTH_MAX {
            return Err(
                Error::new(Kind::TooLarge, "the file describes too much, or too deep").at(self.text, at)
            );
        }
        drop(values);
        let missing = || Error::rules("an expression is missing").at(self.text, at);
        let inner = |inner: Option<Expr>, scope: &Rc<Scope>| {
            self.value(&inner.ok_or_else(missing)?, scope, depth + 1)
        };
        match expression {
            Expr::Str(text) => Ok((Nix::Text(self.string(text)?), at)),
            Expr::List(list) => {
                let items = list.items().map(|item| self.value(&item, scope, depth + 1));
                Ok((Nix::List(items.collect::<Result<_>>()?), at))
            }
            Expr::Paren(paren) => inner(paren.expr(), scope),
            Expr::Ident(name) => self.name(&name.to_string(), scope, at, depth),
            Expr::AttrSet(set) => self.set(set, scope, depth),
            Expr::LetIn(block) => {
                let scope = self.named(block, scope)?;
                self.blocks.borrow_mut().push(Rc::clone(&scope));
                inner(block.body(), &scope)
            }
            Expr::With(with) => match inner(with.namespace(), scope)? {
                (Nix::Set(names), _) => {
                    let scope =
                        Scope { with: Some(names), parent: Some(Rc::clone(scope)), ..Scope::default() };
                    inner(with.body(), &Rc::new(scope))
                }
                (_, at) => Err(self.refuse("`with` takes a set", at)),
            },
            Expr::Select(select) if select.default_expr().is_none() => {
                let mut value = inner(select.expr(), scope)?;
                for attr in select.attrpath().into_iter().flat_map(|path| path.attrs()) {
                    let name = self.attribute(&attr)?;
                    value = self.selected(value, &name, position(&attr))?;
                }
                Ok(value)
            }
            Expr::BinOp(operation) => {
                let (left, right) = (inner(operation.lhs(), scope)?, inner(operation.rhs(), scope)?);
                match (operation.operator(), left.0, right.0) {
                    (Some(BinOpKind::Concat), Nix::List(mut left), Nix::List(right)) => {
                        *self.values.borrow_mut() += left.len() + right.len();
                        left.extend(right);
                        Ok((Nix::List(left), at))
                    }
                    (Some(BinOpKind::Update), Nix::Set(mut left), Nix::Set(right)) => {
                        *self.values.borrow_mut() += left.len() + right.len();
                        left.extend(right);
                        Ok((Nix::Set(left), at))
                    }
                    _ => Err(self.refuse("this operator is not supported here", at)),
                }
            }
            other => Err(self.refuse(&format!("{} is not supported", kind(other)), at)),
        }
    }

    fn string(&self, text: &ast::Str) -> Result<String> {
        let parts = text.normalized_parts().into_iter().map(|part| match part {
            InterpolPart::Literal(text) => Ok(text),
            InterpolPart::Interpolation(inner) => {
                Err(self.refuse("a text with `${…}` is not supported", position(&inner)))
            }
        });
        parts.collect()
    }

    /// The name that one part of a path is.
    fn attribute(&self, attr: &Attr) -> Result<String> {
        match attr {
            Attr::Ident(name) => Ok(name.to_string()),
            Attr::Str(text) => self.string(text),
            Attr::Dynamic(_) => Err(self.refuse("a computed name is not supported", position(attr))),
        }
    }

    fn name(&self, name: &str, scope: &Rc<Scope>, at: Position, depth: usize) -> Result<Placed> {
        if let Some(found) = self.defined(name, scope, at, depth)? {
            return Ok(found);
        }
        let mut next = Some(scope);
        while let Some(scope) = next {
            if let Some(found) = scope.with.as_ref().and_then(|names| names.get(name)) {
                return Ok(found.clone());
            }
            next = scope.parent.as_ref();
        }
        match name {
            "true" => Ok((Nix::Bool(true), at)),
            "false" => Ok((Nix::Bool(false), at)),
            _ => Err(self
                .refuse(&format!("the name `{}` is not defined in this file", crate::shortened(name)), at)),
        }
    }

    fn defined(&self, name: &str, scope: &Rc<Scope>, at: Position, depth: usize) -> Result<Option<Placed>> {
        let mut next = Some(scope);
        while let Some(scope) = next {
            let slot = scope.slots.borrow_mut().get_mut(name).map(|slot| std::mem::replace(slot, Slot::Busy));
            match slot {
                None => {}
                Some(Slot::Busy) => {
                    return Err(Error::rules(format!("`{}` stands for itself", crate::shortened(name)))
                        .at(self.text, at));
                }
                Some(Slot::Done(value)) => {
                    scope.slots.borrow_mut().insert(name.to_owned(), Slot::Done(value.clone()));
                    *self.values.borrow_mut() += value.0.size();
                    return Ok(Some(value));
                }
                Some(Slot::Pending(expression)) => {
                    let value = self.value(&expression, scope, depth + 1)?;
                    scope.slots.borrow_mut().insert(name.to_owned(), Slot::Done(value.clone()));
                    return Ok(Some(value));
                }
                Some(Slot::Inherited(from, name)) => {
                    let set = self.value(&from, scope, depth + 1)?;
                    let value = self.selected(set, &name, at)?;
                    scope.slots.borrow_mut().insert(name, Slot::Done(value.clone()));
                    return Ok(Some(value));
                }
            }
            next = scope.parent.as_ref();
        }
        Ok(None)
    }

    /// A name of a set.
    fn selected(&self, set: Placed, name: &str, at: Position) -> Result<Placed> {
        let Nix::Set(mut names) = set.0 else {
            return Err(self.refuse("a name is taken from what is no set", at));
        };
        let missing =
            || Error::rules(format!("there is no `{}` in the set", crate::shortened(name))).at(self.text, at);
        names.remove(name).ok_or_else(missing)
    }

    /// The names of a `let` or a recursive set, in a scope of their own.
    fn named(&self, block: &impl HasEntry, outer: &Rc<Scope>) -> Result<Rc<Scope>> {
        let scope = Scope { parent: Some(Rc::clone(outer)), ..Scope::default() };
        let add = |name: String, slot: Slot, at: Position| match scope.slots.borrow_mut().insert(name, slot) {
            None => Ok(()),
            Some(_) => Err(self.refuse("a name is defined twice", at)),
        };
        for entry in block.entries() {
            let at = position(&entry);
            match entry {
                Entry::AttrpathValue(pair) => {
                    let path: Vec<Attr> = pair.attrpath().into_iter().flat_map(|path| path.attrs()).collect();
                    let ([attr], Some(value)) = (path.as_slice(), pair.value()) else {
                        return Err(self.refuse("a path of names is not supported here", at));
                    };
                    add(self.attribute(attr)?, Slot::Pending(value), at)?;
                }
                Entry::Inherit(inherit) => match inherit.from().and_then(|from| from.expr()) {
                    Some(from) => {
                        for attr in inherit.attrs() {
                            let name = self.attribute(&attr)?;
                            add(name.clone(), Slot::Inherited(from.clone(), name), at)?;
                        }
                    }
                    None => {
                        for (name, value) in self.inherited(&inherit, outer)? {
                            add(name, Slot::Done(value), at)?;
                        }
                    }
                },
            }
        }
        Ok(Rc::new(scope))
    }

    fn inherited(&self, inherit: &ast::Inherit, scope: &Rc<Scope>) -> Result<Vec<(String, Placed)>> {
        let from = inherit
            .from()
            .and_then(|from| from.expr())
            .map(|from| self.value(&from, scope, 1))
            .transpose()?;
        let one = |attr: Attr| {
            let (name, at) = (self.attribute(&attr)?, position(&attr));
            let value = match &from {
                None => self.name(&name, scope, at, 1)?,
                Some(set) => self.selected(set.clone(), &name, at)?,
            };
            Ok((name, value))
        };
        inherit.attrs().map(one).collect()
    }

    fn set(&self, set: &ast::AttrSet, scope: &Rc<Scope>, depth: usize) -> Result<Placed> {
        let scope = if set.rec_token().is_some() { self.named(set, scope)? } else { Rc::clone(scope) };
        let at = position(set);
        let mut all = BTreeMap::new();
        for entry in set.entries() {
            match entry {
                Entry::Inherit(inherit) => all.extend(self.inherited(&inherit, &scope)?),
                Entry::AttrpathValue(pair) => {
                    let path: Vec<Attr> = pair.attrpath().into_iter().flat_map(|path| path.attrs()).collect();
                    let names = path.iter().map(|attr| self.attribute(attr)).collect::<Result<Vec<_>>>()?;
                    let value = pair
                        .value()
                        .ok_or_else(|| Error::rules("a value is missing").at(self.text, position(&pair)))?;
                    let value = self.value(&value, &scope, depth + 1)?;
                    self.insert(&mut all, &names, value, position(&pair))?;
                }
            }
        }
        Ok((Nix::Set(all), at))
    }

    /// Puts a value at a path, which may lead into a set that is there already.
    fn insert(
        &self,
        set: &mut BTreeMap<String, Placed>,
        path: &[String],
        value: Placed,
        at: Position,
    ) -> Result<()> {
        let twice = || Error::rules("a name is defined twice").at(self.text, at);
        match path {
            [] => Err(Error::rules("a name is missing").at(self.text, at)),
            [name] => match set.insert(name.clone(), value) {
                None => Ok(()),
                Some(_) => Err(twice()),
            },
            [name, rest @ ..] => {
                let inner = set.entry(name.clone()).or_insert_with(|| (Nix::Set(BTreeMap::new()), at));
                match &mut inner.0 {
                    Nix::Set(inner) => self.insert(inner, rest, value, at),
                    _ => Err(twice()),
                }
            }
        }
    }
}

impl Nix {
    /// How many values it holds, near enough to bound the copies of it.
    fn size(&self) -> usize {
        match self {
            Self::Text(_) | Self::Bool(_) => 1,
            Self::List(items) => 1 + items.len(),
            Self::Set(names) => 1 + names.len(),
        }
    }
}

/// What an expression is, for people.
fn kind(expression: &Expr) -> &'static str {
    match expression {
        Expr::Apply(_) => "a call of a function",
        Expr::Lambda(_) => "a function",
        Expr::IfElse(_) => "`if`",
        Expr::Assert(_) => "`assert`",
        Expr::PathAbs(_) | Expr::PathRel(_) | Expr::PathHome(_) | Expr::PathSearch(_) => "a path",
        Expr::Literal(_) => "a number or address",
        Expr::Select(_) => "a selection with `or`",
        Expr::LegacyLet(_) => "`let { … }`",
        _ => "this expression",
    }
}
