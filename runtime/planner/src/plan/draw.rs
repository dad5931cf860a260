//! A plan as a picture: Mermaid (<https://mermaid.js.org/syntax/flowchart.html>) and DOT
//! (<https://graphviz.org/doc/info/lang.html>).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Plan, Resource};
use crate::graph::Reason;

impl Plan {
    /// Its changes, and the tiers between them, with a number each.
    fn numbered(&self) -> BTreeMap<&Resource, usize> {
        let changes = self.changes.iter().map(|change| &change.resource);
        let all = changes.chain(self.edges.iter().flat_map(|edge| [&edge.before, &edge.after]));
        let mut numbers = BTreeMap::new();
        for resource in all {
            let next = numbers.len();
            numbers.entry(resource).or_insert(next);
        }
        numbers
    }

    /// What stands in the box of a resource.
    fn label(&self, resource: &Resource) -> String {
        let change = self.changes.iter().find(|change| change.resource == *resource);
        match change {
            Some(change) => format!("{} {}", change.action.as_str(), resource.name),
            None => format!("{} {}", resource.kind, resource.name),
        }
    }

    /// A Mermaid flowchart from top to bottom: what is done, and what waits for what.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let numbers = self.numbered();
        let mut text = String::from("flowchart TD\n");
        for (resource, at) in &numbers {
            let (open, close) = if resource.kind == "tier" { ("{{", "}}") } else { ("[", "]") };
            // Names are letters, digits and `-_.`, so that nothing in them has to be escaped.
            let _ = writeln!(text, "    n{at}{open}\"{}\"{close}", self.label(resource));
        }
        for edge in &self.edges {
            let arrow = if edge.reason == Reason::Wants { "-.->" } else { "-->" };
            let _ = writeln!(text, "    n{} {arrow} n{}", numbers[&edge.before], numbers[&edge.after]);
        }
        text
    }

    /// A digraph for Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let numbers = self.numbered();
        let mut text = String::from("digraph {\n");
        for (resource, at) in &numbers {
            let shape = if resource.kind == "tier" { "hexagon" } else { "box" };
            let _ = writeln!(text, "    n{at} [label={:?}, shape={shape}];", self.label(resource));
        }
        for edge in &self.edges {
            let style = if edge.reason == Reason::Wants { " [style=dashed]" } else { "" };
            let _ = writeln!(text, "    n{} -> n{}{style};", numbers[&edge.before], numbers[&edge.after]);
        }
        text.push_str("}\n");
        text
    }
}
