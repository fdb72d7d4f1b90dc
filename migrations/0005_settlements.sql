-- Where money moved, where it did not, and where they say otherwise.

CREATE TABLE settlements (
    order_no             text COLLATE "C" NOT NULL,
    payer_id             text COLLATE "C" NOT NULL,
    declaration_no       text COLLATE "C" NOT NULL,
    insurance_type       text COLLATE "C" NOT NULL,
    kind                 text NOT NULL,
    period_from          text COLLATE "C" NOT NULL,
    period_to            text COLLATE "C" NOT NULL,
    valid_year           smallint NOT NULL,
    amount               numeric(14,2) NOT NULL CHECK (amount > 0),
    channel              text NOT NULL,
    gateway              text NOT NULL,
    bank_code            text NOT NULL,
    gateway_txn_no       text,
    settled_at           timestamptz NOT NULL,
    result_file_id       bigint NOT NULL,
    line_no              bigint NOT NULL,
    booked_at            timestamptz NOT NULL,
    sequence             bigint NOT NULL,
    declaration_sequence bigint NOT NULL,
    amount_sequence      bigint,
    PRIMARY KEY (order_no, payer_id),
    CONSTRAINT a_transaction_settles_once UNIQUE (gateway, bank_code, gateway_txn_no)
);
COMMENT ON TABLE settlements IS '已缴费记录: the booked success of an attempt is the paid record. Append-only';
COMMENT ON COLUMN settlements.settled_at IS 'The gateway''s time';
COMMENT ON COLUMN settlements.sequence IS 'Of the event deduction.succeeded; payment.recorded has the next';
COMMENT ON COLUMN settlements.declaration_sequence IS 'Of the event declaration.paid';
COMMENT ON COLUMN settlements.amount_sequence IS 'Of the event amount.fulfilled; none where no amount was set';
CREATE INDEX settlements_of_a_payer ON settlements (payer_id, insurance_type, period_from);
CREATE INDEX settlements_of_a_file ON settlements (result_file_id, line_no);

CREATE TABLE attempt_outcomes (
    result_file_id       bigint NOT NULL,
    line_no              bigint NOT NULL,
    order_no             text COLLATE "C" NOT NULL,
    payer_id             text COLLATE "C" NOT NULL,
    class                text NOT NULL CHECK (class IN ('retryable', 'final', 'unknown')),
    code                 text NOT NULL,
    booked_at            timestamptz NOT NULL,
    sequence             bigint NOT NULL,
    declaration_sequence bigint,
    declaration_state    text CHECK (declaration_state IN ('payable', 'voided')),
    amount_sequence      bigint,
    tried_again          boolean NOT NULL,
    PRIMARY KEY (result_file_id, line_no, payer_id),
    CONSTRAINT only_a_failure_frees_its_declaration CHECK ((class = 'unknown') = (declaration_state IS NULL))
);
COMMENT ON TABLE attempt_outcomes IS 'Result rows that did not settle: failures, and what the gateway or we do not know. Append-only';
COMMENT ON COLUMN attempt_outcomes.declaration_state IS 'What became of the declaration';
COMMENT ON COLUMN attempt_outcomes.amount_sequence IS 'Of the event amount.held, where the failure is final';
CREATE INDEX attempt_outcomes_of_an_order ON attempt_outcomes (order_no);

CREATE TABLE discrepancies (
    discrepancy_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL CHECK (kind IN ('unknown_order', 'amount_differs', 'contradiction', 'unknown_code',
        'double_payment', 'paid_after_void', 'unparsable_row', 'name_reused')),
    gateway        text NOT NULL,
    bank_code      text NOT NULL,
    result_file_id bigint NOT NULL,
    line_no        bigint,
    order_no       text COLLATE "C",
    payer_id       text COLLATE "C",
    declaration_no text COLLATE "C",
    amount_ours    numeric(14,2),
    amount_theirs  numeric(14,2),
    code           text,
    gateway_txn_no text,
    detail         text,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved')),
    opened_at      timestamptz NOT NULL,
    CONSTRAINT one_outcome_a_row UNIQUE (result_file_id, line_no)
);
COMMENT ON TABLE discrepancies IS '差错: our book and theirs disagree; waits for a person';
CREATE INDEX discrepancies_of_an_order ON discrepancies (order_no);
CREATE INDEX discrepancies_open ON discrepancies (payer_id) WHERE state = 'open' AND payer_id IS NOT NULL;
