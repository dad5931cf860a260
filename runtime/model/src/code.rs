//! The codes of diagnostics, each with a page that `hob explain` shows and the book prints.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $title:literal;)*) => {
        /// A stable code: once given, its meaning does not change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $name,)* }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text form: `HOB-0101`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("HOB-", $number),)* }
            }

            /// What it is about, in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// The page: when it appears, why, an example and the cure, in Markdown.
            #[must_use]
            pub fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("codes/", $number, ".md")),)* }
            }
        }
    };
}

codes! {
    // 01xx: reading scripts
    Syntax = "0101" "a script does not parse";
    UnknownName = "0102" "a variable, function or operation is not known";
    MissingModule = "0103" "an import is not found";
    WrongArguments = "0104" "an operation is called with wrong arguments";
    UnknownOption = "0105" "an option map has an unknown key or a wrong value";
    NotHere = "0106" "an operation is called where it is not allowed";
    UnreadableScript = "0107" "a script file cannot be read";
    // 02xx: running scripts
    ScriptFailed = "0201" "a script ended with an error that nothing caught";
    OperationFailed = "0202" "an operation failed and nothing caught it";
    LimitReached = "0203" "a script reached one of the limits";
    Denied = "0204" "a call is not permitted";
    NotJournalable = "0205" "a value cannot be written to the journal";
    // 03xx: durable runs
    ReplayDiffers = "0301" "a replayed call differs from its record";
    InDoubt = "0302" "the outcome of an effect is unknown";
    NoSuchRun = "0303" "there is no such run";
    WrongRunState = "0304" "a command does not fit the state of the run";
    NoSuchPosition = "0305" "there is no such position in the run";
    // 04xx: the state directory and the journal
    StateLocked = "0401" "another hob holds the state directory";
    StateUnusable = "0402" "the state directory cannot be used";
    JournalCorrupt = "0403" "the journal is damaged";
    JournalTooNew = "0404" "the journal was written by a newer hob";
    DiskFull = "0405" "there is too little free space to act safely";
    JournalStopped = "0406" "the journal stopped after a failed write";
    // 05xx: declarations and services
    BadDeclaration = "0501" "a declaration is not valid";
    DependencyCycle = "0502" "declarations depend on each other in a circle";
    ServiceFailed = "0503" "a service did not become ready";
    ServiceHeld = "0504" "a service is held by somebody else";
    PlanStale = "0505" "the world has changed since the plan was made";
    // 06xx: commands
    Usage = "0601" "a command is used wrongly";
    NoDaemon = "0602" "no hob is serving this state directory";
    Unauthorized = "0603" "a request is refused by the access rules";
    // 07xx: secrets
    SecretLocked = "0701" "no identity at hand opens a secret";
    SecretDamaged = "0702" "an encrypted file is damaged or was changed";
    SecretRules = "0703" "a secrets file or its rules cannot be used";
    SecretFile = "0704" "a secrets file cannot be read or written";
    // 08xx: what `hob check` finds beside mistakes
    Unused = "0801" "a name is never used";
    EmptyCatch = "0802" "a catch hides every error";
    Unreachable = "0803" "a statement is never reached";
    LoopCapture = "0804" "closures share the variable of a loop";
    Repeated = "0805" "an effect that must not be repeated is retried";
    BadException = "0806" "an exception from a check is wrong or not needed";
}

impl Code {
    /// Reads `HOB-0101`, also `0101` and in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let wanted = text.trim().to_uppercase();
        let wanted = wanted.strip_prefix("HOB-").unwrap_or(&wanted);
        Self::ALL.iter().copied().find(|code| &code.as_str()[4..] == wanted)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a page needs to be worth printing, and to fit a screen.
    const PAGE_LINES: std::ops::RangeInclusive<usize> = 10..=30;

    #[test]
    fn each_code_has_a_page_with_a_cure() {
        for code in Code::ALL {
            let page = code.page();
            assert_eq!(page.lines().next(), Some(&*format!("# {code}: {}", code.title())));
            assert!(PAGE_LINES.contains(&page.lines().count()), "{code}: {} lines", page.lines().count());
            assert!(page.contains("**Cure:**"), "{code} has no cure");
            assert!(page.matches("\n```").count().is_multiple_of(2), "{code} has an open block");
            for (at, _) in page.match_indices("HOB-") {
                assert!(Code::parse(&page[at..at + 8]).is_some(), "{code} names a code that does not exist");
            }
        }
    }

    #[test]
    fn codes_are_read_as_people_write_them() {
        for text in ["HOB-0101", "hob-0101", " 0101 "] {
            assert_eq!(Code::parse(text), Some(Code::Syntax), "{text}");
        }
        assert_eq!(Code::parse("0199"), None);
    }
}
