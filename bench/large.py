"""Databases that have grown, made in minutes instead of years.

Owns rows that registrations would have left. The schema is the backend's own: an empty database that it has made.
"""

import base64
import hashlib
import os
import socket
import sqlite3
import uuid

from lab import credential, output

NOW = 1_800_000_000


def fill_sqlite(database, machines, known, keys):
    """Creates `machines` registrations of `keys` keys. Returns the credentials of the first `known` of them."""
    path = database.removeprefix("sqlite://")
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -4000000;")
    indexes = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL "
                         "AND tbl_name IN ('registrations', 'events')").fetchall()
    db.execute("BEGIN")
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    each = -(-machines // keys)
    db.executemany("INSERT INTO keys (number, id, product, seats, used, state, expires, self_release, created_at) "
                   "VALUES (?, ?, 'almalinux-9-els', 2000000000, ?, 'active', 4000000000, 1, ?)",
                   ((number, f"k-{number}", min(each, machines - (number - 1) * each), NOW) for number in range(1, keys + 1)))
    db.executemany("INSERT INTO secrets (hash, key) VALUES (?, ?)",
                   ((hashlib.sha256(f"bench {number}".encode()).digest(), number) for number in range(1, keys + 1)))
    db.execute(f"CREATE TEMP TABLE numbers AS WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n LIMIT {machines}) "
               "SELECT n FROM n")
    db.execute(f"INSERT INTO registrations (row, id, key, token_hash, state, machine, hardware, os, os_version, arch, registered_at) "
               f"SELECT n + 1, randomblob(16), n / {each} + 1, randomblob(32), 'active', randomblob(16), randomblob(16), "
               f"'almalinux', '9.6', 'x86_64', {NOW} FROM numbers")
    credentials = []

    def rows():
        for row in range(1, known + 1):
            registration, token = uuid.uuid4(), "elst_password=" + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
            credentials.append(credential(registration, token))
            yield registration.bytes, hashlib.sha256(token.encode()).digest(), row

    # Spread over all of them.
    db.executemany(f"UPDATE registrations SET id = ?, token_hash = ? WHERE row = ? * {machines // known}", rows())
    db.execute(f"INSERT INTO events (at, kind, key, registration, machine, hardware) SELECT {NOW}, 'seat-taken', key, id, machine, "
               "hardware FROM registrations ORDER BY row")
    for _, sql in indexes:
        db.execute(sql)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    os.sync()
    return credentials


def make_keys_postgres(lab, database, count):
    """So many keys, made at once; the license keys."""
    texts = [f"bench-{uuid.uuid4()}" for _ in range(count)]
    values = ",".join(f"('\\x{hashlib.sha256(text.encode()).hexdigest()}', {number})" for number, text in enumerate(texts, 1))
    script = lab.place / "keys.sql"
    script.write_text(
        "INSERT INTO keys (number, id, product, seats, state, expires, self_release, created_at) SELECT n, 'k-' || n, "
        f"'almalinux-9-els', 1000000000, 'active', 4000000000, true, {NOW} FROM generate_series(1, {count}) n;\n"
        f"INSERT INTO secrets (hash, key) VALUES {values};\nANALYZE;\n")
    output([lab.pg_bin / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", lab.postgres_port, "-U", "els", "-d",
            database, "-f", script])
    return texts


def ask_gate_for_all(port, credentials):
    """Each machine fetches one file."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for start in range(0, len(credentials), 200):
            part = credentials[start:start + 200]
            connection.sendall("".join(
                "GET /v1/repo-auth HTTP/1.1\r\nHost: gate\r\nX-Original-URI: /repo/almalinux/9/repodata/repomd.xml\r\n"
                f"Authorization: Basic {one}\r\n\r\n" for one in part).encode())
            answers = b""
            while answers.count(b"\r\n\r\n") < len(part):
                more = connection.recv(1 << 16)
                if not more:
                    raise SystemExit("bench: the gate ended the connection")
                answers += more
            if answers.count(b"HTTP/1.1 204") != len(part):
                raise SystemExit(f"bench: the gate answers {answers[:60]}")
