-- What no code may do, whoever it runs as: forbidden transitions, changed evidence, deleted money.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is not possible: its rows are evidence', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlements FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON attempt_outcomes FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON attempts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON declarations FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON amount_settings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON runs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON run_skips FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON request_files FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON result_files FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON discrepancies FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Without its void an older amount that is still on its way would be collected.
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON amount_voids FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON run_lanes FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- What came in is never lost: a message whose row is gone would be taken again.
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON messages FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON quarantine FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The set checks below are EXECUTEd, so that each call is planned for its own number of rows; a plan kept from a first
-- call of one row would loop over a million.

-- A settlement rests on a live attempt of a sealed run, with its very amount and declaration. One set check a
-- statement instead of a foreign key a row: on a million rows that is the difference between seconds and a minute.
CREATE FUNCTION settlements_rest_on_live_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken boolean;
BEGIN
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows s
            LEFT JOIN attempts a ON a.order_no = s.order_no AND a.payer_id = s.payer_id
                AND a.amount = s.amount AND a.declaration_no = s.declaration_no AND a.state IN ('planned', 'unknown')
            LEFT JOIN runs r ON r.run_id = a.run_id AND r.sealed_at IS NOT NULL
            WHERE r.run_id IS NULL)
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a settlement does not rest on a live attempt of its amount'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'settlements_rest_on_live_attempts';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER rests_on_live_attempts AFTER INSERT ON settlements REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION settlements_rest_on_live_attempts();

-- planned -> withdrawn | failed | unknown, unknown -> failed; nothing else of an attempt ever changes. What is in a
-- sealed file is not withdrawn, what is settled does not change.
CREATE FUNCTION attempts_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken boolean;
BEGIN
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows n LEFT JOIN old_rows o USING (order_no, payer_id)
            WHERE o.order_no IS NULL
               OR (o.run_id, o.lane, o.declaration_no, o.agreement_no, o.amount, o.declaration_sequence)
                    IS DISTINCT FROM (n.run_id, n.lane, n.declaration_no, n.agreement_no, n.amount, n.declaration_sequence)
               OR (o.state, n.state) NOT IN (('planned', 'withdrawn'), ('planned', 'failed'), ('planned', 'unknown'),
                                             ('unknown', 'failed'), ('unknown', 'unknown')))
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
    EXECUTE 'SELECT EXISTS (SELECT FROM new_rows n JOIN settlements s USING (order_no, payer_id))' INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a settled attempt does not change'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'what_is_settled_does_not_change';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER move_forward AFTER UPDATE ON attempts REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION attempts_move_forward();

-- A voided or rejected declaration never comes back, and none is voided or freed while an attempt to collect it is
-- live: the system voids a run-filed one only in the statement that withdraws or fails its attempt.
CREATE FUNCTION declarations_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken boolean;
BEGIN
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows n LEFT JOIN old_rows o USING (declaration_no, payer_id)
            WHERE o.declaration_no IS NULL
               OR (o.insurance_type, o.kind, o.period_from, o.period_to, o.assessment_no, o.amount, o.channel)
                    IS DISTINCT FROM (n.insurance_type, n.kind, n.period_from, n.period_to, n.assessment_no, n.amount, n.channel)
               OR (o.state <> n.state AND (o.state, n.state) NOT IN (
                    ('awaiting_enrolment', 'payable'), ('awaiting_enrolment', 'rejected'), ('awaiting_enrolment', 'voided'),
                    ('payable', 'paying'), ('payable', 'voided'), ('paying', 'payable'), ('paying', 'voided'))))
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a declaration does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'declarations_move_forward';
    END IF;
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows n JOIN attempts a ON a.payer_id = n.payer_id AND a.declaration_no = n.declaration_no
                AND a.state NOT IN ('failed', 'withdrawn', 'reversed')
            WHERE n.state IN ('voided', 'payable'))
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a declaration is not freed while an attempt to collect it is live'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'no_declaration_is_freed_under_a_live_attempt';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER move_forward AFTER UPDATE ON declarations REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION declarations_move_forward();

-- A file stays what it was cut as, its bytes stay what they were sealed as, and it only goes forward.
CREATE FUNCTION request_files_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (('open', 'sealed'), ('open', 'empty'), ('sealed', 'delivering'), ('delivering', 'delivering'), ('delivering', 'delivered'))
        OR (OLD.run_id, OLD.lane, OLD.part, OLD.gateway, OLD.bank_code, OLD.file_name, OLD.first_order_no, OLD.last_order_no)
            IS DISTINCT FROM (NEW.run_id, NEW.lane, NEW.part, NEW.gateway, NEW.bank_code, NEW.file_name, NEW.first_order_no, NEW.last_order_no)
        OR (OLD.sha256 IS NOT NULL AND (OLD.sha256, OLD.content, OLD.items, OLD.total) IS DISTINCT FROM (NEW.sha256, NEW.content, NEW.items, NEW.total)) THEN
        RAISE EXCEPTION 'a request file does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'request_files_move_forward';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER move_forward BEFORE UPDATE ON request_files FOR EACH ROW EXECUTE FUNCTION request_files_move_forward();

CREATE FUNCTION runs_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    states text[] := ARRAY['planning', 'planned', 'sealed', 'sent', 'settling', 'closed'];
BEGIN
    IF array_position(states, NEW.state) < array_position(states, OLD.state) OR NEW.lease_epoch < OLD.lease_epoch
        OR (OLD.schedule, OLD.business_date, OLD.slot, OLD.insurance_type, OLD.valid_year, OLD.period_from, OLD.period_to)
            IS DISTINCT FROM (NEW.schedule, NEW.business_date, NEW.slot, NEW.insurance_type, NEW.valid_year, NEW.period_from, NEW.period_to) THEN
        RAISE EXCEPTION 'a run does not change like that' USING ERRCODE = 'check_violation', CONSTRAINT = 'runs_move_forward';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER move_forward BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION runs_move_forward();

-- What was said stays as it was said: only what we made of it changes.
CREATE TRIGGER as_it_came BEFORE UPDATE ON result_files FOR EACH ROW
    WHEN ((OLD.sha256, OLD.content, OLD.gateway) IS DISTINCT FROM (NEW.sha256, NEW.content, NEW.gateway)
          OR (OLD.state = 'applied' AND (OLD.file_name, OLD.bank_code) IS DISTINCT FROM (NEW.file_name, NEW.bank_code)))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER as_it_came BEFORE UPDATE ON amount_settings FOR EACH ROW
    WHEN ((OLD.amount, OLD.channel) IS DISTINCT FROM (NEW.amount, NEW.channel)) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE ON run_skips FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE VIEW attempt_status AS
SELECT a.order_no, a.payer_id, a.run_id, a.lane, a.declaration_no, a.agreement_no, a.amount, a.withdrawal,
       CASE WHEN s.order_no IS NOT NULL THEN 'succeeded'
            WHEN a.state = 'planned' AND f.state = 'delivered' THEN 'sent'
            ELSE a.state END AS status,
       f.file_name, s.settled_at, s.gateway_txn_no
FROM attempts a
LEFT JOIN settlements s USING (order_no, payer_id)
LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane
    AND a.order_no BETWEEN f.first_order_no AND f.last_order_no;
COMMENT ON VIEW attempt_status IS 'Attempts under the names of the rule book, the derived ones included';
