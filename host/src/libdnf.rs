//! The other side of the comparison: libdnf's own answers, for the fuzz target `host-libdnf`.
//!
//! One Python for all inputs, since to start it takes longer than a thousand answers.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;

use crate::dnf_conf::DnfConf;
use crate::ini::{FaultKind, Section, sections};

/// What libdnf and dnf make of a file.
#[derive(Deserialize)]
struct Answer {
    /// The parser's complaint.
    error: Option<String>,
    /// Each section, with its keys.
    sections: Vec<(String, Vec<(String, String)>)>,
    /// The sections but `[main]` that are enabled repositories.
    enabled: Vec<String>,
    main: Main,
}

#[derive(Deserialize)]
struct Main {
    reposdir: Vec<String>,
    varsdir: Vec<String>,
    proxy: String,
    sslcacert: String,
    yes: bool,
}

struct Python {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

thread_local! {
    static PYTHON: RefCell<Option<Python>> = const { RefCell::new(None) };
}

/// Sections, values, folders and switches are those that dnf has, and a file is refused where libdnf refuses it.
pub(crate) fn reads_alike(data: &[u8]) {
    let theirs = ask(data);
    let ours = match sections(data) {
        Ok(ours) => ours,
        Err(fault) => {
            let words = format!("{} at line {}", complaint(fault.kind), fault.line);
            let error = theirs.error.unwrap_or_default();
            assert!(error.ends_with(&words), "{words:?}, libdnf: {error:?}");
            return;
        }
    };
    assert_eq!(theirs.error, None);
    // libdnf's Python interface takes no names that are not UTF-8.
    let odd = |section: &Section| {
        section.id.contains('\u{fffd}') || section.entries().any(|(key, _)| key.contains('\u{fffd}'))
    };
    if ours.iter().any(odd) {
        return;
    }
    let sorted = |mut entries: Vec<(String, String)>| {
        entries.sort();
        entries.dedup();
        entries
    };
    let all = |section: &Section| section.entries().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut ours_sorted: Vec<_> = ours.iter().map(|section| (section.id.clone(), sorted(all(section)))).collect();
    ours_sorted.sort();
    let mut theirs_sorted: Vec<_> = theirs.sections.into_iter().map(|(id, keys)| (id, sorted(keys))).collect();
    theirs_sorted.sort();
    assert_eq!(ours_sorted, theirs_sorted);
    let mut enabled: Vec<String> = ours
        .iter()
        .filter(|section| section.id != "main" && section.enabled())
        .map(|section| section.id.clone())
        .collect();
    enabled.sort();
    assert_eq!(enabled, theirs.enabled);
    // dnf itself, not libdnf, ends with an error where a value of [main] is not UTF-8.
    if ours_sorted.iter().flat_map(|(_, keys)| keys).any(|(_, value)| value.contains('\u{fffd}')) {
        return;
    }
    let conf = DnfConf::parse(data).expect("libdnf accepts it");
    assert_eq!(conf.repo_folders(), theirs.main.reposdir, "reposdir");
    assert_eq!(conf.variable_folders(), theirs.main.varsdir, "varsdir");
    assert_eq!(conf.ca_file().unwrap_or_default(), theirs.main.sslcacert, "sslcacert");
    assert_eq!(conf.value("proxy").unwrap_or_default(), theirs.main.proxy, "proxy");
    assert_eq!(conf.assumes_yes(), theirs.main.yes, "assumeyes, defaultyes");
}

fn complaint(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::MissingSectionHeader => "Missing section header",
        FaultKind::MissingBracket => "Missing ']'",
        FaultKind::EmptySectionName => "Empty section name",
        FaultKind::TextAfterSection => "Text after section",
        FaultKind::IllegalContinuationLine => "Illegal continuation line",
        FaultKind::MissingKey => "Missing key",
        FaultKind::MissingEqual => "Missing '='",
    }
}

fn ask(data: &[u8]) -> Answer {
    PYTHON.with_borrow_mut(|python| {
        let python = python.get_or_insert_with(start);
        let hex = els_protocol::hex(data);
        writeln!(python.input, "{hex}").expect("python3-dnf listens");
        python.input.flush().expect("python3-dnf listens");
        let mut line = String::new();
        python.output.read_line(&mut line).expect("python3-dnf answers");
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("python3-dnf is needed (package python3-dnf): {error}"))
    })
}

#[allow(clippy::disallowed_methods, reason = "only the fuzz targets run it")]
fn start() -> Python {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("/usr/bin/python3, with the package python3-dnf");
    let input = child.stdin.take().expect("it is piped");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    Python { _child: child, input, output }
}

const SCRIPT: &str = r#"
import json, logging, sys, tempfile
import dnf.conf, libdnf.conf

logging.disable(logging.CRITICAL)
folder = tempfile.TemporaryDirectory()
path = folder.name + "/dnf.conf"

def text(value):
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

def value(id, key):
    try:
        return parser.getValue(id, key)
    except TypeError:
        return ""

for line in sys.stdin:
    with open(path, "wb") as file:
        file.write(bytes.fromhex(line.strip()))
    answer = {"error": None, "sections": [], "enabled": [], "main": {"reposdir": [], "varsdir": [], "proxy": "", "sslcacert": "", "yes": False}}
    parser = libdnf.conf.ConfigParser()
    try:
        parser.read(path)
    except RuntimeError as error:
        answer["error"] = str(error)
    else:
        conf = dnf.conf.Conf()
        try:
            conf.read(path)
            answer["main"] = {
                "reposdir": list(conf.reposdir), "varsdir": list(conf.varsdir), "proxy": conf.proxy,
                "sslcacert": conf.sslcacert, "yes": conf.assumeyes or conf.defaultyes,
            }
        except TypeError:
            pass
        for id in parser.getData():
            try:
                parser.options(id)
            except TypeError:
                # Python cannot ask for a name that is not UTF-8.
                answer["sections"].append((text(id), []))
                continue
            keys = [(text(key), text(value(id, key))) for key in parser.options(id)]
            answer["sections"].append((text(id), keys))
            if id != "main":
                try:
                    repo = dnf.conf.RepoConf(dnf.conf.Conf(), id, parser)
                    repo._populate(parser, id, path, dnf.conf.PRIO_REPOCONFIG)
                    enabled = repo.enabled
                except TypeError:
                    word = parser.getValue(id, "enabled").lower() if parser.hasOption(id, "enabled") else "1"
                    enabled = word not in ("0", "no", "false", "off")
                if enabled:
                    answer["enabled"].append(text(id))
    answer["enabled"].sort()
    print(json.dumps(answer), flush=True)
"#;
