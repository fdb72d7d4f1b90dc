-- What came in: every message once, with its answer; what could not be understood; how much was taken in all.

CREATE TABLE messages (
    source      text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    seq         bigint GENERATED ALWAYS AS IDENTITY,
    kind        text NOT NULL,
    payer_id    text COLLATE "C" NOT NULL,
    sent_at     timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    digest      bytea NOT NULL,
    raw         bytea NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('accepted', 'refused', 'stale', 'waiting')),
    code        text,
    wait_for    text,
    wait_until  timestamptz,
    repeated    integer NOT NULL DEFAULT 0 CHECK (repeated >= 0),
    PRIMARY KEY (source, id),
    CONSTRAINT a_refusal_has_its_code CHECK ((outcome = 'refused') = (code IS NOT NULL)),
    CONSTRAINT a_wait_has_its_end CHECK ((outcome = 'waiting') = (wait_until IS NOT NULL AND wait_for IS NOT NULL))
);
COMMENT ON TABLE messages IS 'The log of understood messages; (source, id) makes a repeated delivery harmless';
COMMENT ON COLUMN messages.seq IS 'Order in which we took them; replay goes by it';
COMMENT ON COLUMN messages.sent_at IS 'The sender''s time: facts are ordered by it, then by id';
COMMENT ON COLUMN messages.digest IS 'Keyed hash of the content with sorted keys: same id and other digest is a conflict';
COMMENT ON COLUMN messages.raw IS 'The message as it came, encrypted';
COMMENT ON COLUMN messages.code IS 'Why the rules said no (the contract''s closed list)';
COMMENT ON COLUMN messages.wait_for IS 'The insurance type whose enrolment has not arrived';
COMMENT ON COLUMN messages.repeated IS 'How often the same content came again';
-- Ciphertext does not compress; trying costs time.
ALTER TABLE messages ALTER COLUMN raw SET STORAGE EXTERNAL;
CREATE INDEX messages_waiting ON messages (payer_id, wait_for) WHERE outcome = 'waiting';
CREATE INDEX messages_wait_ends ON messages (wait_until) WHERE outcome = 'waiting';

CREATE TABLE quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at   timestamptz NOT NULL,
    origin        text NOT NULL,
    code          text NOT NULL,
    reason        text NOT NULL,
    position      text NOT NULL,
    raw           bytea NOT NULL,
    headers       bytea NOT NULL,
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded'))
);
COMMENT ON TABLE quarantine IS 'What was not understood, kept until a person has looked at it';
COMMENT ON COLUMN quarantine.origin IS 'Queue, or file and line';
COMMENT ON COLUMN quarantine.position IS 'Field, or line and column within the message';
COMMENT ON COLUMN quarantine.raw IS 'The bytes as they came, encrypted';
COMMENT ON COLUMN quarantine.headers IS 'Their broker headers as JSON, encrypted';
ALTER TABLE quarantine ALTER COLUMN raw SET STORAGE EXTERNAL;

CREATE TABLE intake_batches (
    batch_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    taken_at   timestamptz NOT NULL,
    deliveries integer NOT NULL CHECK (deliveries > 0)
);
COMMENT ON TABLE intake_batches IS 'Deliveries taken, a row a transaction: the independent count that the outcomes must add up to';
