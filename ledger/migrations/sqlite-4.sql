-- Schema 4: tokens and answers of the admin API; it only adds to schema 3.

-- Bearer tokens of the vendor's systems. Rows are never deleted: the audit log names them.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    -- SHA-256 of the token.
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    name TEXT NOT NULL,
    -- Lists of words, with a space before and after each word; NULL: no limit.
    scopes TEXT NOT NULL,
    products TEXT,
    networks TEXT,
    reseller TEXT,
    made_at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- Answers of the admin API that a client can have again, sealed under a key that only this client has.
CREATE TABLE answers (
    token TEXT NOT NULL,
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    sealed BLOB NOT NULL,
    ends INTEGER NOT NULL,
    PRIMARY KEY (token, key_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_ends ON answers (ends);
