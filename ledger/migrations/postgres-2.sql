-- Schema 2 only adds to schema 1.

-- Who caused an event, through which interface, by which request; NULL in older events.
ALTER TABLE events ADD actor TEXT, ADD origin TEXT, ADD request TEXT;

-- Which node runs a job of upkeep, and until when.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- The oldest schema whose programs can use this database. A step that only adds leaves it as it is; a step that takes
-- something away raises it.
ALTER TABLE els_schema ADD oldest INT NOT NULL DEFAULT 1;
