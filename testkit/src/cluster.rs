//! PostgreSQL servers for tests: Debian's program in a temporary folder, which ends with the process that started it.
//!
//! It starts, stops and kills servers and makes databases. What must hold is for the tests.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::{User, geteuid};

/// A server and its files.
pub struct Cluster {
    folder: PathBuf,
    pub port: u16,
    guard: Option<Child>,
}

impl Cluster {
    /// The server that is shared by all tests that need only a database of their own.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Cluster::with(&[]))
    }

    /// A new server with these lines in its configuration.
    pub fn with(settings: &[&str]) -> Cluster {
        let cluster = Cluster::empty();
        run(cluster
            .tool("initdb")
            .args(["--auth=trust", "--username=els", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(cluster.data()));
        cluster.configure(settings);
        cluster.started()
    }

    /// A server that speaks TLS with this certificate and key (PEM).
    pub fn with_certificate(cert: &str, key: &str) -> Cluster {
        let mut cluster = Cluster::with(&[]);
        for (name, pem) in [("server.crt", cert), ("server.key", key)] {
            let path = cluster.data().join(name);
            std::fs::write(&path, pem).unwrap();
            // PostgreSQL refuses a key that other users can read.
            cluster.own(&path);
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        }
        cluster.kill();
        cluster.configure(&["ssl = on"]);
        cluster.started()
    }

    /// A standby of `primary`: a copy that follows it under this name.
    pub fn standby_of(primary: &Cluster, name: &str) -> Cluster {
        let cluster = Cluster::empty();
        let from = format!("host={} port={} user=els application_name={name}", primary.folder.display(), primary.port);
        let mut copy = cluster.tool("pg_basebackup");
        run(copy.args(["--checkpoint=fast", "--write-recovery-conf", "--dbname", &from, "-D"]).arg(cluster.data()));
        cluster.configure(&[]);
        cluster.started()
    }

    fn empty() -> Cluster {
        let folder = tempfile::Builder::new().prefix("els-pg-").tempdir().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Cluster { folder, port, guard: None };
        cluster.own(&cluster.folder);
        cluster
    }

    /// PostgreSQL does not run as root: what it uses belongs to its user.
    fn own(&self, path: &Path) {
        if geteuid().is_root() {
            let user = User::from_name("postgres").unwrap().expect("the package postgresql is installed");
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn configure(&self, settings: &[&str]) {
        let path = self.data().join("postgresql.conf");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        writeln!(file, "port = {}\nlisten_addresses = '127.0.0.1'", self.port).unwrap();
        writeln!(file, "unix_socket_directories = '{}'", self.folder.display()).unwrap();
        writeln!(file, "max_connections = 300\nshared_buffers = 64MB\nlog_min_messages = fatal").unwrap();
        settings.iter().for_each(|line| writeln!(file, "{line}").unwrap());
    }

    /// Adds lines to the configuration of a running server and reloads it.
    pub fn reconfigure(&self, settings: &[&str]) {
        self.configure(settings);
        run(self.tool("pg_ctl").args(["reload", "-s", "-D"]).arg(self.data()));
    }

    fn started(mut self) -> Cluster {
        self.start();
        self
    }

    /// Starts the server, and waits until it answers.
    pub fn start(&mut self) {
        // However this process ends, the pipe to the shell is closed, and then the shell ends the server.
        let mut command = as_postgres("sh");
        command.args(["-c", GUARD, "sh"]).arg(&self.folder).arg(bin().join("postgres")).arg("-D").arg(self.data());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.guard = Some(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !self.ready() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ready(&self) -> bool {
        let mut command = self.tool("pg_isready");
        command.args(["--quiet", "--port", &self.port.to_string(), "--host"]).arg(&self.folder);
        command.status().unwrap().success()
    }

    /// Ends the server as a crash does.
    pub fn kill(&mut self) {
        let mut command = self.tool("pg_ctl");
        run(command.args(["stop", "-s", "-m", "immediate", "-D"]).arg(self.data()));
        if let Some(mut guard) = self.guard.take() {
            guard.stdin.take().unwrap().write_all(b"keep\n").unwrap();
            guard.wait().unwrap();
        }
    }

    /// Makes a primary a standby of another server, as a manager of clusters does.
    pub fn demote(&mut self, primary: &Cluster) {
        self.kill();
        let signal = self.data().join("standby.signal");
        std::fs::write(&signal, "").unwrap();
        self.own(&signal);
        let from = format!("primary_conninfo = 'host={} port={} user=els'", primary.folder.display(), primary.port);
        self.configure(&[&from]);
        self.start();
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        run(self.tool("pg_ctl").args(["promote", "-s", "-w", "-D"]).arg(self.data()));
    }

    /// The URL of a database with this name, through the socket.
    pub fn url(&self, name: &str) -> String {
        format!("postgres:///{name}?host={}&port={}&user=els", self.folder.display(), self.port)
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("els{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Runs a statement in a database; returns its rows, one a line.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.sql_as("els", database, sql)
    }

    /// Like [`Cluster::sql`], as another role.
    pub fn sql_as(&self, role: &str, database: &str, sql: &str) -> String {
        let output = self.psql(role, database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Whether the statement is refused to this role.
    pub fn refuses(&self, role: &str, database: &str, sql: &str) -> bool {
        let said = self.psql(role, database, sql).stderr;
        ["permission denied", "must be owner"].iter().any(|word| String::from_utf8_lossy(&said).contains(word))
    }

    fn psql(&self, role: &str, database: &str, sql: &str) -> std::process::Output {
        let url = self.url(database).replace("user=els", &format!("user={role}"));
        let mut command = self.tool("psql");
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        command.args(["--dbname", &url, "--command", sql]).output().unwrap()
    }

    /// A dump of a database, as pg_dump makes it.
    pub fn dump(&self, database: &str) -> Vec<u8> {
        let output = self.tool("pg_dump").args(["--format=custom", "--dbname", &self.url(database)]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Fills an empty database from a dump.
    pub fn restore(&self, database: &str, dump: &Path) {
        // The file is in a folder of the test, which PostgreSQL's user cannot enter.
        let file = std::fs::File::open(dump).unwrap();
        let mut command = self.tool("pg_restore");
        run(command.args(["--exit-on-error", "--single-transaction", "--dbname", &self.url(database)]).stdin(file));
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = as_postgres(bin().join(name));
        command.current_dir(&self.folder);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The name of the database in a URL of [`Cluster::database`].
pub fn name(url: &str) -> &str {
    url.trim_start_matches("postgres:///").split('?').next().unwrap()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// Where Debian has the programs of the newest version that is installed.
fn bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").expect("the package postgresql is installed");
        let newest =
            versions.map(|entry| entry.unwrap()).filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        PathBuf::from(format!("/usr/lib/postgresql/{}/bin", newest.max().expect("the package postgresql is installed")))
    })
}

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the server at the end of standard input, and removes the folder ($1) unless it reads `keep`.
const GUARD: &str = r#"folder=$1; shift
"$@" </dev/null & server=$!
read -r word || word=gone
kill -QUIT $server 2>/dev/null
wait $server
[ "$word" = keep ] || rm -rf "$folder""#;
