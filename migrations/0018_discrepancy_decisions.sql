-- What people decide on discrepancies, what rests on it, and money that went back: reversals.

-- Kinds that no row of a result file is: what is missing, and refunds that a person has to look at. What is missing rests
-- on no file and no message, but on time.
ALTER TABLE discrepancies DROP CONSTRAINT discrepancies_kind_check,
    ADD CONSTRAINT discrepancies_kind_check CHECK (kind IN ('unknown_order', 'amount_differs', 'contradiction', 'unknown_code',
        'double_payment', 'paid_after_void', 'unparsable_row', 'name_reused', 'partial_refund', 'refund_abnormal', 'result_missing',
        'not_in_bill', 'file_missing')),
    DROP CONSTRAINT opened_on_evidence,
    ADD CONSTRAINT opened_on_evidence CHECK (CASE
        WHEN result_file_id IS NOT NULL THEN num_nonnulls(message_source, message_id) = 0
        WHEN kind IN ('result_missing', 'not_in_bill', 'file_missing') THEN num_nonnulls(message_source, message_id, line_no) = 0
        ELSE num_nonnulls(message_source, message_id) = 2 END),
    ADD COLUMN settled_at  timestamptz,
    ADD COLUMN sequence    bigint NOT NULL DEFAULT 1 CHECK (sequence > 0),
    ADD COLUMN decision_id bigint,
    ADD CONSTRAINT resolved_by_a_decision CHECK (state = 'open' OR decision_id IS NOT NULL);
COMMENT ON COLUMN discrepancies.settled_at IS 'The gateway''s time of the money, as far as the row or report says so';
COMMENT ON COLUMN discrepancies.sequence IS 'Of the last event about it';
COMMENT ON COLUMN discrepancies.decision_id IS 'The last decision on it: that it is resolved, or open again';
CREATE INDEX discrepancies_to_resolve ON discrepancies (gateway, opened_at) WHERE state = 'open';

