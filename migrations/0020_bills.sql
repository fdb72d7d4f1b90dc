-- What a gateway's bill does to the book: payments it confirms, refunds it lists, days it covers, and what its silence says.

ALTER TABLE result_files ADD COLUMN is_bill boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN result_files.is_bill IS 'A gateway''s bill or ledger, not the answer to a request file';
COMMENT ON COLUMN result_files.booked_through IS 'The last line that is booked; whoever goes on begins behind it. In a bill lines that wait for others, such as refunds, have places behind the last line';

-- An order has one outcome by a line, for each of its declarations a row.
ALTER TABLE attempt_outcomes ADD COLUMN item smallint NOT NULL DEFAULT 1 CHECK (item > 0),
    DROP CONSTRAINT attempt_outcomes_pkey, ADD PRIMARY KEY (result_file_id, line_no, payer_id, item);
ALTER TABLE discrepancies ADD COLUMN item smallint NOT NULL DEFAULT 1 CHECK (item > 0),
    DROP CONSTRAINT one_outcome_a_row, ADD CONSTRAINT one_outcome_a_row UNIQUE (result_file_id, line_no, item),
    ADD COLUMN day date,
    ADD COLUMN evidence text,
    ADD CONSTRAINT a_missing_file_is_of_a_day CHECK ((kind = 'file_missing') = (day IS NOT NULL)),
    DROP CONSTRAINT resolved_by_a_decision,
    ADD CONSTRAINT resolved_by_a_decision CHECK (state = 'open' OR num_nonnulls(decision_id, evidence) > 0);
COMMENT ON COLUMN discrepancies.item IS 'Its declaration''s place in the order, where each of them has a discrepancy of its own';
COMMENT ON COLUMN discrepancies.day IS 'file_missing: the day whose bill has not come';
COMMENT ON COLUMN discrepancies.evidence IS 'What came later and has resolved it without a person: result_file:<id>, result_file:<id>#<line> or message:<source>/<id>';
CREATE UNIQUE INDEX a_file_is_missed_once ON discrepancies (gateway, day) WHERE kind = 'file_missing';
CREATE UNIQUE INDEX an_absence_is_noticed_once ON discrepancies (kind, order_no, payer_id, item) WHERE kind IN ('result_missing', 'not_in_bill');
-- A bill names money by its transaction, too.
CREATE INDEX discrepancies_of_a_transaction ON discrepancies (gateway_txn_no) WHERE gateway_txn_no IS NOT NULL;

-- As before, and: what is missing, or of an order that was not known, is resolved by evidence when that comes.
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

CREATE TABLE confirmations (
    order_no       text COLLATE "C" NOT NULL,
    payer_id       text COLLATE "C" NOT NULL,
    gateway        text NOT NULL,
    bank_code      text NOT NULL,
    amount         numeric(14,2) NOT NULL CHECK (amount > 0),
    gateway_txn_no text COLLATE "C",
    settled_at     timestamptz,
    result_file_id bigint NOT NULL REFERENCES result_files,
    line_no        bigint NOT NULL,
    booked_at      timestamptz NOT NULL,
    sequence       bigint NOT NULL,
    CONSTRAINT an_order_is_confirmed_once PRIMARY KEY (order_no, payer_id),
    CONSTRAINT a_line_confirms_once UNIQUE (result_file_id, line_no),
    CONSTRAINT a_transaction_confirms_once UNIQUE (gateway, bank_code, gateway_txn_no)
);
COMMENT ON TABLE confirmations IS 'Settlements that the gateway''s bill has, too: what a channel reported is then confirmed. Append-only; of a payment that a bill settled the settlement itself says so';
COMMENT ON COLUMN confirmations.amount IS 'Of the whole order';
COMMENT ON COLUMN confirmations.gateway_txn_no IS 'As the bill has it; the report may have come without';
COMMENT ON COLUMN confirmations.settled_at IS 'The gateway''s time';
COMMENT ON COLUMN confirmations.sequence IS 'Of the event payment.confirmed; of a deduction that of the last one before';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON confirmations FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A confirmation rests on the settlement of its order, for its very sum and transaction.
CREATE FUNCTION confirmations_rest_on_settlements() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken boolean;
BEGIN
    EXECUTE $q$
        SELECT EXISTS (
            SELECT FROM new_rows c
            LEFT JOIN LATERAL (SELECT sum(s.amount) AS amount, min(s.gateway) AS gateway, min(s.bank_code) AS bank_code,
                                      min(s.gateway_txn_no) AS gateway_txn_no
                               FROM settlements s WHERE s.order_no = c.order_no AND s.payer_id = c.payer_id) s ON true
            WHERE (s.amount, s.gateway, s.bank_code) IS DISTINCT FROM (c.amount, c.gateway, c.bank_code)
               OR s.gateway_txn_no <> c.gateway_txn_no)
    $q$ INTO broken;
    IF broken THEN
        RAISE EXCEPTION 'a confirmation does not rest on a settlement of its amount'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'confirmations_rest_on_settlements';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER rest_on_settlements AFTER INSERT ON confirmations REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION confirmations_rest_on_settlements();

