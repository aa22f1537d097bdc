"""The things that are measured, started in a temporary folder and gone with it.

Owns processes and files: the backend, nginx, PostgreSQL, certificates. Knows no figure.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
AGENT = TARGET / "release/els-register"
BACKEND = TARGET / "server/els-backend"
ONE_BY_ONE = TARGET / "server/examples/one_by_one"
REPO_PATH = "/repo/almalinux/9/repodata/repomd.xml"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: nothing listens on port {port}")
        time.sleep(0.02)


class Lab:
    """A temporary folder, and whatever runs in it."""

    def __enter__(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="els-bench-"))
        self.place.chmod(0o755)
        self.running = []
        self.postgres_port = None
        self.certificate()
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
        shutil.rmtree(self.place, ignore_errors=True)

    def start(self, command, **more):
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.place / f"log-{len(self.running)}", "wb"), **more)
        self.running.append(process)
        return process

    def stop(self, process):
        process.terminate()
        process.wait(30)
        self.running.remove(process)

    def certificate(self):
        """A CA, and what it has issued for this machine."""
        self.ca, self.cert, self.key = (self.place / name for name in ("ca.pem", "cert.pem", "key.pem"))
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        run(["openssl", "req", "-x509", *curve, "-days", "2", "-subj", "/CN=Bench CA", "-keyout", self.place / "ca.key",
             "-out", self.ca])
        run(["openssl", "req", *curve, "-subj", "/CN=localhost", "-keyout", self.key, "-out", self.place / "request.pem"])
        names = self.place / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        run(["openssl", "x509", "-req", "-days", "2", "-in", self.place / "request.pem", "-CA", self.ca, "-CAkey",
             self.place / "ca.key", "-CAcreateserial", "-extfile", names, "-out", self.cert])

    # ---- The backend ----

    def backend(self, database=None, tls=False, more=()):
        """`serve` on a database; says its port, its process and the database's URL."""
        if database is None:
            folder = pathlib.Path(tempfile.mkdtemp(dir=self.place))
            database = f"sqlite://{folder}/els.db"
        port = free_port()
        command = [BACKEND, "--database", database, "serve", "--listen", f"127.0.0.1:{port}",
                   "--admin-listen", f"127.0.0.1:{free_port()}", *more]
        if tls:
            command += ["--tls-cert", self.cert, "--tls-key", self.key]
        process = self.start(command)
        wait_for(port)
        return port, process, database

    def make_key(self, database, seats=1_000_000_000):
        made = output([BACKEND, "--database", database, "key", "create", "--json", "--seats", seats, "--expires", "2099-12-31"])
        return json.loads(made)["key"]

    def key_file(self, keys):
        path = self.place / f"keys-{uuid.uuid4()}"
        path.write_text("".join(f"{key}\n" for key in keys))
        return path

    def register_known(self, port, key, count):
        """Registers this number of machines; writes their credentials to a file, one a line."""
        path = self.place / f"credentials-{uuid.uuid4()}"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection, \
                open(path, "w") as file:
            for _ in range(count):
                registration, token, body = new_machine(key)
                connection.request("PUT", f"/v1/registrations/{registration}", json.dumps(body))
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 201, answer.status
                file.write(credential(registration, token) + "\n")
        return path

    # ---- nginx ----

    def nginx(self, servers):
        """nginx with these server blocks."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.place))
        folder.chmod(0o755)
        config = folder / "nginx.conf"
        config.write_text(f"""
worker_processes auto; worker_rlimit_nofile 65536; daemon off; pid {folder}/pid; error_log {folder}/errors crit;
events {{ worker_connections 16384; }}
http {{ access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on;
client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
scgi_temp_path {folder}/s; client_body_buffer_size 64k;
{servers} }}
""")
        self.start(["nginx", "-c", config])

    # ---- PostgreSQL ----

    def postgres(self):
        """The server, started once; says its port."""
        if self.postgres_port:
            return self.postgres_port
        folder = self.place / "postgres"
        folder.mkdir()
        as_postgres = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.pg_bin = max(pathlib.Path("/usr/lib/postgresql").iterdir(), key=lambda path: int(path.name)) / "bin"
        data = folder / "data"
        run([*as_postgres, self.pg_bin / "initdb", "--auth=trust", "--username=els", "--encoding=UTF8", "--locale=C", "-D", data],
            cwd=folder)
        port = free_port()
        with open(data / "postgresql.conf", "a") as file:
            file.write(f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{folder}'\n"
                       "max_connections = 300\nshared_buffers = 1GB\nmax_wal_size = 8GB\n")
        self.start([*as_postgres, self.pg_bin / "postgres", "-D", data], cwd=folder)
        wait_for(port)
        self.postgres_port = port
        time.sleep(1)
        return port

    def database(self, name):
        """A new database of this version; its URL."""
        port = self.postgres()
        self.sql("postgres", f"CREATE DATABASE {name}")
        url = f"postgres://els@127.0.0.1:{port}/{name}"
        run([BACKEND, "--database", url, "migrate"])
        return url

    def sql(self, database, sql):
        return output([self.pg_bin / "psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.postgres_port,
                       "-U", "els", "-d", database, "-c", sql])


def run(command, **more):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def output(command, **more):
    return run(command, **more).strip()


def new_machine(key):
    """An id, a token, and the body of its PUT."""
    token = "elst_password=" + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    body = {"key": key, "token_sha256": hashlib.sha256(token.encode()).hexdigest(), "machine": str(uuid.uuid4()),
            "hardware": str(uuid.uuid4()), "os": {"id": "almalinux", "version": "9.6"}, "arch": "x86_64"}
    return str(uuid.uuid4()), token, body


def credential(registration, token):
    return base64.b64encode(f"{registration}:{token}".encode()).decode()


def resident_megabytes(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise SystemExit("bench: no VmRSS")
