-- An applied result file is put back: what it booked leaves the book for a place where it is kept, row by row, and the
-- book is as if the file had not come. Its bytes may then be applied again.

-- What a file changed in rows that stay, as they were before: written with what the file booked, for rows of earlier
-- versions not known.
ALTER TABLE attempt_outcomes ADD COLUMN state_before text CHECK (state_before IN ('planned', 'sent', 'unknown')),
    ADD COLUMN streak_before jsonb;
COMMENT ON COLUMN attempt_outcomes.state_before IS 'Of the attempt';
COMMENT ON COLUMN attempt_outcomes.streak_before IS 'The row of failure_streaks that this failure has counted on, {} if there was none; none where it is not counted';
ALTER TABLE reversals ADD COLUMN state_before text CHECK (state_before IN ('planned', 'sent', 'unknown'));
COMMENT ON COLUMN reversals.state_before IS 'Of the attempt, as it is stored: a success is not';
ALTER TABLE unpaid_orders ADD COLUMN state_before text CHECK (state_before IN ('sent', 'unknown'));
COMMENT ON COLUMN unpaid_orders.state_before IS 'Of its attempts';

CREATE TABLE result_file_undos (
    undo_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    result_file_id bigint NOT NULL REFERENCES result_files,
    file_name      text NOT NULL,
    rows           bigint NOT NULL,
    applied        bigint NOT NULL,
    repeated       bigint NOT NULL,
    discrepancies  bigint NOT NULL,
    not_ours       bigint NOT NULL,
    applied_at     timestamptz NOT NULL,
    decided_by     text NOT NULL,
    second_by      text,
    reason         text NOT NULL,
    decided_at     timestamptz NOT NULL,
    made_in        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT somebody_for_a_reason CHECK (btrim(decided_by) <> '' AND btrim(reason) <> '' AND btrim(second_by) <> ''),
    -- Two people are two names, however they are written.
    CONSTRAINT two_different_people CHECK (lower(btrim(second_by)) <> lower(btrim(decided_by)))
);
COMMENT ON TABLE result_file_undos IS 'Who put an applied result file back, when and why, with what it had come to; never changed';
COMMENT ON COLUMN result_file_undos.made_in IS 'The transaction: only in it do rows of the file leave the book';
CREATE INDEX result_file_undos_of ON result_file_undos (result_file_id);
CREATE INDEX result_file_undos_made_in ON result_file_undos (made_in);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON result_file_undos FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The undo that this transaction makes; none outside of one.
CREATE FUNCTION current_undo() RETURNS bigint LANGUAGE sql STABLE
RETURN (SELECT max(undo_id) FROM result_file_undos WHERE made_in = pg_current_xact_id_if_assigned());

-- What names a row within its table.
CREATE FUNCTION undone_key(kind text, gone jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE kind
    WHEN 'settlements' THEN (gone ->> 'order_no') || '/' || (gone ->> 'payer_id') || '/' || (gone ->> 'item')
    WHEN 'reversals' THEN (gone ->> 'order_no') || '/' || (gone ->> 'payer_id') || '/' || (gone ->> 'item')
    WHEN 'confirmations' THEN (gone ->> 'order_no') || '/' || (gone ->> 'payer_id')
    WHEN 'attempt_outcomes' THEN (gone ->> 'line_no') || '/' || (gone ->> 'payer_id') || '/' || (gone ->> 'item')
    WHEN 'unpaid_orders' THEN gone ->> 'order_no'
    WHEN 'refunds' THEN (gone ->> 'bank_code') || '/' || (gone ->> 'refund_no') || '/' || (gone ->> 'state')
    WHEN 'bill_days' THEN gone ->> 'day'
    WHEN 'discrepancies' THEN gone ->> 'discrepancy_id' END;

CREATE TABLE undone_rows (
    undo_id  bigint NOT NULL REFERENCES result_file_undos,
    kind     text NOT NULL CHECK (kind IN ('settlements', 'reversals', 'confirmations', 'attempt_outcomes', 'unpaid_orders', 'refunds',
        'bill_days', 'discrepancies')),
    row      jsonb NOT NULL,
    key      text COLLATE "C" NOT NULL GENERATED ALWAYS AS (undone_key(kind, row)) STORED,
    order_no text COLLATE "C" GENERATED ALWAYS AS (row ->> 'order_no') STORED,
    PRIMARY KEY (undo_id, kind, key)
);
COMMENT ON TABLE undone_rows IS 'What undone files had booked, as it stood in the book. Nothing leaves the book without being here';
COMMENT ON COLUMN undone_rows.kind IS 'The table that it stood in';
CREATE INDEX undone_rows_of_an_order ON undone_rows (undo_id, order_no) WHERE order_no IS NOT NULL;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON undone_rows FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE FUNCTION undone_rows_are_of_this_undo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows WHERE undo_id IS DISTINCT FROM (SELECT current_undo())) THEN
        RAISE EXCEPTION 'rows are undone in the transaction of their undo'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'undone_rows_are_of_this_undo';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER of_this_undo AFTER INSERT ON undone_rows REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION undone_rows_are_of_this_undo();