CREATE TABLE refunds (
    gateway        text NOT NULL,
    bank_code      text NOT NULL,
    refund_no      text COLLATE "C" NOT NULL,
    state          text NOT NULL CHECK (state IN ('succeeded', 'processing', 'failed', 'abnormal')),
    order_no       text COLLATE "C" NOT NULL,
    gateway_txn_no text COLLATE "C",
    amount         numeric(14,2) NOT NULL CHECK (amount >= 0),
    refunded_at    timestamptz,
    result_file_id bigint NOT NULL REFERENCES result_files,
    line_no        bigint NOT NULL,
    booked_at      timestamptz NOT NULL,
    CONSTRAINT a_refund_is_in_a_state_once PRIMARY KEY (gateway, bank_code, refund_no, state)
);
COMMENT ON TABLE refunds IS '退款: refunds as bills list them, each state of each once. Append-only; what went back whole has a reversal';
COMMENT ON COLUMN refunds.order_no IS 'Of the payment, as the gateway names it';
COMMENT ON COLUMN refunds.gateway_txn_no IS 'Of the payment';
CREATE INDEX refunds_of_an_order ON refunds (order_no) WHERE state = 'succeeded';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON refunds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE bill_days (
    gateway        text NOT NULL,
    day            date NOT NULL,
    result_file_id bigint NOT NULL REFERENCES result_files,
    PRIMARY KEY (gateway, day, result_file_id)
);
COMMENT ON TABLE bill_days IS 'Days of Beijing of which a gateway''s applied bills have every payment: what they lack did not succeed on them';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bill_days FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE FUNCTION bill_days_are_of_applied_bills() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM result_files f
                   WHERE f.result_file_id = NEW.result_file_id AND f.gateway = NEW.gateway AND f.is_bill AND f.state = 'applied') THEN
        RAISE EXCEPTION 'only an applied bill covers a day'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'bill_days_are_of_applied_bills';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER of_applied_bills BEFORE INSERT ON bill_days FOR EACH ROW EXECUTE FUNCTION bill_days_are_of_applied_bills();

CREATE TABLE unpaid_orders (
    order_no  text COLLATE "C" PRIMARY KEY REFERENCES online_orders,
    first_day date NOT NULL,
    last_day  date NOT NULL CHECK (last_day >= first_day),
    booked_at timestamptz NOT NULL,
    sequence  bigint NOT NULL
);
COMMENT ON TABLE unpaid_orders IS 'Online orders that have failed because they expired and no bill of their days has them. Append-only';
COMMENT ON COLUMN unpaid_orders.first_day IS 'The bills of all days from here to last_day were applied';
COMMENT ON COLUMN unpaid_orders.sequence IS 'Of the event payment.failed';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON unpaid_orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Silence says nothing before the order has expired, nor of a day without its bill.
CREATE FUNCTION unpaid_orders_have_expired() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
            SELECT FROM online_orders o
            WHERE o.order_no = NEW.order_no
              AND (o.state <> 'started' OR o.expires_at >= NEW.booked_at
                   OR NEW.first_day > (o.started_at AT TIME ZONE 'Asia/Shanghai')::date
                   OR NEW.last_day < (o.expires_at AT TIME ZONE 'Asia/Shanghai')::date
                   OR EXISTS (SELECT FROM generate_series(NEW.first_day, NEW.last_day, interval '1 day') AS day
                              WHERE NOT EXISTS (SELECT FROM bill_days b WHERE b.gateway = o.gateway AND b.day = day::date)))) THEN
        RAISE EXCEPTION 'an order does not fail for bills that have not come'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'unpaid_orders_have_expired';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER have_expired BEFORE INSERT ON unpaid_orders FOR EACH ROW EXECUTE FUNCTION unpaid_orders_have_expired();

CREATE TABLE bills_expected_since (
    gateway text PRIMARY KEY,
    day     date NOT NULL
);
COMMENT ON TABLE bills_expected_since IS 'The first day whose bill is expected of a gateway: that on which a worker first expected any';

-- Online orders that are out, to be looked at when they expire.
CREATE INDEX attempts_online_open ON attempts (order_no) WHERE run_id IS NULL AND state IN ('sent', 'unknown');
-- What channels have reported, to be looked for in the bills.
CREATE INDEX settlements_reported ON settlements (settled_at) WHERE message_id IS NOT NULL;
