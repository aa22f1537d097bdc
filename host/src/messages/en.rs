//! English.

use nix::errno::Errno;

use crate::failure::{
    AnswerFault, CaFault, Failure, NetworkFault, OsReleaseFault, ProxyFault, Refusal, SettingFault, Stage, TlsFault,
    Unreachable,
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
        Failure::Answer { server, method, status, fault, .. } => {
            format!("the answer of {server} to {method} (HTTP {status}) is not a backend's: {}", answer(fault))
        }
        Failure::Refused(refusal) => refused(refusal),
    }
}

/// What to do next.
pub fn hint(failure: &Failure) -> Option<String> {
    let text = match failure {
        Failure::Path(error) => path_hint(error.errno),
        Failure::Setting { fault: SettingFault::Certificates(fault), .. } => certificates_hint(fault)?,
        Failure::Setting { .. } | Failure::Named(_) | Failure::Architecture { .. } => return None,
        Failure::Request { .. } | Failure::Refused(_) => return None,
        Failure::MachineId { .. } => "empty the file and run 'systemd-machine-id-setup'",
        Failure::OsReleaseMissing { .. } => return None,
        Failure::OsRelease { .. } => {
            "the file is part of the distribution's release package: 'rpm -V' shows whether it was changed"
        }
        Failure::NoPackageManager { .. } => "repositories can be configured for dnf, dnf-3 and microdnf",
        Failure::Unreachable(unreachable) => return Some(no_answer_hint(unreachable)),
        Failure::CutOff { .. } => "run the same command again",
        Failure::Answer { method, status: 403 | 405 | 406 | 501, .. } if method != "GET" => {
            return Some(format!(
                "a firewall for web applications may block {method}: ask for GET, PUT and DELETE to this host to be allowed; \
                 else check the server's URL, and that no proxy or portal answers in its place"
            ));
        }
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
        SettingFault::Certificates(fault) => format!("{name}: {}", certificates(fault)),
        SettingFault::Proxy(fault) => format!(
            "{name}: {}",
            match fault {
                ProxyFault::Scheme => {
                    "it must be none or SCHEME://[USER:PASSWORD@]HOST:PORT; SCHEME is http, https, socks4, socks4a, socks5 \
                     or socks5h"
                }
                ProxyFault::Port => "the port must be 1 to 65535",
                ProxyFault::Host => "the host must be a name or an address (IPv6 in brackets)",
                ProxyFault::Login => "user name and password must be UTF-8 text",
            }
        ),
    }
}

fn certificates(fault: &CaFault) -> String {
    match fault {
        CaFault::Empty => "it holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned(),
        CaFault::Utf16 => "it is UTF-16 text; a PEM file is ASCII".to_owned(),
        CaFault::Pkcs7 => "it is a PKCS #7 file (.p7b), not a file of certificates".to_owned(),
        CaFault::OtherDer => "it is binary, but not a certificate (PKCS #7 or PKCS #12?)".to_owned(),
        CaFault::PrivateKey => "it holds a private key and no certificate".to_owned(),
        CaFault::Unreadable { number } => format!("its item number {number} cannot be read as a certificate"),
    }
}

fn certificates_hint(fault: &CaFault) -> Option<&'static str> {
    Some(match fault {
        CaFault::Empty | CaFault::PrivateKey => return None,
        CaFault::Utf16 => "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW.pem",
        CaFault::Pkcs7 => "convert it: openssl pkcs7 -in FILE -print_certs -out NEW.pem",
        CaFault::OtherDer => {
            "convert it: openssl pkcs7 -inform DER -in FILE -print_certs -out NEW.pem, or openssl pkcs12 -in FILE -cacerts \
             -nokeys -out NEW.pem"
        }
        CaFault::Unreadable { .. } => "'openssl storeutl -noout -text FILE' shows what is in it",
    })
}