CREATE TABLE undone_orders (
    order_no        text COLLATE "C" NOT NULL,
    payer_id        text COLLATE "C" NOT NULL,
    undo_id         bigint NOT NULL REFERENCES result_file_undos,
    sequence_before bigint NOT NULL,
    sequence_after  bigint NOT NULL CHECK (sequence_after > sequence_before),
    PRIMARY KEY (order_no, payer_id, undo_id)
);
COMMENT ON TABLE undone_orders IS 'Of orders about which an undone file had said something: the events between the two were told of the file and of its undo, so that what was said before may be undone, too';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON undone_orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER of_this_undo AFTER INSERT ON undone_orders REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION undone_rows_are_of_this_undo();

-- A row leaves the book in the undo of its file, and only if the very same row is kept.
CREATE FUNCTION goes_only_undone() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    undo result_file_undos%ROWTYPE;
    broken boolean;
BEGIN
    SELECT * INTO undo FROM result_file_undos WHERE undo_id = current_undo();
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM (SELECT to_jsonb(o) AS gone FROM old_rows o) o
            LEFT JOIN undone_rows u ON u.undo_id = $1 AND u.kind = $2 AND u.key = undone_key($2, o.gone)
            WHERE u.row IS DISTINCT FROM o.gone OR (o.gone ? 'result_file_id' AND (o.gone ->> 'result_file_id')::bigint IS DISTINCT FROM $3))
    $q$ INTO broken USING undo.undo_id, TG_TABLE_NAME::text, undo.result_file_id;
    IF broken THEN
        RAISE EXCEPTION 'a row leaves % without being kept by the undo of its file', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', CONSTRAINT = 'goes_only_undone';
    END IF;
    RETURN NULL;
END $$;
DO $$
DECLARE
    book text;
BEGIN
    FOREACH book IN ARRAY ARRAY['settlements', 'reversals', 'confirmations', 'attempt_outcomes', 'unpaid_orders', 'refunds', 'bill_days'] LOOP
        EXECUTE format('DROP TRIGGER append_only ON %I', book);
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', book);
    END LOOP;
    DROP TRIGGER kept ON discrepancies;
    CREATE TRIGGER kept BEFORE TRUNCATE ON discrepancies FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
    FOREACH book IN ARRAY ARRAY['settlements', 'reversals', 'confirmations', 'attempt_outcomes', 'unpaid_orders', 'refunds', 'bill_days', 'discrepancies'] LOOP
        EXECUTE format('CREATE TRIGGER stays BEFORE DELETE ON %I FOR EACH STATEMENT WHEN (current_undo() IS NULL) EXECUTE FUNCTION refuse_change()', book);
        EXECUTE format('CREATE TRIGGER goes_only_undone AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION goes_only_undone()', book);
    END LOOP;
