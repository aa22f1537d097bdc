//! English: results, and steps with `--verbose`.

use els_host::confine::Landlock;
use els_protocol::Timestamp;
use els_protocol::wire::{RegistrationState, Seats};

use super::id;
use crate::file_state::FileState;
use crate::report::{DryRun, Headline, Line, Progress, RegistrationView, SeatView, StatusLine};

/// A result. It may have more than one line.
pub(crate) fn line(line: &Line) -> String {
    match line {
        Line::Headline(headline) => self::headline(headline),
        Line::Registration(view, seats) => registration(view, seats.as_ref()),
        Line::Next => "Next: dnf -y --repo='els-*' makecache, then dnf update".to_owned(),
        Line::LeftOnMachine => {
            "Kept: installed packages, dnf's cache ('dnf clean all' removes it) and the imported key \
                                ('rpm -e' of the\ngpg-pubkey that 'rpm -q gpg-pubkey --qf \
                                \"%{NAME}-%{VERSION}-%{RELEASE} %{SUMMARY}\\n\"' shows)."
                .to_owned()
        }
        Line::SeatsUsed(seats) => format!("{} of {} seats used", seats.used, seats.total),
        Line::Seat(seat) => self::seat(seat),
        Line::DryRun(line) => dry_run(line),
        Line::Text(text) => text.clone(),
    }
}

/// A step that is being done.
pub(crate) fn progress(progress: &Progress) -> String {
    match progress {
        Progress::Confined(Landlock::Enforced) => "Landlock: enforced".to_owned(),
        Progress::Confined(Landlock::Partly) => "Landlock: partly enforced".to_owned(),
        Progress::Confined(Landlock::NotAvailable) => "Landlock: not available".to_owned(),
        Progress::Asking { server, id } => format!("asking {server} for registration {id}"),
        Progress::NewId => "the backend wants a new registration id; asking once more".to_owned(),
        Progress::Probing { url } => format!("probing {url}"),
        Progress::Releasing { server, id } => format!("releasing registration {id} at {server}"),
    }
}

fn headline(headline: &Headline) -> String {
    match headline {
        Headline::Registered => "Registered.".to_owned(),
        Headline::RegisteredAnew => "Registered with a new registration.".to_owned(),
        Headline::AlreadyRegistered => "Already registered: everything is in order, nothing was changed.".to_owned(),
        Headline::Repaired => "Already registered; what was missing or altered has been repaired.".to_owned(),
        Headline::KeyRotated => "Already registered; the registration now belongs to the new key.".to_owned(),
        Headline::Refreshed => "Refreshed.".to_owned(),
        Headline::InOrder => "Everything is in order, nothing was changed.".to_owned(),
        Headline::Unregistered => "Unregistered: the seat is free.".to_owned(),
        Headline::Resumed => "What an earlier run left was released; this machine is not registered.".to_owned(),
        Headline::ForeignJournal => {
            "The journal here was another machine's: it was removed, and nothing in it was released.".to_owned()
        }
        Headline::CleanedUp => "The files were removed.".to_owned(),
        Headline::NothingToUnregister => "This machine is not registered: nothing to do.".to_owned(),
        Headline::CopyCleaned { original } => format!(
            "Registration {} was made on another machine: only the files here were removed, its seat was not touched.",
            id(original.as_ref())
        ),
        Headline::Released { id } => format!("Released: registration {id} holds no seat."),
        Headline::Status(StatusLine::Registered) => "registered".to_owned(),
        Headline::Status(StatusLine::Damaged) => "registered, but damaged".to_owned(),
        Headline::Status(StatusLine::Copied) => "copied".to_owned(),
        Headline::Status(StatusLine::NoLongerAccepted) => "registered, but no longer accepted".to_owned(),
        Headline::Status(StatusLine::AsKnownHere) => "registered, as far as is known here".to_owned(),
    }
}

fn registration(view: &RegistrationView, seats: Option<&Seats>) -> String {
    let mut lines = Vec::new();
    if let Some(product) = &view.product {
        lines.push(format!("  product       {} ({})", product.name, product.id));
    }
    lines.push(format!("  registration  {}", view.id));
    if let Some(key_id) = &view.key_id {
        let contract = view.contract.as_ref().map(|contract| format!(", contract {contract}"));
        lines.push(format!("  key           {key_id}{}", contract.unwrap_or_default()));
    }
    lines.extend(view.expires.map(|expires| format!("  expires       {}", expires.date())));
    lines.extend(seats.map(|seats| format!("  seats         {} of {} used", seats.used, seats.total)));
    lines.extend(view.server.as_ref().map(|server| format!("  server        {server}")));
    lines.extend(view.repo_url.as_ref().map(|url| format!("  repositories  {url}")));
    lines.join("\n")
}

fn seat(seat: &SeatView) -> String {
    let holder = &seat.holder;
    let label = holder.label.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let seen = holder.last_seen_at.map_or_else(|| "never".to_owned(), Timestamp::date);
    let networks = match holder.networks {
        Some(1) => " from 1 network".to_owned(),
        Some(networks) => format!(" from {networks} networks"),
        None => String::new(),
    };
    let state = match (holder.state, holder.until) {
        (RegistrationState::Active, _) => String::new(),
        (RegistrationState::Superseded, None) => "  superseded".to_owned(),
        (RegistrationState::Superseded, Some(until)) => format!("  superseded, ends on {}", until.date()),
    };
    let mark = if seat.this_machine { "  <- this machine" } else { "" };
    format!(
        "{}  registered {}  last seen {seen}{networks}{state}  {} {} {}  {label}{mark}",
        holder.registration,
        holder.registered_at.date(),
        holder.os.id,
        holder.os.version,
        holder.arch,
    )
}

fn dry_run(line: &DryRun) -> String {
    match line {
        DryRun::Request { method, url } => format!("would send {method} {url}"),
        DryRun::Header { name, value } => format!("  {name}: {value}"),
        DryRun::File { path, state } => {
            let what = match state {
                FileState::Written => "write",
                FileState::Removed => "remove",
                FileState::Kept | FileState::Unchanged | FileState::Missing | FileState::Altered => "keep",
            };
            format!("would {what} {path}")
        }
        DryRun::NoFile => "would change no file".to_owned(),
        DryRun::AllFiles => {
            "the state is lost: all files would be written again, with values <from the backend>".to_owned()
        }
        DryRun::OtherKey => {
            "this machine was registered with another key: if the backend does not accept the registration with \
             this one, a new id and token would be sent, and all files would be written"
                .to_owned()
        }
        DryRun::Decided { path } => {
            format!("the repo file's name, {path} and the expiry are <from the backend>")
        }
        DryRun::End => "(dry run: nothing was sent, nothing was written)".to_owned(),
    }
}
