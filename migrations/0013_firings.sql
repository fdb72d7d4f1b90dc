-- What schedules have fired and missed, and runs that wait for a person or are cancelled.

CREATE TABLE schedule_marks (
    schedule         text PRIMARY KEY,
    since            timestamptz NOT NULL,
    resolved_through date NOT NULL
);
COMMENT ON TABLE schedule_marks IS 'How far the firings of each enabled schedule have been dealt with, whatever worker was up';
COMMENT ON COLUMN schedule_marks.since IS 'When the schedule was first seen: what was due before that is not caught up';
COMMENT ON COLUMN schedule_marks.resolved_through IS 'Every firing of a nominal date up to this one has its run, or is missed for a reason';

CREATE TABLE missed_firings (
    schedule      text NOT NULL,
    business_date date NOT NULL,
    slot          smallint NOT NULL CHECK (slot > 0),
    due_at        timestamptz NOT NULL,
    reason        text NOT NULL CHECK (reason IN ('not_caught_up', 'later_firing', 'window_closed')),
    recorded_at   timestamptz NOT NULL,
    CONSTRAINT missed_once PRIMARY KEY (schedule, business_date, slot)
);
COMMENT ON TABLE missed_firings IS 'Firings that made no run, with the reason: who asks later gets an answer';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON missed_firings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE run_decisions (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint NOT NULL REFERENCES runs,
    kind        text NOT NULL CHECK (kind IN ('release', 'cancel')),
    decided_by  text NOT NULL,
    reason      text NOT NULL,
    decided_at  timestamptz NOT NULL,
    UNIQUE (decision_id, run_id, kind),
    CONSTRAINT somebody_for_a_reason CHECK (btrim(decided_by) <> '' AND btrim(reason) <> '')
);
COMMENT ON TABLE run_decisions IS 'What people decided on a run: who, when, why';
-- Two people are two names, however they are written.
CREATE UNIQUE INDEX one_release_a_person ON run_decisions (run_id, lower(btrim(decided_by))) WHERE kind = 'release';
CREATE UNIQUE INDEX cancelled_once ON run_decisions (run_id) WHERE kind = 'cancel';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON run_decisions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE runs
    ADD COLUMN hold_reasons text[] NOT NULL DEFAULT '{}'
        CONSTRAINT runs_hold_reasons_check CHECK (hold_reasons <@ ARRAY['count_deviates', 'sum_deviates', 'first_of_year']),
    ADD COLUMN compared_with bigint REFERENCES runs,
    ADD COLUMN releases_needed smallint NOT NULL DEFAULT 1 CHECK (releases_needed IN (1, 2)),
    ADD COLUMN cancellation bigint,
    ADD COLUMN cancellation_kind text GENERATED ALWAYS AS (CASE WHEN cancellation IS NOT NULL THEN 'cancel' END) STORED,
    ADD COLUMN cancelled_at timestamptz,
    DROP CONSTRAINT runs_state_check,
    DROP CONSTRAINT planned_when_it_says_so,
    DROP CONSTRAINT sealed_when_it_says_so,
    ADD CONSTRAINT runs_state_check CHECK (state IN ('planning', 'held', 'planned', 'sealed', 'sent', 'settling', 'closed', 'cancelled')),
    ADD CONSTRAINT planned_when_it_says_so CHECK (state = 'cancelled' OR (state <> 'planning') = (planned_at IS NOT NULL)),
    ADD CONSTRAINT sealed_when_it_says_so CHECK ((state NOT IN ('planning', 'held', 'planned', 'cancelled')) = (sealed_at IS NOT NULL)),
    ADD CONSTRAINT held_for_a_reason CHECK (state <> 'held' OR hold_reasons <> '{}'),
    ADD CONSTRAINT cancelled_when_it_says_so CHECK ((state = 'cancelled') = (cancelled_at IS NOT NULL)),
    ADD CONSTRAINT cancelled_by_a_decision CHECK (state <> 'cancelled' OR cancellation IS NOT NULL),
    -- From the decision on, not only when the last attempt is withdrawn.
    ADD CONSTRAINT what_is_cancelled_is_not_sealed CHECK (sealed_at IS NULL OR cancellation IS NULL),
    ADD CONSTRAINT cancelled_by_its_own_decision FOREIGN KEY (cancellation, run_id, cancellation_kind)
        REFERENCES run_decisions (decision_id, run_id, kind);