END $$;
CREATE INDEX refunds_of_a_file ON refunds (result_file_id);

-- An applied file is undone, and what was undone is applied anew like what was refused.
ALTER TABLE result_files DROP CONSTRAINT result_files_state_check,
    ADD CONSTRAINT result_files_state_check CHECK (state IN ('received', 'staged', 'applied', 'refused', 'undone'));
CREATE OR REPLACE FUNCTION result_files_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) = ('applied', 'undone') AND NEW.booked_through = 0 THEN
        IF NOT EXISTS (SELECT FROM result_file_undos WHERE undo_id = current_undo() AND result_file_id = NEW.result_file_id) THEN
            RAISE EXCEPTION 'a file is undone by people'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'files_are_undone_by_people';
        END IF;
    ELSIF (OLD.state, NEW.state) NOT IN (('received', 'received'), ('received', 'staged'), ('received', 'applied'), ('received', 'refused'),
                                      ('refused', 'refused'), ('refused', 'staged'), ('refused', 'applied'),
                                      ('undone', 'undone'), ('undone', 'staged'), ('undone', 'applied'), ('undone', 'refused'),
                                      ('staged', 'staged'), ('staged', 'applied'), ('applied', 'applied'))
        OR NEW.booked_through < OLD.booked_through THEN
        RAISE EXCEPTION 'a result file does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'result_files_move_forward';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION undone_files_were_applied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM result_files f WHERE f.result_file_id = NEW.result_file_id AND f.state = 'applied') OR current_undo() IS NOT NULL THEN
        RAISE EXCEPTION 'only an applied file is undone, one at a time'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'undone_files_were_applied';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER were_applied BEFORE INSERT ON result_file_undos FOR EACH ROW EXECUTE FUNCTION undone_files_were_applied();

-- At the commit nothing of the file is left in the book.
CREATE FUNCTION an_undo_is_whole() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM result_files WHERE result_file_id = NEW.result_file_id AND state = 'undone')
        OR EXISTS (SELECT FROM settlements WHERE result_file_id = NEW.result_file_id)
        OR EXISTS (SELECT FROM reversals WHERE result_file_id = NEW.result_file_id)
        OR EXISTS (SELECT FROM confirmations WHERE result_file_id = NEW.result_file_id)
        OR EXISTS (SELECT FROM attempt_outcomes WHERE result_file_id = NEW.result_file_id)
        OR EXISTS (SELECT FROM refunds WHERE result_file_id = NEW.result_file_id)
        OR EXISTS (SELECT FROM bill_days WHERE result_file_id = NEW.result_file_id)
        OR EXISTS (SELECT FROM discrepancies WHERE result_file_id = NEW.result_file_id) THEN
        RAISE EXCEPTION 'a file is undone whole or not at all' USING ERRCODE = 'check_violation', CONSTRAINT = 'an_undo_is_whole';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER is_whole AFTER INSERT ON result_file_undos DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION an_undo_is_whole();

