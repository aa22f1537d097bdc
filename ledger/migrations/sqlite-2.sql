-- Schema 2 only adds to schema 1.

-- Who caused an event, through which interface, by which request; NULL in older events.
ALTER TABLE events ADD COLUMN actor TEXT;
ALTER TABLE events ADD COLUMN origin TEXT;
ALTER TABLE events ADD COLUMN request TEXT;

-- Which node runs a job of upkeep, and until when.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: the oldest schema whose programs can use this database. A step that only adds leaves it as it is; a step that
-- takes something away raises it.
CREATE TABLE els_schema (
    oldest INTEGER NOT NULL
) STRICT;
INSERT INTO els_schema (oldest) VALUES (1);
