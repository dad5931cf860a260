//! Rhai's words in hob's.

/// A type as scripts know it, by its name in Rhai.
#[must_use]
pub fn type_name(rhai: &str) -> &str {
    match rhai.trim() {
        "i64" | "INT" => "int",
        "f64" | "FLOAT" => "float",
        "&str | ImmutableString | String" | "&str" | "String" | "ImmutableString" => "string",
        "Array" | "&mut Array" => "array",
        "Map" | "&mut Map" => "map",
        "Blob" | "&mut Blob" => "blob",
        "Fn" | "FnPtr" | "&mut FnPtr" => "function",
        "Dynamic" | "&mut Dynamic" => "any",
        "&mut ImmutableString" => "string",
        other if other.contains("Range") => "range",
        other => other.rsplit("::").next().unwrap_or(other),
    }
}

/// What Rhai calls "a number" and so on, with an article, for a message.
pub(super) fn with_article(type_name: &str) -> String {
    match type_name {
        "()" => "`()`".to_owned(),
        "any" => "anything".to_owned(),
        "int" | "array" => format!("an {type_name}"),
        other => format!("a {other}"),
    }
}

/// A message of Rhai in hob's style: no capital at the start, names in back quotes.
pub(super) fn restyle(message: &str) -> String {
    let mut chars = message.chars();
    let Some(first) = chars.next() else {
        return "the script failed".to_owned();
    };
    let keep_case = chars.clone().next().is_some_and(char::is_uppercase);
    let mut text: String = match keep_case {
        true => message.to_owned(),
        false => first.to_lowercase().chain(chars).collect(),
    };
    if text.matches('\'').count().is_multiple_of(2) {
        text = text.replace('\'', "`");
    }
    text.trim_end_matches(['.', '!']).to_owned()
}

/// `a`, `b` and `c`, for a message.
pub(super) fn listed(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
