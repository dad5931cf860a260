//! A plan that reads in one look.

use std::fmt;

use hob_model::Value;

use super::{Action, Plan};

/// How many characters of a value are shown.
const VALUE_CHARS_MAX: usize = 60;

impl Action {
    /// The sign before a line of a plan.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Create => "+",
            Self::Update => "~",
            Self::Recreate => "±",
            Self::Start => "▶",
            Self::Stop => "■",
            Self::Restart => "↻",
            Self::Remove => "-",
        }
    }
}

impl fmt::Display for Plan {
    /// One line for each change in the order of carrying out, the fields that differ below it, and a sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.changes.iter().map(|it| it.resource.name.chars().count()).max().unwrap_or_default();
        let tiers = self.changes.iter().filter_map(|it| it.tier.as_ref().map(|tier| tier.chars().count()));
        let tier_width = tiers.max().unwrap_or_default();
        for change in &self.changes {
            let tier = change.tier.as_deref().unwrap_or("");
            let (symbol, action) = (change.action.symbol(), change.action.as_str());
            let name = &change.resource.name;
            write!(f, "{symbol} {action:<8}  {name:<width$}  ")?;
            if tier_width > 0 {
                write!(f, "{tier:<tier_width$}  ")?;
            }
            writeln!(f, "{}", change.cause)?;
            for field in &change.diff {
                writeln!(f, "      {}: {} → {}", field.field, shown(&field.from), shown(&field.to))?;
            }
        }
        for held in &self.held {
            writeln!(f, "# {held} differs and is held")?;
        }
        for (it, _) in &self.outdated {
            writeln!(
                f,
                "# {it} is made from an older image than its name stands for: `hob update {}`",
                it.name
            )?;
        }
        f.write_str(&self.summary())
    }
}

impl Plan {
    /// The plan in one line: `2 to create, 1 to recreate, 4 unchanged`.
    #[must_use]
    pub fn summary(&self) -> String {
        const ALL: [Action; 7] = [
            Action::Create,
            Action::Update,
            Action::Recreate,
            Action::Start,
            Action::Restart,
            Action::Stop,
            Action::Remove,
        ];
        let count = |action: Action| self.changes.iter().filter(|it| it.action == action).count();
        let mut parts: Vec<String> = ALL
            .into_iter()
            .filter(|action| count(*action) > 0)
            .map(|action| format!("{} to {}", count(action), action.as_str()))
            .collect();
        if parts.is_empty() {
            parts.push("nothing to do".to_owned());
        }
        if !self.held.is_empty() {
            parts.push(format!("{} held", self.held.len()));
        }
        if !self.unchanged.is_empty() {
            parts.push(format!("{} unchanged", self.unchanged.len()));
        }
        parts.join(", ")
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Unit => return "(none)".to_owned(),
        other => other.to_json().map_or_else(|_| other.type_name().to_owned(), |json| json.to_string()),
    };
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect()
}
