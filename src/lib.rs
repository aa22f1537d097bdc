//! `els-register`: takes a seat of a license key for this machine, sets up dnf's repositories, and gives the seat back.
//!
//! Parse, run, print: all else is in the modules. See ARCHITECTURE.md for the data's way through them. It is a library so that
//! the fuzz targets in `fuzz/` reach the parsers of the very code that ships; its one function for others is [`run`].

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make the files that they read"))]

mod backend;
mod checks;
pub mod chores;
mod cli;
mod clock;
mod commands;
mod config;
mod confine;
mod error;
mod exit;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod ini;
mod machine;
mod output;
mod registration;
mod repo;
mod root;
mod vendor;

use std::ffi::OsString;

use cli::Parsed;
use error::Failure;
use output::{Printer, Report};

/// Does what these arguments (the program's name first) ask for. What comes back is the exit status.
pub fn run(arguments: Vec<OsString>) -> i32 {
    let json = arguments.iter().any(|argument| argument == "--json");
    match cli::parse(arguments) {
        Parsed::Run(action, options) => {
            let printer = Printer::new(&options);
            let (report, failure) = commands::run(action, &options, printer);
            printer.finish(Some(action), report, failure)
        }
        Parsed::Text(text) => Printer::plain(json).finish(None, Report::text(text), None),
        Parsed::Wrong(message) => {
            let failure = Failure::usage(message).hint("els-register --help lists what there is");
            Printer::plain(json).finish(None, Report::default(), Some(failure))
        }
    }
}
