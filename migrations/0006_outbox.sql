-- What is still to be told. Written in the transaction of the change it tells of.

CREATE TABLE outbox (
    outbox_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('events', 'planned', 'skipped', 'sent', 'results', 'discrepancies')),
    events       integer NOT NULL CHECK (events > 0),
    routing_keys text[],
    ids          text[],
    bodies       text[],
    scope_id     bigint,
    first_key    text COLLATE "C",
    last_key     text COLLATE "C",
    created_at   timestamptz NOT NULL,
    published_at timestamptz,
    CONSTRAINT a_chunk_carries_events_or_a_range CHECK (CASE kind
        WHEN 'events' THEN cardinality(bodies) = events AND cardinality(ids) = events AND cardinality(routing_keys) = events
        ELSE scope_id IS NOT NULL AND first_key IS NOT NULL AND last_key IS NOT NULL AND bodies IS NULL END)
);
COMMENT ON TABLE outbox IS 'A row stands for a chunk of events: either their bodies, or a range of rows from which the relay writes them, always the same ones';
COMMENT ON COLUMN outbox.events IS 'How many single events the row stands for';
COMMENT ON COLUMN outbox.scope_id IS 'planned, skipped: the run; sent: the request file; results, discrepancies: the result file';
COMMENT ON COLUMN outbox.first_key IS 'First order number, payer or line of the range';
ALTER TABLE outbox ALTER COLUMN bodies SET STORAGE EXTERNAL;
-- Rows are marked, not passed by a cursor: a transaction that commits late is still unpublished, never overtaken.
-- Events about one subject are written under one lock, so their order by outbox_id is their order in time.
CREATE INDEX outbox_to_publish ON outbox (outbox_id) WHERE published_at IS NULL;
