-- Assessments, online orders, and messages that wait for more than an enrolment. An online order pays one or more
-- declarations of one payer, which succeed or fail together; each of them is an attempt like that of a run, under the
-- same guard.

CREATE TABLE assessments (
    payer_id       text COLLATE "C" NOT NULL,
    assessment_no  text COLLATE "C" NOT NULL,
    insurance_type text COLLATE "C" NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('back_payment', 'lump_sum', 'paid_on_behalf')),
    period_from    text COLLATE "C" NOT NULL CHECK (period_from ~ '^\d{6}$'),
    period_to      text COLLATE "C" NOT NULL CHECK (period_to ~ '^\d{6}$' AND period_to >= period_from),
    amount         numeric(14,2) NOT NULL CHECK (amount > 0),
    pay_by         date NOT NULL,
    status         text NOT NULL CHECK (status IN ('issued', 'withdrawn')),
    fact_time      timestamptz NOT NULL,
    fact_id        text COLLATE "C" NOT NULL,
    PRIMARY KEY (payer_id, assessment_no)
);
COMMENT ON TABLE assessments IS '特殊缴费核定, owned by the social-insurance agency; the newest known of each number';
COMMENT ON COLUMN assessments.pay_by IS 'Last day on which it may be declared and paid';

CREATE TABLE earlier_enrolments (
    payer_id       text COLLATE "C" NOT NULL,
    insurance_type text COLLATE "C" NOT NULL,
    fact_time      timestamptz NOT NULL,
    fact_id        text COLLATE "C" NOT NULL,
    division_code  text COLLATE "C" NOT NULL,
    category       text,
    PRIMARY KEY (payer_id, insurance_type, fact_time, fact_id)
);
COMMENT ON TABLE earlier_enrolments IS 'What was known of an enrolment before the newest word: an amount is judged by where the payer was insured when it was set';

-- A wait says what it waits for: enrolment/<payer>/<type>, assessment/<payer>/<number>, declaration/<number>, order/<number>.
DROP INDEX messages_waiting;
UPDATE messages m SET wait_for = 'assessment/' || m.payer_id || '/' || d.assessment_no
FROM declarations d JOIN enrolments e ON e.payer_id = d.payer_id AND e.insurance_type = d.insurance_type
WHERE m.outcome = 'waiting' AND d.payer_id = m.payer_id AND d.insurance_type = m.wait_for AND d.submitted_at = m.sent_at
  AND d.state = 'awaiting_enrolment' AND d.kind = 'special';
UPDATE messages SET wait_for = 'enrolment/' || payer_id || '/' || wait_for
WHERE outcome = 'waiting' AND wait_for NOT LIKE 'assessment/%';
CREATE INDEX messages_waiting ON messages (wait_for) WHERE outcome = 'waiting';
COMMENT ON COLUMN messages.wait_for IS 'What has not arrived: enrolment/<payer>/<type>, assessment/<payer>/<number>, declaration/<number> or order/<number>';
COMMENT ON COLUMN messages.payer_id IS 'Empty where the message names none and what it is about is not known';

-- The contribution base of freelancers holds from a month on.
ALTER TABLE amount_settings ADD COLUMN period_from text COLLATE "C" CHECK (period_from ~ '^\d{6}$');
COMMENT ON COLUMN amount_settings.period_from IS 'For base-rate types, whose amount is the contribution base: the first month it holds for';
DROP TRIGGER as_it_came ON amount_settings;
CREATE TRIGGER as_it_came BEFORE UPDATE ON amount_settings FOR EACH ROW
    WHEN ((OLD.amount, OLD.channel, OLD.period_from) IS DISTINCT FROM (NEW.amount, NEW.channel, NEW.period_from))
    EXECUTE FUNCTION refuse_change();

CREATE TABLE online_orders (
    order_no        text COLLATE "C" PRIMARY KEY,
    payer_id        text COLLATE "C" NOT NULL,
    gateway         text NOT NULL CHECK (gateway IN ('bank', 'alipay', 'wechat_pay', 'unionpay')),
    method          text NOT NULL CHECK (method IN ('agreement', 'alipay', 'wechat_pay', 'unionpay')),
    channel         text NOT NULL,
    acting_payer_id text COLLATE "C",
    items           smallint NOT NULL CHECK (items > 0),
    amount          numeric(14,2) NOT NULL CHECK (amount > 0),
    state           text NOT NULL CHECK (state IN ('started', 'refused')),
    code            text,
    started_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    sequence        bigint NOT NULL CHECK (sequence >= 0),
    CONSTRAINT a_refused_order_has_its_code CHECK ((state = 'refused') = (code IS NOT NULL))
);
COMMENT ON TABLE online_orders IS 'Online payments as the channels started them. What became of one follows from its attempts and settlements. A refused one is kept, so that its money is recognised if it comes all the same';
COMMENT ON COLUMN online_orders.payer_id IS 'Whose declarations it pays; empty for a refused order whose declarations are not known or of several payers';
COMMENT ON COLUMN online_orders.acting_payer_id IS 'Who pays, where it is somebody else';
COMMENT ON COLUMN online_orders.started_at IS 'The channel''s time';
COMMENT ON COLUMN online_orders.sequence IS 'Of the last event about the order; 0 for a refused one';

