//! Which argument of a caller is not valid.

use std::path::PathBuf;

/// An argument of the caller that is not valid. It is displayed as a noun with its article.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Argument {
    /// The paths of a snapshot.
    #[error("the list of paths")]
    Paths,
    /// The paths of a snapshot, because one of them is in the repository that the snapshot goes to.
    #[error("the list of paths")]
    OwnRepository,
    /// The date in the name of a snapshot, as it was typed.
    #[error("the date {0:?}")]
    Date(String),
    /// The name of a history.
    #[error("the history {0:?}")]
    History(String),
    /// The target of a restore.
    #[error("the target {}", .0.display())]
    Target(PathBuf),
    /// The label of a password or a writer.
    #[error("the label")]
    Label,
    /// Another argument, as a noun with its article.
    #[error("{0}")]
    Other(String),
}

impl From<&str> for Argument {
    fn from(what: &str) -> Argument {
        Argument::Other(what.to_owned())
    }
}

impl From<String> for Argument {
    fn from(what: String) -> Argument {
        Argument::Other(what)
    }
}
