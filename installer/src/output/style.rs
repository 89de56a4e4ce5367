//! Colors, where somebody sees them.

/// Whether to use colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    /// Whether a stream has colors.
    pub(super) const fn on(self, terminal: bool, no_color: bool) -> bool {
        match self {
            Self::Auto => terminal && !no_color,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it should be, or new.
    Good,
    /// Wants attention.
    Warning,
    /// Wrong.
    Bad,
    /// A heading.
    Heading,
    /// Less important than its surroundings.
    Faint,
    /// Nothing special.
    Plain,
}

impl Style {
    pub(super) fn paint(self, text: &str, colors: bool) -> String {
        let code = match self {
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Heading => "1",
            Self::Faint => "2",
            Self::Plain => return text.to_owned(),
        };
        if colors { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
