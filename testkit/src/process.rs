//! Programs that tests run: how one is found, started, watched and ended.
//!
//! It owns the rule that nothing outlives its test: a server can be made to end with the thread that started it
//! (PR_SET_PDEATHSIG), so that a test that panics, or is killed, leaves no process. It must not know a program by name.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;

/// What a program did, after it ended.
pub struct Run {
    line: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Fails the test unless the program exited with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "exit code {code} was expected\n{self}");
        self
    }

    /// Fails the test unless the program exited with 0.
    #[track_caller]
    pub fn succeeds(self) -> Run {
        self.exits(0)
    }

    /// Fails the test unless the program exited with another code than 0.
    #[track_caller]
    pub fn fails(self) -> Run {
        assert_ne!(self.code, Some(0), "a failure was expected\n{self}");
        self
    }

    /// Fails the test unless the program exited with `code` after an error message that contains `text`.
    #[track_caller]
    pub fn fails_with(self, code: i32, text: &str) -> Run {
        let run = self.exits(code);
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(text), "{text:?} was expected\n{run}");
        run
    }

    /// Standard output, which must be one JSON document and nothing else.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not a JSON document: {error}\n{self}"))
    }

    /// Both outputs.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails the test unless one of the outputs has `text` in it.
    #[track_caller]
    pub fn says(self, text: &str) -> Run {
        assert!(self.text().contains(text), "{text:?} was expected\n{self}");
        self
    }

    /// Fails the test if one of the outputs has `text` in it.
    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Run {
        assert!(!self.text().contains(text), "{text:?} was not expected\n{self}");
        self
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}\nexit code {:?}, signal {:?}", self.line, self.code, self.signal)?;
        writeln!(f, "--- standard output\n{}--- standard error\n{}---", self.stdout, self.stderr)
    }
}

/// Runs a program to its end, without standard input. A program that takes longer than [`LONGEST_RUN`] is killed, and the
/// test fails.
#[track_caller]
pub fn run(command: &mut Command) -> Run {
    run_with_input(command, None)
}

/// Like [`run`], with `input` as its standard input.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: Option<&str>) -> Run {
    let line = describe(command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: cannot be started: {error}"));
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        // The program may end without reading: the broken pipe is ignored.
        let _ = std::io::Write::write_all(&mut pipe, input.as_bytes());
    }
    let stdout = collect(child.stdout.take().expect("a pipe"));
    let stderr = collect(child.stderr.take().expect("a pipe"));
    let begin = Instant::now();
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break status,
            None if begin.elapsed() > LONGEST_RUN => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{line}: still running after {LONGEST_RUN:?}");
            }
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    Run {
        line,
        code: status.code(),
        signal: status.signal(),
        stdout: stdout.join().expect("the reader of a pipe ends"),
        stderr: stderr.join().expect("the reader of a pipe ends"),
    }
}

/// A program that runs in parallel with the test, and is killed when this value is dropped.
pub(crate) struct Server {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    readers: [thread::JoinHandle<()>; 2],
}

impl Server {
    /// Starts a program and reads what it writes to standard output and standard error, so that a full pipe never stops it.
    /// Only a `command` made with [`ends_with_its_thread`] also ends when this value is never dropped.
    #[track_caller]
    pub(crate) fn start(name: &str, mut command: Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: cannot be started: {error}"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let stdout = gather(child.stdout.take().expect("a pipe"), &log);
        let stderr = gather(child.stderr.take().expect("a pipe"), &log);
        Server { name: name.to_owned(), child, log, readers: [stdout, stderr] }
    }

