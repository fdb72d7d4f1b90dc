-- The quarantine becomes an operator's queue: entries are counted, decided on once, and every decision is kept. And a
-- book can be made anew from the message log of another one.

-- 1. Quarantine

ALTER TABLE quarantine
    ADD COLUMN digest           bytea,
    ADD COLUMN repeated         integer NOT NULL DEFAULT 0 CHECK (repeated >= 0),
    ADD COLUMN last_received_at timestamptz,
    ADD COLUMN replays          integer NOT NULL DEFAULT 0 CHECK (replays >= 0),
    ADD COLUMN replay_code      text,
    ADD COLUMN replay_reason    text,
    ADD COLUMN replay_position  text,
    ADD COLUMN decision_id      bigint,
    ADD CONSTRAINT a_failed_replay_says_why CHECK ((replays > 0) = (replay_code IS NOT NULL)
        AND (replays > 0) = (replay_reason IS NOT NULL) AND (replays > 0) = (replay_position IS NOT NULL)),
    ADD CONSTRAINT decided_when_it_says_so CHECK ((state = 'open') = (decision_id IS NULL));
COMMENT ON COLUMN quarantine.digest IS 'Keyed hash of code, bytes and the sender''s headers: what comes again is counted here. Not known for entries of the first version';
COMMENT ON COLUMN quarantine.repeated IS 'How often the same came again while the entry was open';
COMMENT ON COLUMN quarantine.last_received_at IS 'When it last came again';
COMMENT ON COLUMN quarantine.replays IS 'Replays that were not understood; each was a further delivery';
COMMENT ON COLUMN quarantine.replay_code IS 'What the last of them said, with reason and position';
CREATE UNIQUE INDEX the_same_poison_is_one_entry ON quarantine (digest) WHERE state = 'open';
-- Lists go by key, of all codes or of one.
CREATE INDEX quarantine_open ON quarantine (quarantine_id) WHERE state = 'open';
CREATE INDEX quarantine_open_by_code ON quarantine (code, quarantine_id) WHERE state = 'open';

CREATE TABLE quarantine_decisions (
    decision_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    quarantine_id   bigint NOT NULL REFERENCES quarantine,
    decided_at      timestamptz NOT NULL,
    decided_by      text NOT NULL CHECK (decided_by <> ''),
    reason          text NOT NULL CHECK (reason <> ''),
    what            text NOT NULL CHECK (what IN ('look', 'replay', 'discard')),
    outcome         text NOT NULL,
    mended          boolean NOT NULL DEFAULT false,
    fault_code      text,
    fault_reason    text,
    fault_position  text,
    leads_to        text GENERATED ALWAYS AS (CASE WHEN what = 'discard' THEN 'discarded'
                        WHEN what = 'replay' AND outcome <> 'not_understood' THEN 'replayed' END) STORED,
    CONSTRAINT an_outcome_fits_what_was_done CHECK (CASE what
        WHEN 'look' THEN outcome = 'shown'
        WHEN 'discard' THEN outcome = 'discarded'
        ELSE outcome IN ('accepted', 'refused', 'stale', 'waiting', 'repeated', 'not_understood') END),
    CONSTRAINT what_is_not_understood_says_why CHECK ((outcome = 'not_understood') = (fault_code IS NOT NULL)
        AND (outcome = 'not_understood') = (fault_reason IS NOT NULL) AND (outcome = 'not_understood') = (fault_position IS NOT NULL)),
    CONSTRAINT only_a_replay_is_mended CHECK (NOT mended OR what = 'replay'),
    UNIQUE (decision_id, quarantine_id, leads_to)
);
COMMENT ON TABLE quarantine_decisions IS 'What people did with entries: looked at the bytes, replayed, discarded. Who, when and why; never changed';
COMMENT ON COLUMN quarantine_decisions.outcome IS 'Of a replay: what the intake answered';
COMMENT ON COLUMN quarantine_decisions.mended IS 'Other bytes than the entry''s were replayed; the message log has them';
COMMENT ON COLUMN quarantine_decisions.leads_to IS 'The state that the decision gives its entry; null where it stays open';
CREATE INDEX quarantine_decisions_of ON quarantine_decisions (quarantine_id);
CREATE UNIQUE INDEX an_entry_is_decided_once ON quarantine_decisions (quarantine_id) WHERE leads_to IS NOT NULL;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON quarantine_decisions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- An entry is replayed or discarded by a decision about itself that says so.
ALTER TABLE quarantine ADD CONSTRAINT decided_by_its_decision
    FOREIGN KEY (decision_id, quarantine_id, state) REFERENCES quarantine_decisions (decision_id, quarantine_id, leads_to);

