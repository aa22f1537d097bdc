#!/usr/bin/env python3
"""Measures the agent and the backend, each figure as a ratio to a reference in the same run on the same machine.

    bench/run.py [--runs N] [--seconds S] [--only WORD]... [--large] [--write]

Owns what is measured and what it is compared with. `make bench` builds first; --write puts table and plot into docs/.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time

import large
import report
from lab import AGENT, BACKEND, HERE, ONE_BY_ONE, REPO_PATH, Lab, free_port, output, resident_megabytes, run, wait_for

ROWS = []


def row(name, what, reference, goal, unit, better):
    """Registers a figure. `better` is how a ratio is to be read: 'lower' or 'higher'; or 'limit' for a figure by itself."""

    def register(function):
        ROWS.append((name, what, reference, goal, unit, better, function))
        return function

    return register


def wrk(url, options, seconds, connections, script, arguments, headers=()):
    """Requests a second. Any answer but 2xx is a failure of the measurement."""
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", *options, "-s", HERE / script]
    for header in headers:
        command += ["-H", header]
    said = run([*command, url, "--", *arguments])
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"bench: {url}: {said}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1))


def hyperfine(command, prepare=None, runs=30, environment=None):
    """Median of a whole process, in milliseconds."""
    result = f"/tmp/els-bench-{os.getpid()}.json"
    words = ["hyperfine", "-N", "--style", "none", "--warmup", "3", "--runs", runs, "--export-json", result]
    if prepare:
        words += ["--prepare", prepare]
    run([*words, command], env=environment)
    with open(result) as file:
        median = json.load(file)["results"][0]["median"]
    os.unlink(result)
    return median * 1000


# ---- The agent ---------------------------------------------------------------------------------------------------------


# Where the certificates are is the agent's to find: what somebody has set for other programs would add to what is measured.
for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
    os.environ.pop(name, None)


def machine_root(lab, name="root"):
    root = lab.place / name
    for folder in ["etc/dnf/vars", "etc/yum.repos.d", "etc/pki/rpm-gpg", "usr/bin", "var/lib", "run", "proc/1"]:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "etc/os-release").write_text('ID="almalinux"\nVERSION_ID="9.6"\n')
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (root / "etc/dnf/dnf.conf").write_text("[main]\n")
    (root / "usr/bin/dnf").write_text("")
    (root / "usr/bin/dnf").chmod(0o755)
    return root


def agent_site(lab):
    """A backend with TLS and a repository; a root; the words that every agent command has."""
    if not hasattr(lab, "site"):
        repo = lab.place / "repo/almalinux/9"
        for path in ["updates/x86_64", "."]:
            (repo / path / "repodata").mkdir(parents=True, exist_ok=True)
            (repo / path / "repodata/repomd.xml").write_text(
                '<?xml version="1.0" encoding="UTF-8"?>\n<repomd xmlns="http://linux.duke.edu/metadata/repo">\n'
                + "<!-- as large as a real one -->\n" * 90 + "</repomd>\n")
        port, process, database = lab.backend(tls=True, more=["--repo-root", lab.place / "repo"])
        lab.site = (port, lab.make_key(database))
        (lab.place / "key").write_text(lab.site[1] + "\n")
    port, _ = lab.site
    return f"{AGENT} --key-file {lab.place}/key --server https://127.0.0.1:{port} --ca-file {lab.ca}", port


@row("start", "`els-register --version`", "`/bin/true`", 2.5, "ms", "lower")
def start(lab, options):
    return hyperfine(f"{AGENT} --version", runs=200), hyperfine("/bin/true", runs=200)


@row("status", "`els-register --status --offline`", "`dnf --noplugins --version`", 1 / 50, "ms", "lower")
def status(lab, options):
    root = machine_root(lab)
    words, _ = agent_site(lab)
    run([*words.split(), "--root", root])
    return hyperfine(f"{AGENT} --root {root} --status --offline", runs=100), hyperfine("dnf --noplugins --version", runs=5)


@row("register", "`els-register --key` over TLS, repository probed", "`curl`, the same two requests", 2.5, "ms", "lower")
def register(lab, options):
    words, port = agent_site(lab)
    root = machine_root(lab)
    clean = (f"rm -rf {root}/var/lib/els-register {root}/etc/dnf/vars/els_url {root}/etc/dnf/vars/els_id "
             f"{root}/etc/dnf/vars/els_token {root}/etc/yum.repos.d/els.repo {root}/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS")
    agent = hyperfine(f"{words} -q --root {root}", prepare=clean)
    # Each run of curl registers another machine and probes with its credential: both are made before, in its configuration.
    config = lab.place / "curl.conf"
    prepare = lab.place / "prepare"
    prepare.write_text(f"#!/bin/sh\nexec python3 {HERE}/curl_config.py {lab.place}/key {config} {port} {lab.ca}\n")
    prepare.chmod(0o755)
    return agent, hyperfine(f"curl -sS -K {config}", prepare=str(prepare))


@row("memory", "peak memory of a register over TLS", "limit", 8, "MB", "limit")
def memory(lab, options):
    words, _ = agent_site(lab)
    root = machine_root(lab, f"root-{time.monotonic_ns()}")
    said = subprocess.run(["/usr/bin/time", "-f", "%M", *words.split(), "-q", "--root", str(root)],
                          stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=True).stderr
    return int(said.split()[-1]) / 1000, None


@row("binary", "size of the agent", "limit", 2.5, "MB", "limit")
def binary(lab, options):
    return AGENT.stat().st_size / 1e6, None


@row("syscalls", "system calls of a register over TLS", "limit", 600, "", "limit")
def syscalls(lab, options):
    words, _ = agent_site(lab)
    root = machine_root(lab, f"root-{time.monotonic_ns()}")
    trace = lab.place / "trace"
    run(["strace", "-f", "-c", "-o", trace, *words.split(), "-q", "--root", root])
    return int(re.search(r"^100\.00\s.*?(\d+)\s+(?:\d+\s+)?total$", trace.read_text(), re.M).group(1)), None


# ---- The gate ----------------------------------------------------------------------------------------------------------


def gate_site(lab):
    """A backend that knows 100,000 machines, and nginx beside it."""
    if not hasattr(lab, "gate"):
        port, process, database = lab.backend()
        lab.stop(process)
        credentials = large.fill_sqlite(database, machines=100_000, known=100_000, keys=1)
        port, process, _ = lab.backend(database)
        path = lab.place / "known"
        path.write_text("".join(f"{one}\n" for one in credentials))
        nothing, asks, answers = (free_port() for _ in range(3))
        files = lab.place / "files/repo/almalinux/9/repodata"
        files.mkdir(parents=True)
        (files / "repomd.xml").write_bytes(os.urandom(20_000))
        behind = """upstream {name} {{ server 127.0.0.1:{to}; keepalive 64; }}
            server {{ listen 127.0.0.1:{listen}; root {root};
            location = /auth {{ internal; proxy_pass http://{name}/v1/repo-auth; proxy_http_version 1.1;
                proxy_pass_request_body off; proxy_pass_request_headers off; proxy_set_header Connection "";
                proxy_set_header Content-Length ""; proxy_set_header Authorization $http_authorization;
                proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Original-URI $request_uri; }}
            location /repo/ {{ auth_request /auth; }} }}"""
        root = lab.place / "files"
        lab.nginx(f"server {{ listen 127.0.0.1:{nothing}; location / {{ return 204; }} }}"
                  + behind.format(name="gate", to=port, listen=asks, root=root)
                  + behind.format(name="nothing", to=nothing, listen=answers, root=root))
        for one in (nothing, asks, answers):
            wait_for(one)
        lab.gate = (port, nothing, asks, answers, path)
        # All of them are remembered before anything is measured.
        large.ask_gate_for_all(port, credentials)
    return lab.gate


@row("gate", "gate over HTTP keep-alive, 100,000 machines known", "nginx `return 204`, same wrk", 0.7, "/s", "higher")
def gate(lab, options):
    port, nothing, _, _, path = gate_site(lab)
    ask = lambda to: wrk(f"http://127.0.0.1:{to}", [], options.seconds, 64, "gate.lua", [path, "/v1/repo-auth"])
    return ask(port), ask(nothing)


@row("file", "20 kB file through nginx `auth_request` to the gate", "nginx `auth_request` to a proxied `return 204`", 0.9, "/s", "higher")
def file(lab, options):
    _, _, asks, answers, path = gate_site(lab)
    ask = lambda to: wrk(f"http://127.0.0.1:{to}", [], options.seconds, 64, "gate.lua", [path, REPO_PATH])
    return ask(asks), ask(answers)


# ---- Registrations -----------------------------------------------------------------------------------------------------


def registrations(url, keys, seconds, connections, headers=()):
    return wrk(url, [], seconds, connections, "put.lua", [keys, time.monotonic_ns() % 1_000_000_007], headers)


@row("sqlite", "registrations over HTTP keep-alive, SQLite, FULL sync", "the same transactions in-process, a commit each", 1.5, "/s", "higher")
def sqlite(lab, options):
    port, process, database = lab.backend()
    keys = lab.key_file([lab.make_key(database)])
    figure = registrations(f"http://127.0.0.1:{port}", keys, options.seconds, 64)
    lab.stop(process)
    folder = lab.place / f"one-{time.monotonic_ns()}"
    folder.mkdir()
    return figure, float(output([ONE_BY_ONE, folder, options.seconds]))


@row("tls", "registrations, each with a new TLS connection", "nginx `return 204`, a new TLS handshake each", 0.8, "/s", "higher")
def tls(lab, options):
    if not hasattr(lab, "tls_port"):
        lab.tls_port = free_port()
        lab.nginx(f"server {{ listen 127.0.0.1:{lab.tls_port} ssl; ssl_certificate {lab.cert}; ssl_certificate_key {lab.key}; "
                  "ssl_session_cache off; ssl_session_tickets off; location / { return 204; } }")
        wait_for(lab.tls_port)
    port, process, database = lab.backend(tls=True)
    keys = lab.key_file([lab.make_key(database)])
    close = ["Connection: close"]
    figure = registrations(f"https://127.0.0.1:{port}", keys, options.seconds, 32, close)
    lab.stop(process)
    return figure, registrations(f"https://127.0.0.1:{lab.tls_port}", keys, options.seconds, 32, close)


def pgbench(lab, database, script, clients, seconds):
    said = output([lab.pg_bin / "pgbench", "-n", "-M", "prepared", "-c", clients, "-j", 2, "-T", seconds, "-h", "127.0.0.1",
                   "-p", lab.postgres_port, "-U", "els", "-f", HERE / script, database])
    return float(re.search(r"tps = ([\d.]+)", said).group(1))


def on_postgres(lab, options, keys, clients, script):
    name = f"bench{time.monotonic_ns()}"
    url = lab.database(name)
    port, process, _ = lab.backend(url)
    file = lab.key_file(large.make_keys_postgres(lab, name, keys))
    figure = registrations(f"http://127.0.0.1:{port}", file, options.seconds, clients)
    lab.stop(process)
    lab.sql(name, "TRUNCATE registrations, events; UPDATE keys SET used = 0")
    lab.sql(name, "VACUUM FULL keys")
    lab.sql(name, "CHECKPOINT")
    reference = pgbench(lab, name, script, clients, options.seconds)
    lab.sql("postgres", f"DROP DATABASE {name}")
    return figure, reference


@row("hot-key", "one key, 64 clients, PostgreSQL, over HTTP", "pgbench, the same change as one statement", 3, "/s", "higher")
def hot_key(lab, options):
    return on_postgres(lab, options, 1, 64, "hot.sql")


@row("many-keys", "10,000 keys, 16 clients, PostgreSQL, over HTTP", "pgbench, the same change as one statement", 0.7, "/s", "higher")
def many_keys(lab, options):
    return on_postgres(lab, options, 10_000, 16, "many.sql")


# ---- Size --------------------------------------------------------------------------------------------------------------


def sized(lab, options, machines):
    """A backend that knows this number of machines: registrations a second, and the gate's answers for 10,000 of them."""
    cached = getattr(lab, "sized", {})
    if machines not in cached:
        port, process, database = lab.backend()
        lab.stop(process)
        known = large.fill_sqlite(database, machines=machines, known=10_000, keys=min(10_000, machines))
        key = lab.make_key(database)
        path = lab.place / f"known-{machines}"
        path.write_text("".join(f"{one}\n" for one in known))
        port, _, _ = lab.backend(database)
        large.ask_gate_for_all(port, known)
        cached[machines] = (port, path, lab.key_file([key]))
        lab.sized = cached
    return cached[machines]