fn no_answer(unreachable: &Unreachable) -> String {
    let Unreachable { host, proxy, stage, fault, now, .. } = unreachable;
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

fn no_answer_hint(unreachable: &Unreachable) -> String {
    let hint = match (unreachable.stage, &unreachable.proxy, &unreachable.fault) {
        (Stage::Resolve, Some(_), _) => {
            "check the proxy's name (--proxy, the configuration, dnf.conf, https_proxy) and this machine's DNS"
        }
        (Stage::Resolve, None, _) => "check the name and this machine's DNS; behind a proxy, name it with --proxy",
        (Stage::Connect, Some(_), _) => "check the proxy's address and port",
        (Stage::Connect, None, _) => {
            "check the firewall; behind a proxy, name it with --proxy; then run the same command again"
        }
        (_, _, NetworkFault::Tls(fault)) => return tls_hint(fault, unreachable.ignored),
        (Stage::Proxy, _, fault) => proxy_hint(fault),
        (Stage::Tls, ..) => "check that the host and port are right, and that no firewall ends the connection",
        (Stage::Established, ..) => "run the same command again",
    };
    hint.to_owned()
}

fn proxy_hint(fault: &NetworkFault) -> &'static str {
    match fault {
        NetworkFault::ProxyLogin { given: true } => "check the proxy's user name and password",
        NetworkFault::ProxyLogin { given: false } => "name the proxy with them: http://USER:PASSWORD@HOST:PORT",
        NetworkFault::ProxySchemes(_) => {
            "ask for Basic authentication or for this host without a login; or run a proxy here that logs in (cntlm, px)"
        }
        NetworkFault::ProxyForbids => "ask for CONNECT to this host and port to be allowed",
        NetworkFault::ProxyCannotReach(_) | NetworkFault::Socks(_) => {
            "the proxy was reached and its login is not the cause: check the host's name, and the proxy's own DNS and firewall"
        }
        NetworkFault::SocksNeedsIpv4 | NetworkFault::HostNameForProxy => {
            "with socks4a:// or socks5h:// the proxy looks up the name itself"
        }
        _ => "check that it is a proxy of this kind (http, https, socks4, socks4a, socks5, socks5h), and its port",
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
        NetworkFault::ProxyLogin { given: true } => "it refused the user name and password (407)".to_owned(),
        NetworkFault::ProxyLogin { given: false } => "it requires a user name and password (407)".to_owned(),
        NetworkFault::ProxySchemes(schemes) => {
            format!("it only offers {} to log in (407), and only Basic is supported", schemes.join(", "))
        }
        NetworkFault::ProxyForbids => "it does not allow this host and port (403)".to_owned(),
        NetworkFault::ProxyCannotReach(status) => format!("it cannot reach the host ({status})"),
        NetworkFault::Socks(code) => format!("it refused: {}", socks(*code)),
        NetworkFault::SocksNeedsIpv4 => "SOCKS 4 needs an IPv4 address, and the host has none".to_owned(),
        NetworkFault::HostNameForProxy => "the host's name is not known on this machine (DNS)".to_owned(),
        NetworkFault::ProxyStatus(status) => format!("it answered {status}"),
        NetworkFault::ProxySilent => "its answer is not a proxy's".to_owned(),
        NetworkFault::Tls(fault) => tls(fault),
        NetworkFault::Os(errno) => errno.desc().to_lowercase(),
        NetworkFault::Other(text) => text.clone(),
    }
}

/// The reply codes of SOCKS 5 (RFC 1928, 6) and of SOCKS 4 (from 91).
fn socks(code: u8) -> String {
    let text = match code {
        1 => "general failure",
        3 => "the network cannot be reached",
        4 => "the host cannot be reached",
        5 => "the host refuses the connection",
        6 => "no answer in time",
        8 => "it knows no addresses of this kind",
        91 => "the host cannot be reached, or is not allowed",
        _ => return format!("code {code}"),
    };
    format!("{text} (code {code})")
}

