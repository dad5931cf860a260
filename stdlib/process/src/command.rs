//! What is to be run, as data, and how scripts write it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hob_model::{OpError, Value};
use hob_primitive::{
    Cancel, Choice, Ctx, FromValue, Mismatch, Mode, NameOrId, Options, PathText, SecretContent, SecretValue,
    Size,
};

use crate::port::EFFECT_VARIABLE;

/// How many bytes of each output stream are kept unless the call says otherwise.
pub const OUTPUT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;

/// The most bytes of each output stream that a call may ask to keep: they are held in memory and journaled.
pub const OUTPUT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How long a process may take to end after SIGTERM before it gets SIGKILL.
pub const GRACE: Duration = Duration::from_secs(10);

/// The longest grace that a call may ask for.
pub const GRACE_MAX: Duration = Duration::from_secs(600);

/// The most bytes that arguments and environment may have together; Linux itself stops at about 2 MiB.
pub const ARGUMENTS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Words that mean something to a shell and nothing without one.
const SHELL_WORDS: [&str; 11] = ["|", "||", "&&", "&", ";", ">", ">>", "<", "<<", "2>", "2>&1"];

/// What to do with output past the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum OnOverflow {
    /// Keep the beginning, read the rest to let the program go on, and say so in the result.
    Cut,
    /// End the program and fail.
    Fail,
}

/// What to do with processes of the command's session that outlive the command itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Background {
    /// End them.
    End,
    /// Leave them running; their output is lost.
    Keep,
}

/// A command to run: everything that an adapter needs to know.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program: a path, or a name to be looked for in `PATH`.
    pub program: String,
    /// Its arguments, without its own name.
    pub args: Vec<String>,
    /// Variables beside the base of the adapter; `None` removes one of the base.
    pub env: BTreeMap<String, Option<String>>,
    /// Its working directory, absolute.
    pub cwd: PathBuf,
    /// Its input; without one it reads from `/dev/null`.
    pub stdin: Option<Vec<u8>>,
    /// The user it runs as.
    pub user: Option<NameOrId>,
    /// The group it runs as; without one the user's own groups.
    pub group: Option<NameOrId>,
    /// The permission bits that files it makes do not get.
    pub umask: Option<Mode>,
    /// The idempotency key that its processes carry.
    pub key: String,
    /// How many bytes of each stream are kept.
    pub output_bytes_max: u64,
    /// What to do past that.
    pub on_overflow: OnOverflow,
    /// Whether stderr goes where stdout goes.
    pub combine: bool,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How long it may take to end after SIGTERM.
    pub grace: Duration,
    /// What to do with what it leaves running.
    pub background: Background,
    /// Says "stop now".
    pub cancel: Cancel,
}

/// A command line as scripts write it: an array of program and arguments, or a text that is split into them as a
/// shell does, quotes included, but without a shell: nothing is expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl FromValue for CommandLine {
    const KIND: &'static str = "string or array";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let refuse = |message: String, hint: &str| Mismatch {
            message,
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        };
        let words = match value {
            Value::String(text) => split(&text)?,
            Value::Array(items) => {
                let words = items.into_iter().enumerate().map(|(at, item)| {
                    scalar_text(&item).ok_or_else(|| {
                        refuse(
                            format!("item {at}: expected a string or a number, got {}", item.type_name()),
                            "",
                        )
                    })
                });
                words.collect::<Result<Vec<_>, _>>()?
            }
            other => return Err(Mismatch::of::<Self>(&other)),
        };
        if words.iter().any(|word| word.contains('\0')) {
            return Err(refuse("a command has no NUL character".to_owned(), "give binary data as `stdin`"));
        }
        let mut words = words.into_iter();
        match words.next() {
            Some(program) if !program.is_empty() => Ok(Self { program, args: words.collect() }),
            _ => Err(refuse(
                "the command is empty".to_owned(),
                "write [\"program\", \"argument\", …] or \"program argument …\"",
            )),
        }
    }
}

fn split(text: &str) -> Result<Vec<String>, Mismatch> {
    let words = shlex::split(text).ok_or_else(|| Mismatch {
        message: "a quote in the command is not closed, or it ends with a backslash".to_owned(),
        hint: Some("the array form needs no quotes: [\"program\", \"argument\", …]".to_owned()),
    })?;
    match words.iter().find(|word| SHELL_WORDS.contains(&word.as_str())) {
        None => Ok(words),
        Some(word) => Err(Mismatch {
            message: format!("`{word}` means nothing without a shell"),
            hint: Some(format!(
                "use process::shell for pipes and redirections, or the array form to pass `{word}` as an argument"
            )),
        }),
    }
}

/// Texts, numbers and truth values as a program gets them.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Char(c) => Some(c.to_string()),
        _ => None,
    }
}

