//! A graph as a picture: Mermaid (<https://mermaid.js.org/syntax/flowchart.html>) and DOT
//! (<https://graphviz.org/doc/info/lang.html>).

use std::fmt::Write as _;

use crate::graph::{Graph, MAIN, NodeKind};

impl Graph {
    /// A Mermaid flowchart from top to bottom.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        for (at, node) in self.nodes.iter().enumerate() {
            let (open, close) = match node.kind {
                NodeKind::Choose | NodeKind::Branch => ("{", "}"),
                NodeKind::Merge(_) => ("([", "])"),
                NodeKind::All | NodeKind::Batch(_) => ("[[", "]]"),
                NodeKind::Each => ("[", "]"),
            };
            let note = node.note.as_ref().map(|note| format!("<br/>{}", escaped(note))).unwrap_or_default();
            let class = if node.disabled { ":::disabled" } else { "" };
            let _ = writeln!(text, "    n{at}{open}\"{}{note}\"{close}{class}", escaped(&node.name));
        }
        for edge in &self.edges {
            let arrow = if edge.back { "-.->" } else { "-->" };
            let label = match edge.output.as_str() {
                MAIN => String::new(),
                output => format!("|\"{}\"|", escaped(output)),
            };
            let _ = writeln!(text, "    n{} {arrow}{label} n{}", edge.from, edge.to);
        }
        if self.nodes.iter().any(|node| node.disabled) {
            text.push_str("    classDef disabled stroke-dasharray: 5 5\n");
        }
        text
    }

    /// A digraph for Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph {\n");
        for (at, node) in self.nodes.iter().enumerate() {
            let shape = match node.kind {
                NodeKind::Choose | NodeKind::Branch => "diamond",
                NodeKind::Merge(_) => "oval",
                NodeKind::All | NodeKind::Batch(_) => "box3d",
                NodeKind::Each => "box",
            };
            let style = if node.disabled { ", style=dashed" } else { "" };
            let _ = writeln!(text, "    n{at} [label={:?}, shape={shape}{style}];", node.name);
        }
        for edge in &self.edges {
            let label = if edge.output == MAIN { "" } else { edge.output.as_str() };
            let style = if edge.back { ", style=dashed" } else { "" };
            let _ = writeln!(text, "    n{} -> n{} [label={label:?}{style}];", edge.from, edge.to);
        }
        text.push_str("}\n");
        text
    }
}

/// A text within quotes of Mermaid, which has entities and no escapes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("#quot;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '#' => escaped.push_str("#35;"),
            '\n' => escaped.push_str("<br/>"),
            c => escaped.push(c),
        }
    }
    escaped
}