@row("register-size", "registrations at 10 million", "the same at 10 thousand", 1 / 1.3, "/s", "higher")
def register_size(lab, options):
    figures = []
    for machines in (10_000_000, 10_000):
        port, _, keys = sized(lab, options, machines)
        figures.append(registrations(f"http://127.0.0.1:{port}", keys, options.seconds, 64))
    return tuple(figures)


@row("gate-size", "gate at 10 million registrations", "the same at 10 thousand", 1 / 1.3, "/s", "higher")
def gate_size(lab, options):
    figures = []
    for machines in (10_000_000, 10_000):
        port, known, _ = sized(lab, options, machines)
        figures.append(wrk(f"http://127.0.0.1:{port}", [], options.seconds, 64, "gate.lua", [known, "/v1/repo-auth"]))
    return tuple(figures)


@row("idle", "backend's memory, idle", "limit", 20, "MB", "limit")
def idle(lab, options):
    _, process, _ = lab.backend()
    time.sleep(2)
    figure = resident_megabytes(process)
    lab.stop(process)
    return figure, None


@row("million", "backend's memory, 1 million machines active at the gate", "limit", 300, "MB", "limit")
def million(lab, options):
    if not hasattr(lab, "million"):
        _, process, database = lab.backend()
        lab.stop(process)
        known = large.fill_sqlite(database, machines=1_000_000, known=1_000_000, keys=1000)
        lab.million = (database, known)
    database, known = lab.million
    port, process, _ = lab.backend(database)
    large.ask_gate_for_all(port, known)
    figure = resident_megabytes(process)
    lab.stop(process)
    return figure, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="pairs of runs of each figure (5)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each run (5)")
    parser.add_argument("--only", action="append", help=f"one of {', '.join(one[0] for one in ROWS)}; may be given again")
    parser.add_argument("--write", action="store_true", help="put table and plot into docs/developer/benchmarks.md and .svg")
    options = parser.parse_args()
    for path in (AGENT, BACKEND, ONE_BY_ONE):
        if not path.exists():
            raise SystemExit(f"bench: {path} is missing: `make bench` builds it")
    figures = []
    with Lab() as lab:
        for name, what, reference, goal, unit, better, function in ROWS:
            if options.only and name not in options.only:
                continue
            pairs = [function(lab, options) for _ in range(1 if better == "limit" and name != "memory" else options.runs)]
            figures.append(report.Figure(name, what, reference, goal, unit, better, pairs))
            print(figures[-1].line(), flush=True)
    if options.write:
        report.write(figures, options)
    return 0 if all(figure.is_met() for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
