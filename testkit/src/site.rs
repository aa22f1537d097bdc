//! The built `els-backend serve` as a process of its own, which a test can kill, and a client that survives its death.
//!
//! Knows no promise: it starts, asks and ends. What must hold is said by the tests.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use els_protocol::{LicenseKey, MachineId, RegistrationId, Token};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backend::backend_program;
use crate::http::{Answer, basic, parse};
use crate::process::{Run, run};

/// A folder with a database, and the commands that work on it. Gone when the test is.
pub struct Site {
    folder: TempDir,
    /// Where the database is, unless it is a file in the folder.
    url: Option<String>,
}

impl Site {
    pub fn new() -> Self {
        Site { folder: tempfile::tempdir().unwrap(), url: None }
    }

    /// On the PostgreSQL database with this URL, which is set up.
    pub fn on_postgres(url: String) -> Self {
        let site = Site::at(url);
        let migrated = site.command(["migrate"]).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        site
    }

    /// On whatever is at this URL.
    pub fn at(url: String) -> Self {
        Site { folder: tempfile::tempdir().unwrap(), url: Some(url) }
    }

    pub fn url(&self) -> String {
        self.url.clone().unwrap_or_else(|| format!("sqlite://{}", self.database().display()))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the SQLite database; the program makes it.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn database(&self) -> PathBuf {
        self.data().join("els.db")
    }

    /// The binary with these arguments, on this database.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(backend_program());
        command.args(arguments);
        on(&mut command, &self.url());
        command.current_dir(self.folder());
        command
    }

    /// Runs the binary with a line of arguments that have no spaces in them.
    #[track_caller]
    pub fn line(&self, line: &str) -> Run {
        run(&mut self.command(line.split(' ')))
    }

    /// `serve` on free ports, ready.
    pub fn serve(&self) -> Served {
        Served::spawn(self.command(SERVE)).ready()
    }

    /// Makes a key; says its id and the key.
    pub fn key(&self, seats: u64) -> (String, LicenseKey) {
        made_key(&mut self.command([
            "key",
            "create",
            "--json",
            "--expires",
            "2099-12-31",
            "--seats",
            &seats.to_string(),
        ]))
    }

    /// `els-backend check` agrees.
    pub fn check(&self) {
        agrees(&mut self.command(["check"]));
    }
}

/// Points a command at a database, and takes the test's own environment from it.
pub fn on(command: &mut Command, url: &str) {
    command.env_clear().env("ELS_BACKEND_DATABASE", url).stdin(Stdio::null());
}

/// Runs `key create --json`; says the key's id and the key.
pub fn made_key(create: &mut Command) -> (String, LicenseKey) {
    let output = create.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    (made["key_id"].as_str().unwrap().to_owned(), LicenseKey::parse(made["key"].as_str().unwrap()).unwrap())
}

/// Runs `check`, which has to find nothing.
pub fn agrees(check: &mut Command) {
    let output = check.output().unwrap();
    assert!(output.status.success(), "els-backend check: {}", String::from_utf8_lossy(&output.stdout));
}

/// A running `serve`. Killed with the test, if it is still there.
pub struct Served {
    child: Child,
    log: Receiver<String>,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
}

