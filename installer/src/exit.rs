//! How a command ends, as the code that the shell sees.

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked is done.
    Done,
    /// It failed, or a check found errors.
    Failed,
    /// The command line or a given file cannot be used.
    Usage,
    /// A person said no, or somebody else owns what would have to change.
    Refused,
    /// What was waited for did not come in time.
    TimedOut,
}

impl Exit {
    /// Every end, in the order of its code.
    pub const ALL: [Self; 5] = [Self::Done, Self::Failed, Self::Usage, Self::Refused, Self::TimedOut];

    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::TimedOut => 4,
        }
    }

    /// What the code says, for the documentation.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "what was asked is done",
            Self::Failed => "it failed, or a check found errors",
            Self::Usage => "the command line or a given file cannot be used",
            Self::Refused => "a person said no, or somebody else owns what would have to change",
            Self::TimedOut => "what was waited for did not come in time",
        }
    }
}
