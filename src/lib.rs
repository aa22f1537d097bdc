//! `els-register`: takes a seat of a license key for this machine, sets up dnf's repositories, and gives the seat back.
//!
//! Parse, run, print: all else is in the modules. See ARCHITECTURE.md for the data's way through them. It is a library so that
//! the fuzz targets in `fuzz/` reach the parsers of the very code that ships; its one function for others is [`run`].

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make the files that they read"))]

mod backend;
mod checks;
mod cli;
mod commands;
mod config;
#[allow(dead_code, reason = "the long form is the manual's, which xtask makes")]
mod exit;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod registration;
mod repo;
mod report;
mod vendor;

use std::ffi::OsString;

use els_host::failure::Failure;
use els_host::output::{Error, Outcome, Printer};

use cli::{Action, Parsed};
use report::Report;

/// Runs the program with these arguments (its own name first). Returns the exit status.
pub fn run(arguments: Vec<OsString>) -> i32 {
    let plain = Printer { json: arguments.iter().any(|argument| argument == "--json"), ..Printer::default() };
    match cli::parse(arguments) {
        Parsed::Run(action, options) => {
            let printer = Printer { json: options.json, quiet: options.quiet, verbose: options.verbose };
            let (report, failure) = commands::run(action, &options, printer);
            finish(printer, Some(action), report, failure)
        }
        Parsed::Text(text) => finish(plain, None, Report::text(text), None),
        Parsed::Wrong(message) => {
            let failure = Failure::usage(message).hint("els-register --help lists what there is");
            finish(plain, None, Report::default(), Some(failure))
        }
    }
}

fn finish(printer: Printer, action: Option<Action>, mut report: Report, failure: Option<Failure>) -> i32 {
    printer.finish(Outcome {
        action: action.map(Action::name),
        status: failure.as_ref().map_or(0, |failure| failure::exit_status(failure, action)),
        lines: std::mem::take(&mut report.lines),
        always: matches!(action, Some(Action::Eula | Action::Report | Action::Seats)),
        warnings: std::mem::take(&mut report.warnings),
        body: report,
        error: failure.map(|failure| Error {
            code: failure.kind.code().to_owned(),
            message: failure.message,
            hint: failure.hint,
            request_id: failure.request_id,
        }),
    })
}
