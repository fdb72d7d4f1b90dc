-- Puts a batch's poison aside. $1 when; $2.. one array a column; the digests are distinct.
WITH came AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[], $9::int[])
        WITH ORDINALITY AS c (origin, code, reason, spot, digest, raw, headers, times, place)
),
-- The very same as in an open entry is counted there.
again AS (
    UPDATE quarantine q SET repeated = q.repeated + c.times, last_received_at = $1
    FROM came c WHERE q.digest = c.digest AND q.state = 'open'
    RETURNING q.digest
)
-- Everything else is a new entry, in the order of arrival.
INSERT INTO quarantine (received_at, origin, code, reason, position, digest, raw, headers, repeated, last_received_at)
SELECT $1, c.origin, c.code, c.reason, c.spot, c.digest, c.raw, c.headers, c.times - 1, CASE WHEN c.times > 1 THEN $1 END
FROM came c
WHERE c.digest NOT IN (SELECT a.digest FROM again a)
ORDER BY c.place
RETURNING quarantine_id, digest