    /// The lines that it has written so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no reader panics").clone()
    }

    /// Waits until `find` finds something in the log. If the program ends before that, or nothing comes, the test fails
    /// with the log.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, find: impl FnMut(&[String]) -> Option<T>) -> T {
        let found = self.try_wait_for(find);
        found.unwrap_or_else(|log| panic!("{}: no {what} before it ended or in time:\n{log}", self.name))
    }

    /// Like [`Server::wait_for`], but returns the log where that fails the test.
    pub(crate) fn try_wait_for<T>(&mut self, mut find: impl FnMut(&[String]) -> Option<T>) -> Result<T, String> {
        let begin = Instant::now();
        loop {
            let ended = self.child.try_wait().expect("a child can be waited for").is_some();
            if ended {
                self.wait_for_readers();
            }
            if let Some(found) = find(&self.log.lock().expect("no reader panics")) {
                return Ok(found);
            }
            if ended || begin.elapsed() > LONGEST_START {
                return Err(self.log().join("\n"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the program accepts connections on `port`.
    #[track_caller]
    pub(crate) fn wait_for_port(&mut self, port: u16) {
        self.wait_for("listening port", |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program has ended by itself.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self, what: &str) {
        let begin = Instant::now();
        while self.child.try_wait().expect("a child can be waited for").is_none() {
            assert!(begin.elapsed() < LONGEST_START, "{}: {what}: not in time", self.name);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks the program to end (SIGTERM), and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        signal::kill(pid, Signal::SIGTERM).expect("the program is still there");
        let status = self.child.wait().expect("a child can be waited for");
        self.wait_for_readers();
        status
    }

    /// Ends the program at once, as a power failure would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the last lines of a program that has ended. A program that it started may keep a pipe open: then they may
    /// be missing.
    fn wait_for_readers(&self) {
        let begin = Instant::now();
        while !self.readers.iter().all(thread::JoinHandle::is_finished) && begin.elapsed() < LAST_LINES {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let end = log[log.len().saturating_sub(SHOWN_LINES)..].join("\n");
            // Shown with the output of the failed test, and only there.
            #[allow(clippy::print_stderr)]
            let () = eprintln!("--- end of the log of {}\n{end}\n---", self.name);
        }
    }
}

/// A command for `program` that is killed when the thread that starts it ends, however it ends. With `family`, so are all
/// processes that the program starts: they share a process namespace, which ends with its first process.
pub fn ends_with_its_thread(program: impl AsRef<Path>, family: bool) -> Command {
    let mut command = Command::new(self::program("setpriv"));
    command.args(["--pdeathsig", "KILL", "--"]);
    if family {
        command.arg(self::program("unshare")).args(["--pid", "--fork", "--kill-child=KILL", "--"]);
        // The first process of the namespace must never change its user: the kernel clears the parent-death signal then.
        command.args(["sh", "-c", "\"$@\"; exit $?", "sh"]);
    }
    command.arg(program.as_ref());
    command
}

/// The path of a program that tests need. Without the program the test fails; it is never skipped.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("this test needs the program `{name}`: run scripts/install-dependencies"))
}

/// A temporary folder that every user can enter: web servers, proxies and ordinary users read from it.
pub fn folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let everyone = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("els-test-").permissions(everyone).tempdir().expect("a temporary folder")
}

/// A port of the loopback interface on which no program listens. Only for programs that cannot choose a port themselves: the
/// kernel gives free ports in random order, so that two tests hardly ever get the same one.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Waits until `done`; the test fails if that takes too long.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < LONGEST_START, "{what}: not in time");
        thread::sleep(Duration::from_millis(10));
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn gather(pipe: impl Read + Send + 'static, log: &Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            log.lock().expect("no reader panics").push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    })
}

/// Far longer than any program here takes on a slow computer under load.
const LONGEST_RUN: Duration = Duration::from_secs(180);
/// How much of a server's log a failed test shows.
const SHOWN_LINES: usize = 40;
/// How long a server may take to be ready, or an effect to show.
const LONGEST_START: Duration = Duration::from_secs(60);
/// How long the last lines of a program may take to be read after its end.
const LAST_LINES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_and_all_that_it_started_end_with_the_thread_that_started_it() {
        let place = folder();
        let pipe = place.path().join("pipe");
        run(Command::new(program("mkfifo")).args(["--mode", "666"]).arg(&pipe)).succeeds();
        let held = pipe.clone();
        let tester = thread::spawn(move || {
            // It becomes another user, as squid does.
            let mut command = ends_with_its_thread(program("setpriv"), true);
            command.args(["--reuid=65534", "--clear-groups", "--", "sh", "-c"]);
            // A grandchild keeps the pipe open for writing as long as it lives.
            command.args(["sleep 1000 >\"$1\" & echo started; wait", "sh"]).arg(&held);
            let mut server = Server::start("a server", command);
            let reader = std::fs::File::open(&held).expect("the pipe opens when the grandchild is there");
            server.wait_for("start", |log| log.iter().any(|line| line == "started").then_some(()));
            // The worst end of a test: the value is never dropped.
            std::mem::forget(server);
            reader
        });
        let mut reader = tester.join().expect("the thread ends");
        let (gone, told) = std::sync::mpsc::channel();
        // The end of file comes when the last process that can write has ended.
        thread::spawn(move || gone.send(reader.read(&mut [0]).is_ok_and(|read| read == 0)));
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(true), "the processes are still there");
    }
}