CREATE TABLE discrepancy_decisions (
    decision_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    discrepancy_id bigint NOT NULL REFERENCES discrepancies,
    kind           text NOT NULL,
    what           text NOT NULL,
    order_no       text COLLATE "C",
    decided_by     text NOT NULL,
    second_by      text,
    reason         text NOT NULL,
    decided_at     timestamptz NOT NULL,
    UNIQUE (decision_id, discrepancy_id),
    CONSTRAINT somebody_for_a_reason CHECK (btrim(decided_by) <> '' AND btrim(reason) <> '' AND btrim(second_by) <> ''),
    -- Two people are two names, however they are written.
    CONSTRAINT two_different_people CHECK (lower(btrim(second_by)) <> lower(btrim(decided_by))),
    CONSTRAINT an_order_is_attached_to CHECK ((what = 'attach') = (order_no IS NOT NULL)),
    CONSTRAINT a_decision_fits_its_kind CHECK (what = 'reopen' OR CASE
        WHEN kind = 'unknown_order' THEN what IN ('attach', 'refund', 'write_off')
        WHEN kind IN ('amount_differs', 'partial_refund') THEN what IN ('accept_gateway', 'failed', 'keep_waiting')
        WHEN kind IN ('contradiction', 'unknown_code', 'result_missing', 'not_in_bill')
            THEN what IN ('accept_success', 'accept_failure', 'keep_waiting')
        WHEN kind IN ('double_payment', 'paid_after_void') THEN what IN ('refund', 'keep')
        WHEN kind IN ('unparsable_row', 'refund_abnormal', 'file_missing', 'name_reused') THEN what IN ('corrected', 'write_off')
        ELSE false END)
);
COMMENT ON TABLE discrepancy_decisions IS 'What people decided on discrepancies: who, when, why, and who else where two are needed. Evidence like a result row; never changed';
COMMENT ON COLUMN discrepancy_decisions.kind IS 'Of the discrepancy: what may be decided depends on it';
COMMENT ON COLUMN discrepancy_decisions.what IS 'The decision, or `reopen`';
COMMENT ON COLUMN discrepancy_decisions.order_no IS 'attach: the order of ours that the money is for';
COMMENT ON COLUMN discrepancy_decisions.second_by IS 'The second person, who has looked at it, too';
CREATE INDEX discrepancy_decisions_of ON discrepancy_decisions (discrepancy_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON discrepancy_decisions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE discrepancies ADD CONSTRAINT rests_on_its_own_decision
    FOREIGN KEY (decision_id, discrepancy_id) REFERENCES discrepancy_decisions (decision_id, discrepancy_id);

-- What is open is decided on once, what is resolved is reopened, each under the kind it has.
CREATE FUNCTION discrepancies_are_decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    decided discrepancies%ROWTYPE;
BEGIN
    SELECT * INTO decided FROM discrepancies WHERE discrepancy_id = NEW.discrepancy_id FOR UPDATE;
    IF decided.kind IS DISTINCT FROM NEW.kind OR (decided.state = 'open') IS DISTINCT FROM (NEW.what <> 'reopen') THEN
        RAISE EXCEPTION 'a % does not fit a discrepancy that is %', NEW.what, decided.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'discrepancies_are_decided_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decided_once BEFORE INSERT ON discrepancy_decisions FOR EACH ROW EXECUTE FUNCTION discrepancies_are_decided_once();

-- What they said stays as it came; open and resolved follow from the last decision.
CREATE FUNCTION discrepancies_follow_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.kind, OLD.gateway, OLD.bank_code, OLD.result_file_id, OLD.line_no, OLD.message_source, OLD.message_id, OLD.amount_theirs,
        OLD.code, OLD.gateway_txn_no, OLD.settled_at, OLD.opened_at)
            IS DISTINCT FROM (NEW.kind, NEW.gateway, NEW.bank_code, NEW.result_file_id, NEW.line_no, NEW.message_source, NEW.message_id,
                NEW.amount_theirs, NEW.code, NEW.gateway_txn_no, NEW.settled_at, NEW.opened_at)
        OR NEW.sequence < OLD.sequence
        OR (OLD.decision_id IS DISTINCT FROM NEW.decision_id) IS DISTINCT FROM (OLD.state <> NEW.state) THEN
        RAISE EXCEPTION 'a discrepancy does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'discrepancies_follow_decisions';
    END IF;
    IF OLD.state <> NEW.state AND NOT EXISTS (
            SELECT FROM discrepancy_decisions d
            WHERE d.decision_id = NEW.decision_id AND d.discrepancy_id = NEW.discrepancy_id
              AND d.decision_id > COALESCE(OLD.decision_id, 0) AND (d.what = 'reopen') = (NEW.state = 'open')) THEN
        RAISE EXCEPTION 'a discrepancy is resolved and reopened by people'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'discrepancies_follow_decisions';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER follow_decisions BEFORE UPDATE ON discrepancies FOR EACH ROW EXECUTE FUNCTION discrepancies_follow_decisions();

-- A settlement may rest on a decision.
ALTER TABLE settlements ADD COLUMN decision_id bigint REFERENCES discrepancy_decisions,
    DROP CONSTRAINT settled_on_evidence,
    ADD CONSTRAINT settled_on_evidence CHECK (
        num_nonnulls(result_file_id, line_no) IN (0, 2) AND num_nonnulls(message_source, message_id) IN (0, 2)
        AND num_nonnulls(line_no, message_id, decision_id) = 1) NOT VALID;
COMMENT ON COLUMN settlements.decision_id IS 'The decision of a person that it rests on';

-- Money that went back. A settlement is reversed once and whole; the settlement itself stays.
CREATE TABLE reversals (
    order_no             text COLLATE "C" NOT NULL,
    payer_id             text COLLATE "C" NOT NULL,
    item                 smallint NOT NULL,
    declaration_no       text COLLATE "C" NOT NULL,
    result_file_id       bigint,
    line_no              bigint,
    decision_id          bigint REFERENCES discrepancy_decisions,
    gateway_txn_no       text,
    reversed_at          timestamptz NOT NULL,
    booked_at            timestamptz NOT NULL,
    sequence             bigint NOT NULL,
    declaration_sequence bigint NOT NULL,
    CONSTRAINT a_settlement_is_reversed_once PRIMARY KEY (order_no, payer_id, item),
    CONSTRAINT reverses_a_settlement FOREIGN KEY (order_no, payer_id, item) REFERENCES settlements (order_no, payer_id, item),
    CONSTRAINT reversed_on_evidence CHECK (num_nonnulls(result_file_id, line_no) IN (0, 2) AND num_nonnulls(line_no, decision_id) = 1)
);
COMMENT ON TABLE reversals IS '冲正: settlements whose money went back, by a row of a result file or a person''s decision. Append-only; their attempts and declarations are `reversed`';
COMMENT ON COLUMN reversals.gateway_txn_no IS 'The gateway''s number of the refund, where it has one of its own';
COMMENT ON COLUMN reversals.reversed_at IS 'The gateway''s time, or that of the decision';
COMMENT ON COLUMN reversals.sequence IS 'Of the event payment.reversed';
COMMENT ON COLUMN reversals.declaration_sequence IS 'Of the event declaration.reversed';
CREATE INDEX reversals_of_a_payer ON reversals (payer_id);
CREATE INDEX reversals_of_a_file ON reversals (result_file_id, line_no) WHERE result_file_id IS NOT NULL;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reversals FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE VIEW standing_settlements AS
SELECT s.* FROM settlements s
WHERE NOT EXISTS (SELECT FROM reversals r WHERE r.order_no = s.order_no AND r.payer_id = s.payer_id AND r.item = s.item);
COMMENT ON VIEW standing_settlements IS 'What is paid: settlements that are not reversed';

