//! The exit statuses in words, for help, manual and README. `failure` says which failure has which.

/// What an exit status means.
pub struct Meaning {
    pub status: u8,
    /// For `--help`: at most 35 characters.
    pub short: &'static str,
    /// For the manual, and the table in README.
    pub long: &'static str,
}

const fn meaning(status: u8, short: &'static str, long: &'static str) -> Meaning {
    Meaning { status, short, long }
}

/// All statuses, in their order. Scripts rely on them: additions only.
pub(crate) const MEANINGS: [Meaning; 12] = [
    meaning(0, "done, or nothing to do", "done, or nothing to do"),
    meaning(
        1,
        "failed (I/O, disk full, other)",
        "failed for a reason not below (I/O, disk full, an error of the backend that has no code of its own here)",
    ),
    meaning(2, "wrong usage or configuration", "wrong usage or configuration"),
    meaning(3, "this machine is not registered", "status, refresh: this machine is not registered"),
    meaning(4, "must be root", "must be root"),
    meaning(
        5,
        "refused: the key, the system",
        "refused: the key is unknown, expired, not yet valid, suspended or revoked, or does not cover this system; or, \
         on unregister, the credential is not accepted",
    ),
    meaning(6, "no free seat", "no free seat"),
    meaning(
        7,
        "not reached: run the command again",
        "the backend or the repository could not be reached or could not answer; running again is safe",
    ),
    meaning(
        8,
        "this system is not supported",
        "no dnf here, or the product needs a repo file that this version does not ship",
    ),
    meaning(9, "another els-register is running", "another els-register is at work on this machine"),
    meaning(
        10,
        "registered, but damaged or copied",
        "status: registered, but damaged or a copy; `--refresh` or `--key` heals it",
    ),
    meaning(11, "registered, but no longer accepted", "status, refresh: this machine is no longer accepted"),
];
