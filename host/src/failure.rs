//! Why something on this machine or over the network failed: data, without sentences. `messages` has the sentences.

#![allow(missing_docs, reason = "the fields are named after what they hold")]

use els_protocol::wire::Seats;
use els_protocol::{Code, Timestamp, UrlError};
use nix::errno::Errno;

use crate::ini;
use crate::root::PathError;

pub type Result<T> = std::result::Result<T, Failure>;

/// Why an action failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A file of the machine.
    Path(PathError),
    /// A file that the administrator named.
    Named(PathError),
    /// A setting. `name` is what the administrator typed: an option, or a file and its key.
    Setting {
        name: String,
        fault: SettingFault,
    },
    /// `/etc/machine-id` is malformed.
    MachineId {
        path: &'static str,
    },
    /// dnf.conf(5) says something that dnf, or a registration, cannot work with.
    DnfConf(DnfConfFault),
    OsReleaseMissing {
        path: &'static str,
    },
    OsRelease {
        path: String,
        fault: OsReleaseFault,
    },
    NoPackageManager {
        tried: &'static [&'static str],
    },
    Architecture {
        errno: Errno,
    },
    /// The HTTP library refused to make the request.
    Request {
        server: String,
        why: String,
    },
    /// No answer was received.
    Unreachable(Unreachable),
    /// An answer ended before its end.
    CutOff {
        host: String,
        fault: NetworkFault,
    },
    /// An answer that is not one of the protocol.
    Answer {
        server: String,
        method: String,
        status: u16,
        fault: AnswerFault,
        request_id: Option<String>,
    },
    /// An error in the protocol's form.
    Refused(Box<Refusal>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingFault {
    NotUtf8,
    /// `message` is the TOML parser's.
    Toml {
        line: Option<usize>,
        key: Option<String>,
        message: String,
    },
    Timeout,
    Url {
        why: UrlError,
    },
    Path(PathError),
    MissingFile {
        path: String,
    },
    Certificates(CaFault),
    Proxy(ProxyFault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyFault {
    Scheme,
    Port,
    Host,
    Login,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnfConfFault {
    /// libdnf refuses the file.
    Refused(ini::Fault),
    /// `reposdir` or `varsdir` is empty.
    NoFolder { key: &'static str },
    /// The folder that counts is not a plain absolute path.
    UnusableFolder { key: &'static str, folder: String },
    /// Another folder of `varsdir` has a variable of ours too.
    SetElsewhere { path: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OsReleaseFault {
    NoId,
    NoVersion,
    OddCharacters,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// With its port.
    pub host: String,
    /// Without its login.
    pub proxy: Option<String>,
    pub stage: Stage,
    pub fault: NetworkFault,
    /// This machine's clock.
    pub now: Timestamp,
    /// A variable of the environment that other programs take their CA certificates from.
    pub ignored: Option<&'static str>,
}

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Looking up a name.
    Resolve,
    /// Opening a connection, to the host or to its proxy.
    Connect,
    /// Waiting for the proxy's answer to CONNECT.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The connection is open: from here on the request may have arrived.
    Established,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkFault {
    NoTimeLeft,
    TimedOut,
    NameUnknown,
    ClosedEarly,
    NotHttp,
    HeadTooLarge,
    BodyTooLarge {
        most: usize,
    },
    /// `given`: a user name was sent.
    ProxyLogin {
        given: bool,
    },
    /// The proxy offers these ways to log in, and Basic is not among them.
    ProxySchemes(Vec<String>),
    ProxyForbids,
    /// 502, 503 or 504: what is behind the proxy did not answer it.
    ProxyCannotReach(u16),
    ProxyStatus(String),
    ProxySilent,
    /// The code of a SOCKS proxy's refusal.
    Socks(u8),
    /// SOCKS 4 has no IPv6.
    SocksNeedsIpv4,
    /// The host's name is not known here, and the kind of proxy leaves the lookup to this machine.
    HostNameForProxy,
    Tls(TlsFault),
    Os(Errno),
    /// In the words of a library.
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    UnknownIssuer,
    Expired,
    NotYetValid,
    /// The first names that the certificate has.
    OtherHost {
        presented: Vec<String>,
    },
    /// Only a common name, or nothing.
    NoSubjectAltName,
    /// A CA's own certificate in place of a server's.
    CaCertificate,
    /// A certificate of the chain that is no CA's signed another.
    IssuerNotCa,
    /// SHA-1 or MD5.
    OldHash,
    /// A key or signature on the curve P-521.
    P521,
    /// RSA with fewer than 2048 bits.
    SmallKey,
    /// Another algorithm; its object identifier.
    Algorithm {
        oid: Option<String>,
    },
    BadSignature,
    CriticalExtension,
    Purpose,
    NameConstraint,
    ChainTooLong,
    Revoked,
    /// X.509 version 1 or 2.
    OldCertificate,
    Malformed,
    Unacceptable,
    NoCertificate,
    /// The two sides have no version, cipher suite, group or signature algorithm in common.
    NothingInCommon,
    /// TLS 1.1 or older.
    OldVersion,
    /// The server wants a certificate of the client.
    ClientCertificate,
    NameNotServed,
    Alert {
        number: u8,
    },
    NotTls,
    Violation,
    NoClockOrRandomness,
    /// The system has no CA certificates; `why` if they could not be read.
    NoAuthorities {
        why: Option<String>,
    },
    /// The TLS library cannot be set up.
    Unusable,
}

/// Why a file of CA certificates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaFault {
    Empty,
    Utf16,
    Pkcs7,
    /// DER that is not a certificate: PKCS #7 or #12, most likely.
    OtherDer,
    PrivateKey,
    /// A certificate that cannot be read; its number in the file, from 1.
    Unreadable {
        number: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerFault {
    NoApiHeader,
    NotAProblem,
    UnreadableProblem,
    StatusAndCodeDiffer,
    UnexpectedStatus,
    /// About another registration than was asked for.
    OtherId,
    Unreadable {
        why: String,
    },
}

/// An error that the backend answered in the protocol's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub host: String,
    pub status: u16,
    /// Cleaned for a terminal.
    pub code: String,
    /// The code, if this version knows it.
    pub known: Option<Code>,
    pub title: String,
    pub detail: Option<String>,
    pub seats: Option<Seats>,
    pub request_id: Option<String>,
}

impl Failure {
    pub fn setting(name: impl Into<String>, fault: SettingFault) -> Self {
        Failure::Setting { name: name.into(), fault }
    }

    /// The code in `--json` documents.
    pub fn code(&self) -> &str {
        match self {
            Failure::Path(_) | Failure::Architecture { .. } | Failure::Request { .. } => "io",
            Failure::Named(_) | Failure::Setting { .. } | Failure::MachineId { .. } | Failure::DnfConf(_) => "usage",
            Failure::OsReleaseMissing { .. } | Failure::OsRelease { .. } | Failure::NoPackageManager { .. } => {
                "unsupported-system"
            }
            Failure::Unreachable(_) => "unreachable",
            Failure::CutOff { .. } | Failure::Answer { .. } => "bad-answer",
            Failure::Refused(refusal) => &refusal.code,
        }
    }

    /// Names the request in the backend's log.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Failure::Answer { request_id, .. } => request_id.as_deref(),
            Failure::Refused(refusal) => refusal.request_id.as_deref(),
            _ => None,
        }
    }

    /// The protocol's code, if the backend answered with one that this version knows.
    pub fn denial(&self) -> Option<Code> {
        match self {
            Failure::Refused(refusal) => refusal.known,
            _ => None,
        }
    }
}

impl TlsFault {
    /// A wrong clock is the usual cause.
    pub fn is_about_dates(&self) -> bool {
        matches!(self, TlsFault::Expired | TlsFault::NotYetValid)
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Failure::Path(error)
    }
}