-- Unlike `sent` and `succeeded`, `reversed` is stored: it is rare, and the guards have to let a new declaration through.
ALTER TABLE attempts
    DROP CONSTRAINT attempts_state_check,
    DROP CONSTRAINT sent_is_stored_of_online_payments,
    ADD CONSTRAINT attempts_state_check CHECK (state IN ('planned', 'sent', 'withdrawn', 'failed', 'unknown', 'reversed')) NOT VALID,
    ADD CONSTRAINT sent_is_stored_of_online_payments CHECK (CASE WHEN run_id IS NULL THEN state IN ('sent', 'failed', 'unknown', 'reversed')
        ELSE state <> 'sent' END) NOT VALID;
ALTER TABLE declarations
    DROP CONSTRAINT declarations_state_check,
    ADD CONSTRAINT declarations_state_check CHECK (state IN ('awaiting_enrolment', 'payable', 'paying', 'voided', 'rejected', 'reversed')) NOT VALID;
-- A reversed declaration is the end of it: the obligation may be declared anew.
DROP INDEX one_live_declaration;
CREATE UNIQUE INDEX one_live_declaration ON declarations
    (payer_id, insurance_type, period_from, period_to, kind, assessment_no)
    WHERE state NOT IN ('voided', 'rejected', 'reversed');

-- As before, and: a settled attempt becomes `reversed` with the reversal of its settlement; one that has failed is open
-- again only by a person's decision about its order that it has succeeded.
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
    EXECUTE 'SELECT EXISTS (SELECT FROM new_rows n JOIN settlements s USING (order_no, payer_id, item) WHERE n.state <> ''reversed'')' INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a settled attempt does not change'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'what_is_settled_does_not_change';
    END IF;
    RETURN NULL;
END $$;

-- As before, and: a paid declaration is reversed with its settlement; a voided one comes back only for money that a
-- person has found to have moved for it.
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

-- Whoever writes a reversal takes the attempt and the declaration along, in the same transaction.
CREATE FUNCTION reversals_take_their_attempts_along() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
            SELECT FROM attempts a JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
            WHERE a.order_no = NEW.order_no AND a.payer_id = NEW.payer_id AND a.item = NEW.item
              AND a.declaration_no = NEW.declaration_no AND a.state = 'reversed' AND d.state = 'reversed') THEN
        RAISE EXCEPTION 'a reversal leaves no paid attempt or declaration'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'reversals_take_their_attempts_along';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER take_their_attempts_along AFTER INSERT ON reversals DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION reversals_take_their_attempts_along();

CREATE OR REPLACE VIEW attempt_status AS
SELECT a.order_no, a.payer_id, a.item, a.run_id, a.lane, a.declaration_no, a.agreement_no, a.amount, a.withdrawal,
       CASE WHEN a.state = 'reversed' THEN 'reversed'
            WHEN s.order_no IS NOT NULL THEN 'succeeded'
            WHEN a.state = 'planned' AND f.state = 'delivered' THEN 'sent'
            ELSE a.state END AS status,
       f.file_name, s.settled_at, s.gateway_txn_no
FROM attempts a
LEFT JOIN settlements s USING (order_no, payer_id, item)
LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane
    AND a.order_no BETWEEN f.first_order_no AND f.last_order_no;
COMMENT ON VIEW attempt_status IS 'Attempts under the names of the rule book, the derived ones included';
