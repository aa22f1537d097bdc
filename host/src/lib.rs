//! What a program of ours needs on a customer's machine: files, HTTPS with proxies, machine ids, settings, output.
//!
//! It must not know what the program does there: no license key, no seat, no repository.

#![allow(missing_docs, reason = "a comment that repeats the name is left out")]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make the files that they read"))]

pub mod clock;
pub mod config;
pub mod confine;
pub mod container;
pub mod dnf_conf;
pub mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod ini;
pub mod machine;
pub mod messages;
pub mod network;
pub mod output;
pub mod root;
