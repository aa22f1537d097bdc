//! English.

use nix::errno::Errno;

use crate::failure::{
    AnswerFault, Failure, NetworkFault, OsReleaseFault, ProxyFault, Refusal, SettingFault, Stage, TlsFault, Unreachable,
};
use crate::network::Source;
use crate::root::{Doing, PathError, READ_LIMIT};

/// What failed, on what, and why: one line.
pub fn failure(failure: &Failure) -> String {
    match failure {
        Failure::Path(error) | Failure::Named(error) => path_error(error),
        Failure::Setting { name, fault } => setting(name, fault),
        Failure::MachineId { path } => format!("{path}: it does not hold 32 hexadecimal digits"),
        Failure::OsReleaseMissing { path } => format!("cannot tell the operating system: {path} does not exist"),
        Failure::OsRelease { path, fault } => format!(
            "{path}: {}",
            match fault {
                OsReleaseFault::NoId => "it has no ID",
                OsReleaseFault::NoVersion => "it has no VERSION_ID",
                OsReleaseFault::OddCharacters => "ID or VERSION_ID holds characters that no distribution uses",
            }
        ),
        Failure::NoPackageManager { tried } => {
            format!("this machine has no package manager: none of {}", tried.join(", "))
        }
        Failure::Architecture { errno } => format!("cannot ask the kernel for the architecture: {}", errno.desc()),
        Failure::Request { server, why } => format!("cannot make a request to {server}: {why}"),
        Failure::Unreachable(unreachable) => no_answer(unreachable),
        Failure::CutOff { host, fault } => format!("the answer of {host} is incomplete: {}", network(fault)),
        Failure::Answer { server, status, fault, .. } => {
            format!("the answer of {server} (HTTP {status}) is not a backend's: {}", answer(fault))
        }
        Failure::Refused(refusal) => refused(refusal),
    }
}

/// What to do next.
pub fn hint(failure: &Failure) -> Option<String> {
    let text = match failure {
        Failure::Path(error) => path_hint(error.errno),
        Failure::Setting { .. } | Failure::Named(_) | Failure::Architecture { .. } => return None,
        Failure::Request { .. } | Failure::Refused(_) => return None,
        Failure::MachineId { .. } => "empty the file and run 'systemd-machine-id-setup'",
        Failure::OsReleaseMissing { .. } => return None,
        Failure::OsRelease { .. } => {
            "the file is part of the distribution's release package: 'rpm -V' shows whether it was changed"
        }
        Failure::NoPackageManager { .. } => "repositories can be configured for dnf, dnf-3 and microdnf",
        Failure::Unreachable(unreachable) => no_answer_hint(unreachable),
        Failure::CutOff { .. } => "run the same command again",
        Failure::Answer { .. } => "check the server's URL, and that no proxy or portal answers in its place",
    };
    Some(text.to_owned())
}

/// What could not be done with which file.
pub fn path_error(error: &PathError) -> String {
    let PathError { doing, path, errno } = error;
    let doing = match doing {
        Doing::Open => "open",
        Doing::Read => "read",
        Doing::List => "list",
        Doing::Write => "write",
        Doing::WriteTo => "write to",
        Doing::MakeFolderOf => "create the folder of",
        Doing::Rename => "rename",
        Doing::Remove => "remove",
        Doing::Lock => "lock",
    };
    match *errno {
        Errno::ELOOP => format!("cannot {doing} {path}: a symbolic link is in the way"),
        Errno::EILSEQ => format!("cannot {doing} {path}: it is not UTF-8 text"),
        Errno::EFBIG => format!("cannot {doing} {path}: it is larger than {READ_LIMIT} bytes"),
        Errno::ENOTSUP => format!("cannot {doing} {path}: it is not a regular file"),
        errno => format!("cannot {doing} {path}: {}", errno.desc()),
    }
}

/// Where a proxy was named.
pub fn proxy_source(source: &Source) -> String {
    match source {
        Source::Environment(name) => format!("the environment variable {name}"),
        Source::Flag | Source::Config(_) | Source::DnfConf => source.setting(),
    }
}