-- As before, and: in an undo an attempt whose outcome is undone is out again, whatever it had become.
CREATE OR REPLACE FUNCTION attempts_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken boolean;
BEGIN
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows n LEFT JOIN old_rows o USING (order_no, payer_id, item)
            WHERE o.order_no IS NULL
               OR (o.run_id, o.lane, o.declaration_no, o.agreement_no, o.amount, o.declaration_sequence)
                    IS DISTINCT FROM (n.run_id, n.lane, n.declaration_no, n.agreement_no, n.amount, n.declaration_sequence)
               OR CASE
                    WHEN (o.state, n.state) IN (('planned', 'withdrawn'), ('planned', 'failed'), ('planned', 'unknown'),
                        ('sent', 'failed'), ('sent', 'unknown'), ('unknown', 'failed'), ('unknown', 'unknown')) THEN false
                    WHEN n.state = 'reversed' AND o.state IN ('planned', 'sent', 'unknown') THEN NOT EXISTS (
                        SELECT FROM reversals r WHERE r.order_no = n.order_no AND r.payer_id = n.payer_id AND r.item = n.item)
                    WHEN n.state IN ('planned', 'sent', 'unknown') AND o.state <> 'withdrawn' AND (SELECT current_undo()) IS NOT NULL THEN NOT EXISTS (
                        SELECT FROM undone_rows u WHERE u.undo_id = (SELECT current_undo()) AND u.order_no = n.order_no
                          AND u.kind IN ('settlements', 'reversals', 'attempt_outcomes', 'unpaid_orders'))
                    WHEN (o.state, n.state) = ('failed', 'unknown') THEN NOT EXISTS (
                        SELECT FROM discrepancies c JOIN discrepancy_decisions d USING (discrepancy_id)
                        WHERE c.order_no = n.order_no AND d.what = 'accept_success')
                    ELSE true END)
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'an attempt does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'attempts_move_forward';
    END IF;
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows n JOIN request_files f ON f.run_id = n.run_id AND f.lane = n.lane
                AND n.order_no BETWEEN f.first_order_no AND f.last_order_no AND f.state NOT IN ('open', 'empty')
            WHERE n.state = 'withdrawn')
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'an attempt in a sealed file is not withdrawn'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'what_is_sealed_is_not_withdrawn';
    END IF;
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows n JOIN settlements s USING (order_no, payer_id, item)
            WHERE n.state <> 'reversed' AND CASE WHEN (SELECT current_undo()) IS NULL THEN true ELSE NOT EXISTS (
                SELECT FROM undone_rows u WHERE u.undo_id = (SELECT current_undo()) AND u.kind = 'reversals' AND u.order_no = n.order_no) END)
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a settled attempt does not change'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'what_is_settled_does_not_change';
    END IF;
    RETURN NULL;
END $$;

-- As before, and: in an undo the declaration of an attempt that is out again is taken again, or paid as it was before
-- its reversal.
CREATE OR REPLACE FUNCTION declarations_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken boolean;
BEGIN
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows n LEFT JOIN old_rows o USING (declaration_no, payer_id)
            WHERE o.declaration_no IS NULL
               OR (o.insurance_type, o.kind, o.period_from, o.period_to, o.assessment_no, o.amount, o.channel)
                    IS DISTINCT FROM (n.insurance_type, n.kind, n.period_from, n.period_to, n.assessment_no, n.amount, n.channel)
               OR CASE
                    WHEN o.state = n.state OR (o.state, n.state) IN (
                        ('awaiting_enrolment', 'payable'), ('awaiting_enrolment', 'rejected'), ('awaiting_enrolment', 'voided'),
                        ('payable', 'paying'), ('payable', 'voided'), ('paying', 'payable'), ('paying', 'voided')) THEN false
                    WHEN (o.state, n.state) = ('paying', 'reversed') THEN NOT EXISTS (
                        SELECT FROM reversals r WHERE r.declaration_no = n.declaration_no AND r.payer_id = n.payer_id)
                    WHEN (o.state, n.state) IN (('voided', 'paying'), ('reversed', 'paying')) AND (SELECT current_undo()) IS NOT NULL THEN NOT EXISTS (
                        SELECT FROM attempts a JOIN undone_rows u ON u.undo_id = (SELECT current_undo()) AND u.order_no = a.order_no
                        WHERE a.payer_id = n.payer_id AND a.declaration_no = n.declaration_no
                          AND a.state NOT IN ('failed', 'withdrawn', 'reversed'))
                    WHEN (o.state, n.state) = ('voided', 'paying') THEN NOT EXISTS (
                        SELECT FROM attempts a JOIN discrepancies c USING (order_no) JOIN discrepancy_decisions d USING (discrepancy_id)
                        WHERE a.declaration_no = n.declaration_no AND a.payer_id = n.payer_id AND d.what = 'accept_success')
                    ELSE true END)
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a declaration does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'declarations_move_forward';
    END IF;
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows n JOIN attempts a ON a.payer_id = n.payer_id AND a.declaration_no = n.declaration_no
                AND a.state NOT IN ('failed', 'withdrawn', 'reversed')
            WHERE n.state IN ('voided', 'payable', 'reversed'))
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a declaration is not freed while an attempt to collect it is live'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'no_declaration_is_freed_under_a_live_attempt';
    END IF;
    RETURN NULL;