impl Served {
    /// Starts `serve`, and waits for nothing. Its log is read to the end, so that the pipe never holds it up.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, log) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || hand_on(lines, &tell));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Served { child, log, listen: nowhere, admin: nowhere }
    }

    /// Waits until it listens, and learns where.
    pub fn ready(self) -> Self {
        self.ready_or_words().unwrap_or_else(|words| panic!("it does not serve: {words}"))
    }

    /// The same; where it ends instead, what it said.
    pub fn ready_or_words(mut self) -> Result<Self, String> {
        let mut said = String::new();
        while let Ok(line) = self.log.recv_timeout(PATIENCE) {
            if let Ok(event) = serde_json::from_str::<Value>(&line)
                && event["message"] == "ready"
            {
                let address = |name: &str| event[name].as_str().unwrap().parse().unwrap();
                (self.listen, self.admin) = (address("listen"), address("admin_listen"));
                return Ok(self);
            }
            said.push_str(&line);
            said.push('\n');
        }
        Err(said)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the wait for its end.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the wait for an end in order.
    pub fn stop(mut self) -> ExitStatus {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }

    /// The same; returns what it has logged since it was ready.
    pub fn stop_and_log(mut self) -> String {
        let (_, nothing) = channel();
        let log = std::mem::replace(&mut self.log, nothing);
        assert!(self.stop().success());
        // Its end is the end of the pipe.
        log.iter().collect::<Vec<_>>().join("\n")
    }

    /// One line of `/metrics`: the value of the counter with this name.
    pub fn metric(&self, name: &str) -> u64 {
        let answer = Client::new(self.admin).ask("GET", "/metrics", &[], None).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hand_on(lines: impl BufRead, tell: &Sender<String>) {
    for line in lines.lines().map_while(Result::ok) {
        // The test may have heard enough; the pipe is emptied all the same.
        let _ = tell.send(line);
    }
}

/// One connection that is kept, and made anew when it was lost. Whatever goes wrong on it is an error to whoever asks.
pub struct Client {
    to: SocketAddr,
    stream: Option<TcpStream>,
}

impl Client {
    pub fn new(to: SocketAddr) -> Self {
        Client { to, stream: None }
    }

    /// Sends one request and reads its answer.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.to, body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(&body);
        // A connection on which anything went wrong is not used again.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => dial(self.to)?,
        };
        stream.write_all(request.as_bytes())?;
        let answer = read_one(&mut stream)?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

fn dial(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads the one answer that is due, and no byte more. A part of one is an error.
fn read_one(stream: &mut TcpStream) -> io::Result<Answer> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if bytes.len() >= head + length.unwrap_or(0_usize) {
                return Ok(parse(&bytes));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(&chunk[..length]),
        }
    }
}

/// A registration as its machine knows it: id, token, and whose it is.
#[derive(Clone)]
pub struct Registrant {
    pub id: RegistrationId,
    token: Token,
    machine: MachineId,
    hardware: Option<MachineId>,
}

impl Registrant {
    /// The registration with this number, of the machine with that one, which has a hardware id.
    pub fn new(number: u32, machine: u32) -> Self {
        Registrant {
            id: RegistrationId::from_random(bytes(number)),
            token: Token::from_random([bytes(number), bytes(number)].concat().try_into().unwrap()),
            machine: MachineId::from_random(bytes(machine)),
            hardware: Some(MachineId::from_random(bytes(!machine))),
        }
    }

    /// The same, in a container.
    pub fn without_hardware(self) -> Self {
        Registrant { hardware: None, ..self }
    }

    pub fn path(&self) -> String {
        els_protocol::wire::registration_path(&self.id)
    }

    pub fn basic(&self) -> String {
        basic(&self.id.to_string(), self.token.expose())
    }

    pub fn body(&self, key: &LicenseKey) -> Value {
        let mut body = json!({
            "key": key.expose(),
            "token_sha256": self.token.hash(),
            "machine": self.machine,
            "os": {"id": "almalinux", "version": "9.6"},
            "arch": "x86_64",
        });
        if let Some(hardware) = self.hardware {
            body["hardware"] = json!(hardware);
        }
        body
    }
}

/// Numbers that look random and are the same each time (Knuth's multiplier).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % sides
    }
}

/// Whether the full sweeps are wanted, whose figures stand in docs/developer/reliability.md, and not the sample of `make test`.
pub fn soak() -> bool {
    std::env::var_os("ELS_SOAK").is_some()
}

/// Says that it is over when it is dropped: also when the test fails, or those that it has set to work never end.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks until there is something; a minute at the most.
pub fn within_a_minute<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = ask() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not within a minute");
}

/// Lets this process, and those that it starts, open so many files.
pub fn open_files(wanted: usize) {
    let wanted = wanted as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let set = setrlimit(Resource::RLIMIT_NOFILE, hard.max(wanted), hard.max(wanted));
    set.unwrap_or_else(|_| panic!("{wanted} open files are needed, and no more than {hard} allowed: ulimit -Hn"));
}

fn bytes(number: u32) -> [u8; 16] {
    let mut bytes = [0x22; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Everything comes from one address here, and X-Forwarded-For makes it many: the limits on failures are other tests'.
pub const SERVE: [&str; 7] =
    ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--trusted-proxy", "127.0.0.0/8"];
/// Far more than anything takes here, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);