COMMENT ON COLUMN runs.hold_reasons IS 'Why it waits, or waited, for a person';
COMMENT ON COLUMN runs.compared_with IS 'The run of the schedule before it, whose figures it was compared with';
COMMENT ON COLUMN runs.releases_needed IS 'How many people have to release it; as configured when it was held';
COMMENT ON COLUMN runs.cancellation IS 'The decision to cancel it: its attempts are being withdrawn, then it is cancelled';

-- Forward only, step by step: held goes back to planned when as many people as needed have released it, and a run is
-- cancelled when none of its attempts is planned any more.
CREATE OR REPLACE FUNCTION runs_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
            ('planning', 'planned'), ('planning', 'held'), ('planning', 'cancelled'), ('held', 'planned'), ('held', 'cancelled'),
            ('planned', 'sealed'), ('planned', 'cancelled'), ('sealed', 'sent'), ('sent', 'settling'), ('sent', 'closed'), ('settling', 'closed')))
        OR NEW.lease_epoch < OLD.lease_epoch
        OR (OLD.cancellation IS NOT NULL AND OLD.cancellation IS DISTINCT FROM NEW.cancellation)
        OR (OLD.state <> 'planning' AND (OLD.hold_reasons, OLD.compared_with, OLD.releases_needed)
            IS DISTINCT FROM (NEW.hold_reasons, NEW.compared_with, NEW.releases_needed))
        OR (OLD.schedule, OLD.business_date, OLD.slot, OLD.insurance_type, OLD.valid_year, OLD.period_from, OLD.period_to)
            IS DISTINCT FROM (NEW.schedule, NEW.business_date, NEW.slot, NEW.insurance_type, NEW.valid_year, NEW.period_from, NEW.period_to) THEN
        RAISE EXCEPTION 'a run does not change like that' USING ERRCODE = 'check_violation', CONSTRAINT = 'runs_move_forward';
    END IF;
    IF OLD.state = 'held' AND NEW.state = 'planned' AND NEW.releases_needed > (
            SELECT count(*) FROM run_decisions WHERE run_id = NEW.run_id AND kind = 'release') THEN
        RAISE EXCEPTION 'a held run is released by people' USING ERRCODE = 'check_violation', CONSTRAINT = 'released_by_people';
    END IF;
    IF OLD.state <> 'cancelled' AND NEW.state = 'cancelled' AND EXISTS (
            SELECT FROM attempts WHERE run_id = NEW.run_id AND state <> 'withdrawn'
                AND order_no >= 'P' || lpad(NEW.run_id::text, 7, '0') AND order_no < 'P' || lpad((NEW.run_id + 1)::text, 7, '0')) THEN
        RAISE EXCEPTION 'a cancelled run leaves no attempt' USING ERRCODE = 'check_violation', CONSTRAINT = 'a_cancelled_run_leaves_no_attempt';
    END IF;
    RETURN NEW;
END $$;

-- A run that waits or is cancelled has no request files, whoever writes them.
CREATE FUNCTION files_are_of_runs_that_go_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows f JOIN runs r ON r.run_id = f.run_id
               WHERE r.state IN ('planning', 'held', 'cancelled') OR r.cancellation IS NOT NULL) THEN
        RAISE EXCEPTION 'a run that is not planned, waits or is cancelled has no files'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'files_are_of_runs_that_go_on';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER are_of_runs_that_go_on AFTER INSERT ON request_files REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION files_are_of_runs_that_go_on();

-- People decide on what waits for them, and while nothing has left the house.
CREATE FUNCTION runs_are_decided_on_in_time() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    run runs%ROWTYPE;
BEGIN
    SELECT * INTO run FROM runs WHERE run_id = NEW.run_id FOR UPDATE;
    IF run.cancellation IS NOT NULL OR (NEW.kind = 'release' AND run.state <> 'held')
        OR (NEW.kind = 'cancel' AND run.state NOT IN ('planning', 'held', 'planned')) THEN
        RAISE EXCEPTION 'a % comes too late for a run that is %', NEW.kind, run.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'runs_are_decided_on_in_time';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decided_in_time BEFORE INSERT ON run_decisions FOR EACH ROW EXECUTE FUNCTION runs_are_decided_on_in_time();
