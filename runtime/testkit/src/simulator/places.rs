//! Where positions stand to each other.

use hob_model::Position;
use hob_model::position::Leaf;

/// Whether `a` and `b` stand in different branches of one group, so that neither waits for the other.
pub(super) fn side_by_side(a: &Position, b: &Position) -> bool {
    let differing = a.as_str().split('/').zip(b.as_str().split('/')).find(|(x, y)| x != y);
    let Some((x, y)) = differing else { return false };
    matches!((x.split_once('.'), y.split_once('.')), (Some((n, _)), Some((m, _))) if n == m)
}

/// Whether `position` belongs to a compensation.
pub(super) fn compensates(position: &Position) -> bool {
    position.as_str().split('/').any(|segment| segment.ends_with(".undo"))
}

/// The branches around a position, innermost first. A compensation runs on its own, long after its branch.
pub(super) fn branches_around(position: &Position) -> Vec<Position> {
    let mut around = Vec::new();
    let mut at = position.parent();
    while !at.as_str().is_empty() {
        if let Some(Leaf::Branch(_, label)) = at.leaf() {
            around.push(at.clone());
            if label == "undo" {
                break;
            }
        }
        at = at.parent();
    }
    around
}