-- Bytes and headers may be encrypted anew under another key; `digest` says what they are.
CREATE TRIGGER as_it_came BEFORE UPDATE ON quarantine FOR EACH ROW
    WHEN ((OLD.quarantine_id, OLD.received_at, OLD.origin, OLD.code, OLD.reason, OLD.position, OLD.digest)
          IS DISTINCT FROM (NEW.quarantine_id, NEW.received_at, NEW.origin, NEW.code, NEW.reason, NEW.position, NEW.digest))
    EXECUTE FUNCTION refuse_change();

CREATE FUNCTION quarantine_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a quarantined message does not change like that'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'quarantine_moves_forward';
END $$;
CREATE TRIGGER move_forward BEFORE UPDATE ON quarantine FOR EACH ROW
    WHEN (NEW.repeated < OLD.repeated OR NEW.replays < OLD.replays
          OR (OLD.state <> 'open' AND (OLD.state, OLD.decision_id, OLD.repeated, OLD.replays)
              IS DISTINCT FROM (NEW.state, NEW.decision_id, NEW.repeated, NEW.replays)))
    EXECUTE FUNCTION quarantine_moves_forward();

-- 2. Rebuilding a book from the message log of another one

-- Seq orders messages of one payer truly, as it is given under the payer's lock; the end of a wait takes a place in it.
ALTER TABLE messages
    ADD COLUMN wait_ended_seq bigint,
    ADD CONSTRAINT an_ended_wait_is_no_wait CHECK (wait_ended_seq IS NULL OR outcome <> 'waiting');
COMMENT ON COLUMN messages.wait_ended_seq IS 'Where in the order of seq its wait ended for want of time; replay ends it there';

ALTER TABLE outbox ADD COLUMN withheld boolean NOT NULL DEFAULT false;
ALTER TABLE outbox ADD CONSTRAINT what_is_withheld_does_not_wait CHECK (NOT withheld OR published_at IS NOT NULL);
COMMENT ON COLUMN outbox.withheld IS 'Written by a rebuild: the book it was rebuilt from has told it, this one never does';

CREATE TABLE rebuilds (
    rebuild_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text NOT NULL,
    source_runs bigint NOT NULL CHECK (source_runs >= 0),
    messages    bigint NOT NULL CHECK (messages >= 0),
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    differing   bigint CHECK (differing >= 0),
    CONSTRAINT finished_when_it_was_compared CHECK ((finished_at IS NULL) = (differing IS NULL))
);
COMMENT ON TABLE rebuilds IS 'That this book was made from the message log of another one; at most one row';
COMMENT ON COLUMN rebuilds.source_runs IS 'Runs of the other book: what they collected is not known here';
COMMENT ON COLUMN rebuilds.differing IS 'Messages that were answered otherwise there';
CREATE UNIQUE INDEX a_book_is_rebuilt_once ON rebuilds ((true));
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON rebuilds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Sessions of the rebuild say so: what they write is not told.
CREATE FUNCTION withhold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.published_at := NEW.created_at;
    NEW.withheld := true;
    RETURN NEW;
END $$;
CREATE TRIGGER withheld_by_a_rebuild BEFORE INSERT ON outbox FOR EACH ROW
    WHEN (current_setting('pikou.rebuild', true) = 'on') EXECUTE FUNCTION withhold();

-- Everybody else's messages wait until it is done. (SQLSTATE class 55: trying again later helps.)
CREATE FUNCTION nothing_comes_between_a_rebuild() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('pikou.rebuild', true) IS DISTINCT FROM 'on' AND EXISTS (SELECT FROM rebuilds WHERE finished_at IS NULL) THEN
        RAISE EXCEPTION 'this database is being rebuilt, or a rebuild of it has died'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER nothing_comes_between_a_rebuild BEFORE INSERT ON intake_batches
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_comes_between_a_rebuild();

-- A book that does not know what was collected would collect it again.
CREATE FUNCTION a_rebuilt_book_makes_no_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM rebuilds WHERE finished_at IS NULL OR source_runs > 0) THEN
        RAISE EXCEPTION 'this book was rebuilt from messages alone and does not know what was collected before: it makes no runs'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'a_rebuilt_book_makes_no_runs';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER a_rebuilt_book_makes_no_runs BEFORE INSERT ON runs
    FOR EACH STATEMENT EXECUTE FUNCTION a_rebuilt_book_makes_no_runs();
