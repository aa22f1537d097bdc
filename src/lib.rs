//! `els-register`: takes a seat of a license key for this machine, configures dnf, and releases the seat again.
//!
//! Parse, run, print; everything else is in the modules. It is a library so that the fuzz targets in `fuzz/` reach the
//! parsers of the code that ships. Its one function for others is [`run`].

#![allow(missing_docs, reason = "it is a program")]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make the files that they read"))]

mod backend;
mod checks;
pub mod chores;
mod cli;
mod commands;
mod config;
mod exit;
mod failure;
mod file_state;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod messages;
mod registration;
mod repo;
mod report;
mod support;
mod updates;
mod vendor;
mod warning;

use std::ffi::OsString;

use clap::CommandFactory as _;
use els_host::language::Language;
use els_host::output::{Error, Outcome, Printer, Warning};

use cli::{Action, Options, Parsed};
use failure::Failure;
use report::Report;

/// Runs the program with these arguments (its own name first). Returns the exit status.
pub fn run(arguments: Vec<OsString>) -> i32 {
    let json = arguments.iter().any(|argument| argument == "--json");
    // JSON documents are for programs, and in English.
    let language = if json { Language::English } else { Language::of_environment() };
    let plain = Printer { json, language, ..Printer::default() };
    match cli::parse(messages::command(language, Options::command()), arguments) {
        Parsed::Run(action, options) => {
            let printer = Printer { json: options.json, quiet: options.quiet, verbose: options.verbose, ..plain };
            let (report, failure) = commands::run(action, &options, printer);
            finish(printer, Some(action), report, failure)
        }
        Parsed::Text(text) => finish(plain, None, Report::text(text), None),
        Parsed::Wrong(error) => finish(plain, None, Report::default(), Some(Failure::Usage(error))),
    }
}

fn finish(printer: Printer, action: Option<Action>, report: Report, failure: Option<Failure>) -> i32 {
    let language = printer.language;
    let warnings = report.warnings.iter();
    let warnings =
        warnings.map(|warning| Warning { code: warning.code(), message: messages::warning(language, warning) });
    printer.finish(Outcome {
        action: action.map(Action::name),
        status: failure.as_ref().map_or(0, |failure| failure.exit_status(action)),
        lines: report.lines.iter().map(|line| messages::line(language, line)).collect(),
        always: matches!(action, Some(Action::Eula | Action::Report | Action::Seats)),
        warnings: warnings.collect(),
        error: failure.map(|failure| {
            let support = report.support.as_ref().map(|support| messages::support_contact(language, support));
            let hint: Vec<String> = messages::hint(language, &failure).into_iter().chain(support).collect();
            Error {
                code: failure.code().to_owned(),
                message: messages::failure(language, &failure),
                hint: (!hint.is_empty()).then(|| hint.join("\n")),
                request_id: failure.request_id().map(str::to_owned),
            }
        }),
        body: report,
    })
}
