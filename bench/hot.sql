WITH taken AS (UPDATE keys SET used = used + 1 WHERE number = 1 AND used < seats RETURNING number),
made AS (
    INSERT INTO registrations (id, key, token_hash, state, machine, hardware, os, os_version, arch, registered_at)
    SELECT gen_random_uuid(), number, sha256(gen_random_uuid()::text::bytea), 'active', gen_random_uuid(),
        gen_random_uuid(), 'almalinux', '9.6', 'x86_64', 1800000000 FROM taken
    RETURNING id, key, machine, hardware)
INSERT INTO events (at, kind, key, registration, machine, hardware)
SELECT 1800000000, 'seat-taken', key, id, machine, hardware FROM made;
