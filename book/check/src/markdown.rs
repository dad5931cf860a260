//! Code blocks, headings and links of a Markdown text: as much of CommonMark as the project's documents use.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

/// A fenced code block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands after the opening backticks: `rhai,no_run`.
    pub info: String,
    /// Its lines.
    pub text: String,
    /// The number of the line of the opening backticks, from 1.
    pub line: usize,
}

impl Block {
    /// The words of [`Block::info`].
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.info.split(',').map(str::trim)
    }

    /// Whether it is in this language.
    #[must_use]
    pub fn is(&self, language: &str) -> bool {
        self.words().next() == Some(language)
    }

    /// Whether it is marked with this word.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.words().skip(1).any(|it| it == word)
    }

    /// The value of `key=value` among the words.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.words().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A text taken apart.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Its code blocks.
    pub blocks: Vec<Block>,
    /// Everything else, with empty lines in place of blocks, so that lines keep their numbers.
    pub prose: Vec<String>,
}

/// Takes a text apart. A fence ends with a line of at least as many backticks as it began with.
#[must_use]
pub fn parts(markdown: &str) -> Parts {
    let mut parts = Parts::default();
    let mut open: Option<(usize, Block)> = None;
    for (at, line) in markdown.lines().enumerate() {
        let ticks = line.trim_start().bytes().take_while(|byte| *byte == b'`').count();
        let rest = line.trim_start()[ticks..].trim();
        match &mut open {
            Some((fence, block)) if ticks >= *fence && rest.is_empty() => {
                parts.blocks.push(block.clone());
                open = None;
            }
            Some((_, block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            None if ticks >= 3 => {
                open = Some((ticks, Block { info: rest.to_owned(), text: String::new(), line: at + 1 }));
            }
            None => {
                parts.prose.push(line.to_owned());
                continue;
            }
        }
        parts.prose.push(String::new());
    }
    assert!(open.is_none(), "a code block is not closed: {:?}", open.map(|(_, block)| block.line));
    parts
}

/// The targets of links and images, with the number of their line.
#[must_use]
pub fn links(parts: &Parts) -> Vec<(usize, String)> {
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\]\(<?([^)\s>]+)>?\)").unwrap());
    static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new("`[^`]*`").unwrap());
    let mut found = Vec::new();
    for (at, line) in parts.prose.iter().enumerate() {
        let line = CODE.replace_all(line, "");
        found.extend(LINK.captures_iter(&line).map(|link| (at + 1, link[1].to_owned())));
    }
    found
}

/// The names by which headings are linked to, as GitHub and mdBook make them.
#[must_use]
pub fn anchors(parts: &Parts) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = parts.prose.iter().filter(|line| line.starts_with('#'));
    let slug = |line: &String| -> String {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let unique = |slug: String| {
        let count = seen.entry(slug.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
    };
    headings.map(slug).map(unique).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_apart() {
        let parts =
            parts("# A b\n[x](y.md) `[no](z.md)`\n```rhai,file=a.rhai\nlet x = 1;\n```\n## A b\n# A b\n");
        assert_eq!(parts.blocks.len(), 1);
        let block = &parts.blocks[0];
        assert!(block.is("rhai") && !block.has("no_run"));
        assert_eq!((block.line, block.value("file"), &*block.text), (3, Some("a.rhai"), "let x = 1;\n"));
        assert_eq!(links(&parts), [(2, "y.md".to_owned())]);
        assert_eq!(anchors(&parts), ["a-b", "a-b-1", "a-b-2"]);
    }

    #[test]
    fn longer_fences_hold_shorter_ones() {
        let parts = parts("````md\n```rhai\n1\n```\n````\n");
        assert_eq!(parts.blocks.len(), 1);
        assert!(parts.blocks[0].is("md"));
    }
}