/// Begins a warning.
pub fn warning_label() -> &'static str {
    "warning:"
}

/// Begins an error.
pub fn error_label() -> &'static str {
    "error:"
}

/// Names the request in the backend's log.
pub fn request_id(id: &str) -> String {
    format!("request id: {id}")
}

/// The result could not be printed.
pub fn cannot_print(error: &std::io::Error) -> String {
    format!("cannot write to standard output: {error}")
}

fn path_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC | Errno::EDQUOT => "free some space there, then run the same command again",
        Errno::EROFS => "make that file system writable, then run the same command again",
        Errno::EACCES | Errno::EPERM => {
            "check permissions, 'lsattr' and the security policy there, then run the same command again"
        }
        Errno::ELOOP => "nothing is written through a symbolic link: put a real file or folder there",
        Errno::EISDIR | Errno::ENOTDIR | Errno::ENOTSUP => "move away what is there, then run the same command again",
        _ => "fix that, then run the same command again: nothing was lost",
    }
}

fn setting(name: &str, fault: &SettingFault) -> String {
    match fault {
        SettingFault::NotUtf8 => format!("{name}: it is not UTF-8 text"),
        SettingFault::Toml { line, key, message } => {
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let key = key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
            format!("{name}: {line}{key}{message}")
        }
        SettingFault::Timeout => format!("{name}: must be 1 to 86400 seconds"),
        SettingFault::Url { why } => format!("{name}: {why}"),
        SettingFault::Path(error) => format!("{name}: {}", path_error(error)),
        SettingFault::MissingFile { path } => format!("{name}: {path} does not exist"),
        SettingFault::Certificates { why: Some(why) } => format!("{name}: not a PEM file of certificates: {why}"),
        SettingFault::Certificates { why: None } => {
            format!("{name}: it holds no certificate (-----BEGIN CERTIFICATE-----)")
        }
        SettingFault::Proxy(fault) => format!(
            "{name}: {}",
            match fault {
                ProxyFault::Scheme => "only HTTP proxies are supported: http://[USER:PASSWORD@]HOST:PORT",
                ProxyFault::Port => "the port must be 1 to 65535",
                ProxyFault::Host => "the host must be a name or an address (IPv6 in brackets)",
                ProxyFault::Login => "user name and password must be UTF-8 text",
            }
        ),
    }
}

fn no_answer(unreachable: &Unreachable) -> String {
    let Unreachable { host, proxy, stage, fault, now } = unreachable;
    let why = network(fault);
    let via = proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    match (stage, proxy) {
        (Stage::Resolve, Some(proxy)) => format!("cannot find the proxy {proxy}: DNS: {why}"),
        (Stage::Resolve, None) => format!("cannot find {host}: DNS: {why}"),
        (Stage::Connect, Some(proxy)) => format!("cannot connect to the proxy {proxy} (for {host}): TCP: {why}"),
        (Stage::Connect, None) => format!("cannot connect to {host}: TCP: {why}"),
        (Stage::Proxy, _) => format!("cannot reach {host}{via}: proxy: {why}"),
        (Stage::Tls, _) if is_about_dates(fault) => {
            format!("cannot reach {host}{via}: TLS: {why} (this machine's clock says {now})")
        }
        (Stage::Tls, _) => format!("cannot reach {host}{via}: TLS: {why}"),
        (Stage::Established, _) => format!("no answer from {host}{via}: {why}"),
    }
}

fn no_answer_hint(unreachable: &Unreachable) -> &'static str {
    match (unreachable.stage, &unreachable.proxy) {
        (Stage::Resolve, Some(_)) => {
            "check the proxy's name (--proxy, the configuration, https_proxy, dnf.conf) and this machine's DNS"
        }
        (Stage::Resolve, None) => "check the name and this machine's DNS; behind a proxy, name it with --proxy",
        (Stage::Connect, Some(_)) => "check the proxy's address and port",
        (Stage::Connect, None) => {
            "check the firewall; behind a proxy, name it with --proxy; then run the same command again"
        }
        (Stage::Proxy, _) => {
            "check the proxy's user name and password, and that it allows CONNECT to this host and port"
        }
        (Stage::Tls, _) if is_about_dates(&unreachable.fault) => {
            "compare that with the real time ('timedatectl', 'chronyc tracking'): a wrong clock is the usual cause"
        }
        (Stage::Tls, _) => {
            "if a proxy inspects TLS here, add its CA to the system's store (/etc/pki/ca-trust/source/anchors, then \
             'update-ca-trust') or name it with --ca-file"
        }
        (Stage::Established, _) => "run the same command again",
    }
}

