//! What became of a file, or what was found of it. It must not know which files there are.

use serde::Serialize;

#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileState {
    Written,
    Unchanged,
    Kept,
    Removed,
    Missing,
    Altered,
}