END $$;

-- As before, and: a run goes back when results of it are undone.
CREATE OR REPLACE FUNCTION runs_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
            ('planning', 'planned'), ('planning', 'held'), ('planning', 'cancelled'), ('held', 'planned'), ('held', 'cancelled'),
            ('planned', 'sealed'), ('planned', 'cancelled'), ('sealed', 'sent'), ('sent', 'settling'), ('sent', 'closed'), ('settling', 'closed'))
            AND NOT ((OLD.state, NEW.state) IN (('closed', 'settling'), ('closed', 'sent'), ('settling', 'sent')) AND EXISTS (
                SELECT FROM undone_rows u
                WHERE u.undo_id = current_undo() AND u.order_no >= 'P' || lpad(NEW.run_id::text, 7, '0')
                  AND u.order_no < 'P' || lpad((NEW.run_id + 1)::text, 7, '0'))))
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

-- As before, and: what a file had explained is open again when the file is undone.
CREATE OR REPLACE FUNCTION discrepancies_follow_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.kind, OLD.gateway, OLD.bank_code, OLD.result_file_id, OLD.line_no, OLD.item, OLD.message_source, OLD.message_id, OLD.amount_theirs,
        OLD.code, OLD.gateway_txn_no, OLD.settled_at, OLD.opened_at, OLD.day)
            IS DISTINCT FROM (NEW.kind, NEW.gateway, NEW.bank_code, NEW.result_file_id, NEW.line_no, NEW.item, NEW.message_source, NEW.message_id,
                NEW.amount_theirs, NEW.code, NEW.gateway_txn_no, NEW.settled_at, NEW.opened_at, NEW.day)
        OR NEW.sequence < OLD.sequence
        OR ((OLD.decision_id, OLD.evidence) IS DISTINCT FROM (NEW.decision_id, NEW.evidence)) IS DISTINCT FROM (OLD.state <> NEW.state)
        OR OLD.decision_id IS DISTINCT FROM NEW.decision_id AND OLD.evidence IS DISTINCT FROM NEW.evidence THEN
        RAISE EXCEPTION 'a discrepancy does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'discrepancies_follow_decisions';
    END IF;
    IF OLD.evidence IS DISTINCT FROM NEW.evidence THEN
        IF NEW.evidence IS NULL AND NEW.state = 'open' AND EXISTS (
                SELECT FROM result_file_undos u
                WHERE u.undo_id = current_undo() AND split_part(OLD.evidence, '#', 1) = 'result_file:' || u.result_file_id) THEN
            RETURN NEW;
        END IF;
        IF NEW.state <> 'resolved' OR NEW.evidence IS NULL
            OR NEW.kind NOT IN ('unknown_order', 'result_missing', 'not_in_bill', 'file_missing') THEN
            RAISE EXCEPTION 'a discrepancy of this kind is resolved by people'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'discrepancies_follow_decisions';
        END IF;
    ELSIF OLD.state <> NEW.state AND NOT EXISTS (
            SELECT FROM discrepancy_decisions d
            WHERE d.decision_id = NEW.decision_id AND d.discrepancy_id = NEW.discrepancy_id
              AND d.decision_id > COALESCE(OLD.decision_id, 0) AND (d.what = 'reopen') = (NEW.state = 'open')) THEN
        RAISE EXCEPTION 'a discrepancy is resolved and reopened by people'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'discrepancies_follow_decisions';
    END IF;
    RETURN NEW;
END $$;
