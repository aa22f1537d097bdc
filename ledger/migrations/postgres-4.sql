-- Schema 4: tokens and answers of the admin API; it only adds to schema 3.

-- Bearer tokens of the vendor's systems. Rows are never deleted: the audit log names them.
CREATE TABLE tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    -- SHA-256 of the token.
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    name TEXT NOT NULL,
    -- Lists of words, with a space before and after each word; NULL: no limit.
    scopes TEXT NOT NULL,
    products TEXT,
    networks TEXT,
    reseller TEXT,
    made_at BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used_at BIGINT,
    revoked_at BIGINT
);

-- Answers of the admin API that a client can have again, sealed under a key that only this client has.
CREATE TABLE answers (
    token TEXT NOT NULL,
    key_hash BYTEA NOT NULL CHECK (length(key_hash) = 32),
    request_hash BYTEA NOT NULL CHECK (length(request_hash) = 32),
    sealed BYTEA NOT NULL,
    ends BIGINT NOT NULL,
    PRIMARY KEY (token, key_hash)
);
CREATE INDEX answers_ends ON answers (ends);
