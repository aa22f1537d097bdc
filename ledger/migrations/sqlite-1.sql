-- Schema 1. Times are seconds since 1970 in UTC; ids and hashes are their bytes.

CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    product TEXT NOT NULL,
    seats INTEGER NOT NULL CHECK (seats >= 0),
    -- Active registrations. May exceed `seats` after seats were lowered, and then only fall.
    used INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0),
    state TEXT NOT NULL CHECK (state IN ('active', 'suspended', 'revoked')),
    starts INTEGER,
    expires INTEGER NOT NULL,
    contract TEXT UNIQUE,
    reseller TEXT,
    note TEXT,
    release_unseen_after INTEGER,
    self_release INTEGER NOT NULL CHECK (self_release IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

-- SHA-256 of what customers type. Rows are never deleted: a secret that was rotated away can be nobody's again.
CREATE TABLE secrets (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    key INTEGER NOT NULL REFERENCES keys (number),
    -- From then on it does not count.
    until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX secrets_key ON secrets (key);

CREATE TABLE registrations (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    key INTEGER NOT NULL REFERENCES keys (number),
    token_hash BLOB NOT NULL CHECK (length(token_hash) = 32),
    state TEXT NOT NULL CHECK (state IN ('active', 'superseded', 'released')),
    machine BLOB,
    hardware BLOB,
    os TEXT NOT NULL,
    os_version TEXT NOT NULL,
    arch TEXT NOT NULL,
    label TEXT,
    registered_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    -- When it was superseded or released.
    ended_at INTEGER,
    -- While superseded: the registration that has its seat, and which rule took them for one machine.
    successor BLOB,
    likeness TEXT,
    CHECK ((state = 'active') = (ended_at IS NULL)),
    CHECK ((state = 'superseded') = (successor IS NOT NULL)),
    CHECK (state <> 'active' OR machine IS NOT NULL)
) STRICT;
CREATE INDEX registrations_active ON registrations (key, id) WHERE state <> 'released';
CREATE INDEX registrations_machine ON registrations (key, machine, hardware) WHERE state = 'active';
CREATE INDEX registrations_hardware ON registrations (key, hardware, machine)
    WHERE state = 'active' AND hardware IS NOT NULL;
-- At most one superseded id a seat.
CREATE UNIQUE INDEX registrations_successor ON registrations (successor) WHERE state = 'superseded';
CREATE INDEX registrations_erasable ON registrations (ended_at)
    WHERE state = 'released' AND (machine IS NOT NULL OR hardware IS NOT NULL);

-- Ids that several machines of a key were seen to share.
CREATE TABLE distrusted (
    key INTEGER NOT NULL REFERENCES keys (number),
    kind TEXT NOT NULL CHECK (kind IN ('machine', 'hardware')),
    id BLOB NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (key, kind, id)
) STRICT, WITHOUT ROWID;

-- DELETEs that came before their PUT.
CREATE TABLE early_releases (
    id BLOB NOT NULL,
    token_hash BLOB NOT NULL,
    client TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (id, token_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX early_releases_client ON early_releases (client, at);
CREATE INDEX early_releases_at ON early_releases (at);

-- The audit trail, and by its sequence the feed of changes for the gate.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key INTEGER NOT NULL REFERENCES keys (number),
    registration BLOB,
    other BLOB,
    machine BLOB,
    hardware BLOB,
    detail TEXT
) STRICT;
CREATE INDEX events_key ON events (key);
CREATE INDEX events_registration ON events (registration) WHERE registration IS NOT NULL;

-- When upkeep was last done: 'gate' is the last minute in which the gate was up, 'unseen' the last search.
CREATE TABLE upkeep (
    name TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Times in which the gate was down, so that nobody could be seen.
CREATE TABLE gate_down (
    since INTEGER PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT;
