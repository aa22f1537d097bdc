-- Schema 3: a seat has several superseded ids.

-- The superseded ids of a seat, the oldest first.
DROP INDEX registrations_successor;
CREATE INDEX registrations_successor ON registrations (successor, ended_at)
    WHERE state = 'superseded' AND successor IS NOT NULL;
-- Those that were superseded by the same ids, the oldest first; and whether anything has a distrusted id.
CREATE INDEX registrations_superseded_machine ON registrations (key, machine, registered_at)
    WHERE state = 'superseded' AND machine IS NOT NULL;
CREATE INDEX registrations_superseded_hardware ON registrations (key, hardware, registered_at)
    WHERE state = 'superseded' AND hardware IS NOT NULL;
-- Those that end by themselves.
CREATE INDEX registrations_superseded_since ON registrations (ended_at, id) WHERE state = 'superseded' AND ended_at IS NOT NULL;
-- Of registrations with equal ids, the last one decides.
DROP INDEX registrations_machine;
CREATE INDEX registrations_machine ON registrations (key, machine, hardware, registered_at)
    WHERE state = 'active' AND machine IS NOT NULL;

-- Times in which a key denied its machines: while it was suspended, or from its expiry (the site's grace comes on top) to its
-- renewal. Without an end while it is suspended; an expiry that lasts is in `keys`.
CREATE TABLE refusals (
    key BIGINT NOT NULL REFERENCES keys (number),
    reason TEXT NOT NULL CHECK (reason IN ('suspended', 'expired')),
    since BIGINT NOT NULL,
    until BIGINT,
    PRIMARY KEY (key, reason, since)
);
INSERT INTO refusals (key, reason, since)
    SELECT k.number, 'suspended', coalesce((SELECT max(e.at) FROM events e WHERE e.key = k.number AND e.kind = 'key-suspended'),
        k.created_at)
    FROM keys k WHERE k.state = 'suspended';