ALTER TABLE attempts ALTER COLUMN run_id DROP NOT NULL, ALTER COLUMN lane DROP NOT NULL, ALTER COLUMN agreement_no DROP NOT NULL,
    ADD COLUMN item smallint NOT NULL DEFAULT 1 CHECK (item > 0),
    DROP CONSTRAINT attempts_pkey, ADD PRIMARY KEY (order_no, payer_id, item),
    DROP CONSTRAINT attempts_state_check,
    ADD CONSTRAINT attempts_state_check CHECK (state IN ('planned', 'sent', 'withdrawn', 'failed', 'unknown')),
    ADD CONSTRAINT a_batch_order_is_one_declaration CHECK (run_id IS NULL OR item = 1),
    ADD CONSTRAINT a_deduction_has_its_run CHECK (num_nulls(run_id, lane, agreement_no) IN (0, 3)),
    -- An online payment is out from its start; of a deduction the delivered file says so.
    ADD CONSTRAINT sent_is_stored_of_online_payments CHECK (CASE WHEN run_id IS NULL THEN state IN ('sent', 'failed', 'unknown') ELSE state <> 'sent' END);
COMMENT ON TABLE attempts IS '扣款, 支付: one try to collect one declaration, in a run or in an online order. Of a deduction `sent` and `succeeded` are not stored: see attempt_status. No foreign keys: on a run of a million rows they cost a third; the statements that insert write both sides in one go';
COMMENT ON COLUMN attempts.order_no IS 'In a run P, run (7 digits), lane (3), number (8), ascending within a lane; else the channel''s';
COMMENT ON COLUMN attempts.run_id IS 'None for an online payment';
COMMENT ON COLUMN attempts.item IS 'Its place in the order; a batch order has one';

ALTER TABLE settlements ALTER COLUMN result_file_id DROP NOT NULL, ALTER COLUMN line_no DROP NOT NULL,
    ADD COLUMN item smallint NOT NULL DEFAULT 1,
    ADD COLUMN message_source text COLLATE "C", ADD COLUMN message_id text COLLATE "C",
    DROP CONSTRAINT settlements_pkey, ADD PRIMARY KEY (order_no, payer_id, item),
    -- A transaction pays one order, whole.
    DROP CONSTRAINT a_transaction_settles_once,
    ADD CONSTRAINT a_transaction_settles_once UNIQUE (gateway, bank_code, gateway_txn_no, item),
    ADD CONSTRAINT settled_on_evidence CHECK (num_nonnulls(result_file_id, line_no) = 2 AND num_nonnulls(message_source, message_id) = 0
        OR num_nonnulls(result_file_id, line_no) = 0 AND num_nonnulls(message_source, message_id) = 2);
COMMENT ON COLUMN settlements.bank_code IS 'Empty for an online payment';
COMMENT ON COLUMN settlements.message_id IS 'With message_source: the channel''s report it rests on; such a payment is reported, not yet confirmed by a bill';

ALTER TABLE discrepancies ALTER COLUMN result_file_id DROP NOT NULL,
    ADD COLUMN message_source text COLLATE "C", ADD COLUMN message_id text COLLATE "C",
    ADD CONSTRAINT opened_on_evidence CHECK (CASE WHEN result_file_id IS NULL THEN num_nonnulls(message_source, message_id) = 2
        ELSE num_nonnulls(message_source, message_id) = 0 END);
COMMENT ON COLUMN discrepancies.bank_code IS 'Empty for an online payment';
CREATE INDEX discrepancies_of_a_declaration ON discrepancies (declaration_no) WHERE state = 'open' AND declaration_no IS NOT NULL;

CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON online_orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON assessments FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER as_it_came BEFORE UPDATE ON online_orders FOR EACH ROW
    WHEN ((OLD.order_no, OLD.payer_id, OLD.gateway, OLD.method, OLD.channel, OLD.acting_payer_id, OLD.items, OLD.amount, OLD.state, OLD.code,
           OLD.started_at, OLD.expires_at)
          IS DISTINCT FROM (NEW.order_no, NEW.payer_id, NEW.gateway, NEW.method, NEW.channel, NEW.acting_payer_id, NEW.items, NEW.amount,
           NEW.state, NEW.code, NEW.started_at, NEW.expires_at))
    EXECUTE FUNCTION refuse_change();

-- All or none: an order that is started holds every one of its declarations, for its very sum. Each is its payer's, for
-- what was declared, and may be paid, unless the order has failed by now. Written after its attempts.
CREATE FUNCTION orders_hold_their_declarations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken boolean;
BEGIN
    SELECT EXISTS (
        SELECT FROM new_rows o
        LEFT JOIN LATERAL (SELECT count(*) AS items, sum(a.amount) AS amount FROM attempts a
                           WHERE a.order_no = o.order_no AND a.payer_id = o.payer_id AND a.run_id IS NULL) a ON true
        WHERE o.state = 'started' AND (a.items, a.amount) IS DISTINCT FROM (o.items::bigint, o.amount))
    INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'an order does not hold the declarations it pays'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_hold_their_declarations';
    END IF;
    SELECT EXISTS (
        SELECT FROM new_rows o
        JOIN attempts a ON a.order_no = o.order_no AND a.payer_id = o.payer_id AND a.run_id IS NULL
        LEFT JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id AND d.amount = a.amount
        WHERE o.state = 'started'
          AND (d.declaration_no IS NULL OR (a.state <> 'failed' AND d.state NOT IN ('payable', 'paying'))))
    INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'an order pays what was not declared so'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_pay_what_was_declared';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER hold_their_declarations AFTER INSERT ON online_orders REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION orders_hold_their_declarations();

-- As before, and: the settlement of an online payment rests on a started order, and an order settles whole.
CREATE OR REPLACE FUNCTION settlements_rest_on_live_attempts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken boolean;
BEGIN
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows s
            LEFT JOIN attempts a ON a.order_no = s.order_no AND a.payer_id = s.payer_id AND a.item = s.item
                AND a.amount = s.amount AND a.declaration_no = s.declaration_no AND a.state IN ('planned', 'sent', 'unknown')
            LEFT JOIN runs r ON r.run_id = a.run_id AND r.sealed_at IS NOT NULL
            LEFT JOIN online_orders o ON o.order_no = a.order_no AND o.payer_id = a.payer_id AND o.state = 'started' AND a.run_id IS NULL
            WHERE r.run_id IS NULL AND o.order_no IS NULL)
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a settlement does not rest on a live attempt of its amount'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'settlements_rest_on_live_attempts';
    END IF;
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM (SELECT DISTINCT order_no, payer_id FROM new_rows) s
            JOIN online_orders o ON o.order_no = s.order_no AND o.payer_id = s.payer_id
            WHERE o.items <> (SELECT count(*) FROM settlements t WHERE t.order_no = o.order_no AND t.payer_id = o.payer_id))
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'an order is settled whole or not at all'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'an_order_settles_whole';
    END IF;
    RETURN NULL;
END $$;

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
               OR (o.state, n.state) NOT IN (('planned', 'withdrawn'), ('planned', 'failed'), ('planned', 'unknown'),
                                             ('sent', 'failed'), ('sent', 'unknown'), ('unknown', 'failed'), ('unknown', 'unknown')))
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
    EXECUTE 'SELECT EXISTS (SELECT FROM new_rows n JOIN settlements s USING (order_no, payer_id, item))' INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a settled attempt does not change'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'what_is_settled_does_not_change';
    END IF;
    RETURN NULL;
END $$;

DROP VIEW attempt_status;
CREATE VIEW attempt_status AS
SELECT a.order_no, a.payer_id, a.item, a.run_id, a.lane, a.declaration_no, a.agreement_no, a.amount, a.withdrawal,
       CASE WHEN s.order_no IS NOT NULL THEN 'succeeded'
            WHEN a.state = 'planned' AND f.state = 'delivered' THEN 'sent'
            ELSE a.state END AS status,
       f.file_name, s.settled_at, s.gateway_txn_no
FROM attempts a
LEFT JOIN settlements s USING (order_no, payer_id, item)
LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane
    AND a.order_no BETWEEN f.first_order_no AND f.last_order_no;
COMMENT ON VIEW attempt_status IS 'Attempts under the names of the rule book, the derived ones included';
