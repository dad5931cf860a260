//! Why files stay, in so few words that they can be counted.

/// Why a file stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its name is taken in the target.
    Taken,
    /// Somebody has it open, or says that it is in use.
    InUse,
    /// It changed a moment ago, or while it was moved, or is not finished.
    Growing,
    /// Some of its names are outside of what is moved.
    Linked,
    /// The target is full.
    Full,
    /// It cannot be read.
    Unread,
    /// The target cannot keep it as it is.
    Unkept,
    /// Its copy, read again from the disk, differs from it.
    Unsound,
    /// It is no file.
    NoFile,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Taken,
        Self::InUse,
        Self::Growing,
        Self::Linked,
        Self::Full,
        Self::Unread,
        Self::Unkept,
        Self::Unsound,
        Self::NoFile,
    ];

    /// As numbers are labelled with it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::InUse => "in_use",
            Self::Growing => "growing",
            Self::Linked => "linked",
            Self::Full => "full",
            Self::Unread => "unread",
            Self::Unkept => "unkept",
            Self::Unsound => "unsound",
            Self::NoFile => "no_file",
        }
    }
}