fn is_about_dates(fault: &NetworkFault) -> bool {
    matches!(fault, NetworkFault::Tls(fault) if fault.is_about_dates())
}

fn network(fault: &NetworkFault) -> String {
    match fault {
        NetworkFault::NoTimeLeft => "no time is left of --timeout".to_owned(),
        NetworkFault::TimedOut => "no answer within --timeout".to_owned(),
        NetworkFault::NameUnknown => "the name is not known".to_owned(),
        NetworkFault::ClosedEarly => "the connection was closed early".to_owned(),
        NetworkFault::NotHttp => "the answer is not HTTP".to_owned(),
        NetworkFault::HeadTooLarge => "the answer's headers are too large".to_owned(),
        NetworkFault::BodyTooLarge { most } => format!("the answer is larger than {most} bytes"),
        NetworkFault::ProxyLogin => "it requires a user name and password, or refused those given (407)".to_owned(),
        NetworkFault::ProxyForbids => "it does not allow this host and port (403)".to_owned(),
        NetworkFault::ProxyStatus(status) => format!("it answered {status}"),
        NetworkFault::ProxySilent => "its answer is not a proxy's".to_owned(),
        NetworkFault::Tls(fault) => tls(fault),
        NetworkFault::Os(errno) => errno.desc().to_lowercase(),
        NetworkFault::Other(text) => text.clone(),
    }
}

fn tls(fault: &TlsFault) -> String {
    match fault {
        TlsFault::UnknownIssuer => "its certificate is not signed by a CA that this system trusts".to_owned(),
        TlsFault::Expired => "its certificate has expired".to_owned(),
        TlsFault::NotYetValid => "its certificate is not valid yet".to_owned(),
        TlsFault::OtherHost => "its certificate is for another host".to_owned(),
        TlsFault::CaCertificate => {
            "its certificate is a CA's own (a self-signed one): a server needs one that a CA issued".to_owned()
        }
        TlsFault::NotTls => "the other side does not speak TLS".to_owned(),
        TlsFault::NoAuthorities { why: None } => {
            "this system has no CA certificates (package ca-certificates)".to_owned()
        }
        TlsFault::NoAuthorities { why: Some(why) } => format!("cannot read this system's CA certificates: {why}"),
        TlsFault::Certificate(why) => format!("its certificate is not accepted ({why})"),
        TlsFault::Other(why) => why.clone(),
    }
}

fn answer(fault: &AnswerFault) -> String {
    match fault {
        AnswerFault::NoApiHeader => "it has no header 'Els-Api: 1' (a proxy's or portal's page?)".to_owned(),
        AnswerFault::NotAProblem => "it is an error, but not in the protocol's form".to_owned(),
        AnswerFault::UnreadableProblem => "it is an error that cannot be read".to_owned(),
        AnswerFault::StatusAndCodeDiffer => "its status and its code do not fit together".to_owned(),
        AnswerFault::UnexpectedStatus => "its status is unexpected".to_owned(),
        AnswerFault::OtherId => "it is about another registration".to_owned(),
        AnswerFault::Unreadable { why } => format!("it cannot be read: {why}"),
    }
}

fn refused(refusal: &Refusal) -> String {
    let Refusal { host, status, code, title, detail, seats, .. } = refusal;
    let what = if *status >= 500 { "failed" } else { "refused" };
    let title = if title.is_empty() { code } else { title };
    let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let seats =
        seats.as_ref().map(|seats| format!(": {} of {} seats are used", seats.used, seats.total)).unwrap_or_default();
    format!("{host} {what}: {title} ({code}){detail}{seats}")
}
