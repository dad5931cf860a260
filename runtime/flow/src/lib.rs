//! Workflow graphs: nodes, edges, and the items that go along them.
//!
//! Pure: what a graph is, whether it is sound, how it is drawn, and which nodes are to work next with which items. What a
//! node does is the business of whoever runs the graph.
//!
//! | module | holds |
//! |---|---|
//! | [`graph`] | [`Graph`]: read from what a script declared, with all its mistakes |
//! | [`progress`] | [`Progress`]: which nodes may work now, and where what they make goes |
//! | [`draw`] | Mermaid and DOT |

pub mod draw;
pub mod graph;
mod merge;
pub mod progress;

pub use graph::{Edge, Graph, Merge, Node, NodeKind};
pub use progress::{FlowError, Made, Progress, Work, after};
