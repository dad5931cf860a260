//! The order of statements: what comes after an end, and errors that vanish.

use rhai::{ASTNode, Expr, Position, Stmt};

/// Functions after which nothing of the script happens.
const ENDS: [&str; 3] = ["fail", "exit", "carry"];

/// Whether nothing after this statement happens in its block.
pub(crate) fn ends(statement: &Stmt) -> bool {
    match statement {
        Stmt::Return(..) | Stmt::BreakLoop(..) => true,
        Stmt::FnCall(call, _) => call.namespace.is_empty() && ENDS.contains(&call.name.as_str()),
        Stmt::Expr(expr) => {
            matches!(&**expr, Expr::FnCall(call, _) if call.namespace.is_empty() && ENDS.contains(&call.name.as_str()))
        }
        Stmt::Block(block) => any_ends(block.statements()),
        Stmt::If(flow, _) => any_ends(flow.body.statements()) && any_ends(flow.branch.statements()),
        Stmt::TryCatch(flow, _) => any_ends(flow.body.statements()) && any_ends(flow.branch.statements()),
        Stmt::While(flow, _) => matches!(flow.expr, Expr::Unit(_)) && !breaks(flow.body.statements()),
        _ => false,
    }
}

fn any_ends(statements: &[Stmt]) -> bool {
    statements.iter().any(ends)
}

/// Whether a `break` stands in these statements; one of an inner loop counts too, which only makes it careful.
fn breaks(statements: &[Stmt]) -> bool {
    let mut found = false;
    for statement in statements {
        statement.walk(&mut Vec::new(), &mut |path: &[ASTNode<'_>]| {
            found |= matches!(path.last(), Some(ASTNode::Stmt(Stmt::BreakLoop(..))));
            !found
        });
    }
    found
}

/// Where a statement begins, if it does anything.
pub(crate) fn begins(statement: &Stmt) -> Option<Position> {
    let at = match statement {
        Stmt::Noop(_) | Stmt::Share(_) => return None,
        Stmt::Expr(expr) => expr.start_position(),
        Stmt::Assignment(both) => both.1.lhs.start_position(),
        other => other.position(),
    };
    (!at.is_none()).then_some(at)
}
