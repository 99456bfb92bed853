//! One breach of the house rules.
//! **Owns:** how it is told: `file:line: found X; use Y`. **Never:** decides what a breach is.

/// What is off, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the workspace.
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) check: &'static str,
    pub(crate) found: String,
    pub(crate) hint: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, check, found, hint } = self;
        write!(f, "{file}:{line}: [{check}] found {found}; {hint}")
    }
}
