//! The few programs that the containers of the fake know, with the words of busybox.

/// What a program did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ran {
    /// Lines, and whether they went to standard error.
    pub(super) output: Vec<(bool, String)>,
    /// Its exit code; `None` while it goes on.
    pub(super) code: Option<i64>,
}

impl Ran {
    fn exit(code: i64) -> Self {
        Self { output: Vec::new(), code: Some(code) }
    }

    fn says(error: bool, text: String, code: i64) -> Self {
        Self { output: vec![(error, text)], code: Some(code) }
    }
}

/// Runs a command; `None` when there is no such program.
pub(super) fn run(cmd: &[String], env: &[String], stdin: &str) -> Option<Ran> {
    let (program, args) = cmd.split_first()?;
    let first = args.first().map(String::as_str);
    Some(match program.as_str() {
        "true" => Ran::exit(0),
        "false" => Ran::exit(1),
        "sleep" => Ran { output: Vec::new(), code: None },
        "echo" => Ran::says(false, format!("{}\n", args.join(" ")), 0),
        "exit" => Ran::exit(first.and_then(|code| code.parse().ok()).unwrap_or_default()),
        "cat" => match first {
            None => Ran::says(false, stdin.to_owned(), 0),
            Some(path) => {
                Ran::says(true, format!("cat: can't open '{path}': No such file or directory\n"), 1)
            }
        },
        "sh" => match args {
            [flag, text] if flag == "-c" => script(text, env),
            // Without input it has nothing to do.
            _ => Ran::exit(0),
        },
        _ => return None,
    })
}

/// Commands with `;` between them, the output to `>&2` where that is said.
fn script(text: &str, env: &[String]) -> Ran {
    let mut all = Ran::exit(0);
    for part in text.split(';') {
        let (part, error) = part.strip_suffix(">&2").map_or((part, false), |rest| (rest, true));
        let words: Vec<String> = part.split_whitespace().map(|word| expanded(word, env)).collect();
        let Some(ran) = run(&words, env, "") else {
            all.output.push((true, format!("sh: {}: not found\n", part.trim())));
            all.code = Some(127);
            continue;
        };
        all.output.extend(ran.output.into_iter().map(|(to_error, line)| (to_error || error, line)));
        all.code = ran.code;
        if all.code.is_none() || words.first().is_some_and(|word| word == "exit") {
            break;
        }
    }
    all
}

/// A word that is a variable as its value.
fn expanded(word: &str, env: &[String]) -> String {
    let Some(name) = word.strip_prefix('$') else { return word.to_owned() };
    let pair = env.iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    pair.unwrap_or_default().to_owned()
}