fn tls(fault: &TlsFault) -> String {
    let text = match fault {
        TlsFault::UnknownIssuer => "its certificate is not signed by a CA that this system trusts",
        TlsFault::Expired => "its certificate has expired",
        TlsFault::NotYetValid => "its certificate is not valid yet",
        TlsFault::OtherHost { presented } if presented.is_empty() => "its certificate is for another host",
        TlsFault::OtherHost { presented } => {
            return format!("its certificate is for another host: {}", presented.join(", "));
        }
        TlsFault::NoSubjectAltName => "its certificate names no host in subjectAltName (a common name does not count)",
        TlsFault::CaCertificate => {
            "its certificate is a CA's own (a self-signed one): a server needs one that a CA issued"
        }
        TlsFault::IssuerNotCa => "its certificate was signed by one that is not a CA's",
        TlsFault::OldHash => "a certificate of its chain is signed with SHA-1 or MD5",
        TlsFault::P521 => "a certificate of its chain uses ECDSA with P-521 or SHA-512, which is not supported here",
        TlsFault::SmallKey => "a certificate of its chain has an RSA key of fewer than 2048 bits",
        TlsFault::Algorithm { oid: Some(oid) } => {
            return format!("a certificate of its chain uses a signature algorithm not supported here ({oid})");
        }
        TlsFault::Algorithm { oid: None } => "a certificate of its chain uses a signature algorithm not supported here",
        TlsFault::BadSignature => "a signature in its chain is wrong, or its key is too short",
        TlsFault::CriticalExtension => "a certificate of its chain has a critical extension that is not known here",
        TlsFault::Purpose => "its certificate is not meant for servers (extendedKeyUsage)",
        TlsFault::NameConstraint => "its CA may not sign for this name (nameConstraints)",
        TlsFault::ChainTooLong => "its chain of certificates is longer than its CAs allow",
        TlsFault::Revoked => "its certificate was revoked, or that cannot be told",
        TlsFault::OldCertificate => "its certificate is an X.509 certificate of version 1 or 2",
        TlsFault::Malformed => "its certificate is malformed",
        TlsFault::Unacceptable => "its certificate does not follow the rules for servers (RFC 5280)",
        TlsFault::NoCertificate => "it shows no certificate",
        TlsFault::NothingInCommon => "it has no cipher suite, group or signature algorithm in common with this program",
        TlsFault::OldVersion => "it only speaks TLS 1.1 or older",
        TlsFault::ClientCertificate => "it requires a client certificate",
        TlsFault::NameNotServed => "it does not serve this host's name",
        TlsFault::Alert { number } => return format!("it ended the handshake with alert {number}"),
        TlsFault::NotTls => "the other side does not speak TLS",
        TlsFault::Violation => "it breaks the TLS protocol, or the bytes were changed on the way",
        TlsFault::NoClockOrRandomness => "this machine gives no time or no random bytes",
        TlsFault::NoAuthorities { why: None } => "this system has no CA certificates (package ca-certificates)",
        TlsFault::NoAuthorities { why: Some(why) } => {
            return format!("cannot read this system's CA certificates: {why}");
        }
        TlsFault::Unusable => "TLS cannot be set up on this machine",
    };
    text.to_owned()
}

/// `ignored`: a variable with CA certificates that other programs follow.
fn tls_hint(fault: &TlsFault, ignored: Option<&str>) -> String {
    let hint = match fault {
        TlsFault::Expired | TlsFault::NotYetValid => {
            "compare that with the real time ('timedatectl', 'chronyc tracking'): a wrong clock is the usual cause"
        }
        TlsFault::UnknownIssuer | TlsFault::NoAuthorities { .. } => {
            let hint = "if a proxy inspects TLS here, add its CA to the system's store (/etc/pki/ca-trust/source/anchors, \
                        then 'update-ca-trust') or name it with --ca-file";
            return match ignored {
                Some(name) => format!("{hint}; {name} is set, but neither this program nor dnf follows it"),
                None => hint.to_owned(),
            };
        }
        TlsFault::OtherHost { .. } | TlsFault::NameNotServed => {
            "check the server's URL, and that no proxy or portal answers in its place"
        }
        TlsFault::NoSubjectAltName => {
            "ask for a certificate with subjectAltName (RFC 9525); one from 'openssl req' needs -addext subjectAltName=DNS:HOST"
        }
        TlsFault::OldHash | TlsFault::SmallKey | TlsFault::BadSignature => {
            "ask its operator (or that of the proxy that inspects TLS) for RSA of 2048 bits or P-256, signed with SHA-256"
        }
        TlsFault::P521 | TlsFault::Algorithm { .. } => {
            "ask its operator (or that of the proxy that inspects TLS) for a CA and certificate with RSA, P-256 or P-384 and \
             SHA-256 or SHA-384"
        }
        TlsFault::NothingInCommon | TlsFault::OldVersion => {
            "ask for TLS 1.2 with an ECDHE suite and AES-GCM or ChaCha20 (not CBC alone), or TLS 1.3, and a certificate with \
             RSA, P-256 or P-384 (not P-521)"
        }
        TlsFault::ClientCertificate => "only a gateway that asks for none can be used: check the server's URL",
        TlsFault::NotTls => "check the port, and that no proxy or portal answers in its place",
        TlsFault::Alert { .. } | TlsFault::Violation => {
            "run the same command again; if it stays, a device on the way interferes: 'openssl s_client -connect HOST:PORT'"
        }
        TlsFault::NoClockOrRandomness | TlsFault::Unusable => "run the same command again",
        TlsFault::CaCertificate
        | TlsFault::IssuerNotCa
        | TlsFault::CriticalExtension
        | TlsFault::Purpose
        | TlsFault::NameConstraint
        | TlsFault::ChainTooLong
        | TlsFault::Revoked
        | TlsFault::OldCertificate
        | TlsFault::Malformed
        | TlsFault::Unacceptable
        | TlsFault::NoCertificate => {
            "show this to its operator, or that of the proxy that inspects TLS: 'openssl s_client -showcerts -connect HOST:PORT'"
        }
    };
    hint.to_owned()
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