/// Options of `process::run` and `process::shell`.
#[derive(Clone, Debug, Options)]
pub struct RunOptions {
    /// Variables for the program, beside `PATH`, `HOME`, `USER`, `LANG`, `TZ` and what was handed to the run; `()` removes one. A secret in
    /// it can be read by whoever may look into the process: `stdin` or a file keep it closer.
    pub env: Option<BTreeMap<String, SecretValue>>,
    /// The working directory; without it that of the run.
    pub cwd: Option<PathText>,
    /// What the program reads from its standard input, a secret too; without it nothing.
    pub stdin: Option<SecretContent>,
    /// The user to run as, by name or number; only root may switch.
    pub user: Option<NameOrId>,
    /// The group to run as, by name or number; without it the groups of `user`.
    pub group: Option<NameOrId>,
    /// The umask: `"027"`.
    pub umask: Option<Mode>,
    /// Whether an exit code that is not in `success` is an error; `false` gives the result whatever the code.
    #[option(default = "true")]
    pub check: bool,
    /// The exit codes that are no error.
    #[option(default = "vec![0]")]
    pub success: Vec<i64>,
    /// Whether `stdout` and `stderr` are given as blobs; otherwise they are texts, with bytes that are no UTF-8 replaced by `�`.
    #[option(default = "false")]
    pub binary: bool,
    /// Whether stderr is written into `stdout`, in the order in which it comes.
    #[option(default = "false")]
    pub combine: bool,
    /// How much of each output stream is kept.
    #[option(default = "Size(OUTPUT_BYTES_DEFAULT)")]
    pub output_limit: Size,
    /// What happens past `output_limit`: `cut` keeps the beginning and sets `stdout_truncated` or `stderr_truncated`; `fail` ends the program.
    #[option(default = "OnOverflow::Cut")]
    pub on_overflow: OnOverflow,
    /// How long the program may take to end after SIGTERM, on a timeout or a cancel, before it gets SIGKILL.
    #[option(default = "GRACE")]
    pub grace: Duration,
    /// What becomes of processes that the program left in its session: `end` or `keep`.
    #[option(default = "Background::End")]
    pub background: Background,
}

/// The command that a call asks for.
///
/// # Errors
/// When an option is out of range or a variable's name or value cannot be one.
pub fn command(cx: &Ctx, line: CommandLine, options: &RunOptions) -> Result<Command, OpError> {
    let Size(output_bytes_max) = options.output_limit;
    if output_bytes_max > OUTPUT_BYTES_MAX {
        return Err(OpError::invalid(format!(
            "option `output_limit`: {output_bytes_max} bytes are more than {OUTPUT_BYTES_MAX}"
        ))
        .hint("let the program write to a file"));
    }
    if options.grace > GRACE_MAX {
        return Err(OpError::invalid(format!(
            "option `grace`: longer than {}",
            hob_model::duration::format(GRACE_MAX)
        )));
    }
    let cwd = match &options.cwd {
        Some(PathText(path)) => cx.resolve(path),
        None => cx.cwd().to_path_buf(),
    };
    let env = environment(cx, options.env.as_ref())?;
    let stdin = options.stdin.as_ref().map(|content| cx.open(&content.0)).transpose()?;
    let stdin = stdin.map(|content| content.to_vec());
    let bytes: usize = line.args.iter().map(String::len).sum::<usize>()
        + env.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, String::len)).sum::<usize>();
    if bytes > ARGUMENTS_BYTES_MAX {
        return Err(OpError::invalid(format!(
            "arguments and environment have {bytes} bytes, more than {ARGUMENTS_BYTES_MAX}"
        ))
        .hint("give large input as `stdin`"));
    }
    Ok(Command {
        program: line.program,
        args: line.args,
        env,
        cwd,
        stdin,
        user: options.user.clone(),
        group: options.group.clone(),
        umask: options.umask,
        key: cx.key().to_owned(),
        output_bytes_max,
        on_overflow: options.on_overflow,
        combine: options.combine,
        timeout: cx.timeout(),
        grace: options.grace,
        background: options.background,
        cancel: cx.cancel().clone(),
    })
}

/// What was handed to the run, then what the call says, then the mark of the effect, which nothing overrides.
fn environment(
    cx: &Ctx,
    given: Option<&BTreeMap<String, SecretValue>>,
) -> Result<BTreeMap<String, Option<String>>, OpError> {
    let handed = cx.env_all().iter().map(|(k, v)| (k.clone(), Some(v.clone())));
    let mut env: BTreeMap<String, Option<String>> = handed.collect();
    for (name, value) in given.into_iter().flatten() {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(OpError::invalid(format!("option `env`: `{name}` cannot be the name of a variable")));
        }
        let value = &*cx.open_value(&value.0)?;
        let text = match value {
            Value::Unit => None,
            other => Some(scalar_text(other).filter(|text| !text.contains('\0')).ok_or_else(|| {
                OpError::invalid(format!(
                    "option `env`: `{name}`: expected a text, got {}",
                    other.type_name()
                ))
                .hint("variables are texts without NUL, numbers or truth values")
            })?),
        };
        env.insert(name.clone(), text);
    }
    env.insert(EFFECT_VARIABLE.to_owned(), Some(cx.key().to_owned()));
    Ok(env)
}
