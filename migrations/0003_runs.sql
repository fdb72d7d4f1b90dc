-- Declarations, runs, and the attempts and skips that runs make. The guards against a double debit are here.

CREATE TABLE declarations (
    declaration_no text COLLATE "C" NOT NULL,
    payer_id       text COLLATE "C" NOT NULL,
    insurance_type text COLLATE "C" NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('normal', 'special')),
    period_from    text COLLATE "C" NOT NULL CHECK (period_from ~ '^\d{6}$'),
    period_to      text COLLATE "C" NOT NULL CHECK (period_to ~ '^\d{6}$' AND period_to >= period_from),
    assessment_no  text COLLATE "C" NOT NULL DEFAULT '',
    amount         numeric(14,2) NOT NULL CHECK (amount > 0),
    channel        text NOT NULL,
    collect_by     text NOT NULL CHECK (collect_by IN ('batch', 'online')),
    state          text NOT NULL CHECK (state IN ('awaiting_enrolment', 'payable', 'paying', 'voided', 'rejected')),
    setting_time   timestamptz,
    setting_id     text COLLATE "C",
    failed_runs    smallint NOT NULL DEFAULT 0 CHECK (failed_runs >= 0),
    hold_reason    text CHECK (hold_reason IN ('no_agreement')),
    submitted_at   timestamptz NOT NULL,
    sequence       bigint NOT NULL CHECK (sequence > 0),
    PRIMARY KEY (declaration_no, payer_id),
    CONSTRAINT a_run_files_on_a_setting CHECK ((channel = 'batch') = (setting_time IS NOT NULL AND setting_id IS NOT NULL)),
    CONSTRAINT an_assessment_is_special CHECK (kind = 'special' OR assessment_no = '')
);
COMMENT ON TABLE declarations IS '申报: the filed obligation. `paid` is not stored: it follows from the settlement';
COMMENT ON COLUMN declarations.setting_time IS 'With setting_id: the amount setting a run filed it on; another active one makes it void';
COMMENT ON COLUMN declarations.failed_runs IS 'Runs in which it failed for a reason that passes';
COMMENT ON COLUMN declarations.hold_reason IS 'After a final failure: not collected by a run until a new agreement comes';
COMMENT ON COLUMN declarations.sequence IS 'Of the last event about it that its row was changed with';
-- Negative, so that a state added later is live by default.
CREATE UNIQUE INDEX one_live_declaration ON declarations
    (payer_id, insurance_type, period_from, period_to, kind, assessment_no)
    WHERE state NOT IN ('voided', 'rejected');
CREATE INDEX declarations_held ON declarations (payer_id) WHERE hold_reason IS NOT NULL;
CREATE INDEX declarations_to_collect ON declarations (insurance_type, period_from, payer_id)
    WHERE state = 'payable' AND collect_by = 'batch';

CREATE TABLE runs (
    run_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule        text NOT NULL,
    business_date   date NOT NULL,
    slot            smallint NOT NULL CHECK (slot > 0),
    insurance_type  text COLLATE "C" NOT NULL,
    valid_year      smallint NOT NULL,
    period_from     text COLLATE "C" NOT NULL,
    period_to       text COLLATE "C" NOT NULL,
    retry_runs      smallint NOT NULL,
    state           text NOT NULL CHECK (state IN ('planning', 'planned', 'sealed', 'sent', 'settling', 'closed')),
    planned_through text COLLATE "C" NOT NULL DEFAULT '',
    candidates      bigint NOT NULL DEFAULT 0,
    attempts        bigint NOT NULL DEFAULT 0,
    attempts_total  numeric(18,2) NOT NULL DEFAULT 0,
    skips           bigint NOT NULL DEFAULT 0,
    withdrawn       bigint NOT NULL DEFAULT 0,
    sequence        bigint NOT NULL DEFAULT 0,
    lease_holder    text,
    lease_epoch     bigint NOT NULL DEFAULT 0,
    lease_until     timestamptz,
    created_at      timestamptz NOT NULL,
    planned_at      timestamptz,
    sealed_at       timestamptz,
    sent_at         timestamptz,
    closed_at       timestamptz,
    CONSTRAINT one_run_a_slot UNIQUE (schedule, business_date, slot),
    CONSTRAINT every_candidate_is_accounted_for CHECK (candidates = attempts + skips),
    CONSTRAINT planned_when_it_says_so CHECK ((state <> 'planning') = (planned_at IS NOT NULL)),
    CONSTRAINT sealed_when_it_says_so CHECK ((state NOT IN ('planning', 'planned')) = (sealed_at IS NOT NULL)),
    CONSTRAINT closed_when_it_says_so CHECK ((state = 'closed') = (closed_at IS NOT NULL))
);
COMMENT ON TABLE runs IS '批扣批次: one firing of one schedule';
COMMENT ON COLUMN runs.business_date IS 'The nominal date of the firing: it never shifts, so neither does the run''s identity';
COMMENT ON COLUMN runs.retry_runs IS 'In how many runs a deduction is tried that fails for a reason that passes; as configured when the run was made';
COMMENT ON COLUMN runs.planned_through IS 'The last payer judged: planning goes on behind it after a crash';
COMMENT ON COLUMN runs.sequence IS 'Of the last event about the run';
COMMENT ON COLUMN runs.lease_epoch IS 'Grows with every change of hands; whoever writes with an older one is refused';

CREATE TABLE run_lanes (
    run_id    bigint NOT NULL REFERENCES runs,
    lane      smallint NOT NULL CHECK (lane BETWEEN 1 AND 999),
    gateway   text NOT NULL,
    bank_code text NOT NULL,
    attempts  bigint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 99999999),
    PRIMARY KEY (run_id, lane),
    UNIQUE (run_id, gateway, bank_code)
);
COMMENT ON TABLE run_lanes IS 'One a bank: its order numbers ascend without gaps, so a request file is a range of them';

CREATE TABLE attempts (
    order_no             text COLLATE "C" NOT NULL,
    payer_id             text COLLATE "C" NOT NULL,
    run_id               bigint NOT NULL,
    lane                 smallint NOT NULL,
    declaration_no       text COLLATE "C" NOT NULL,
    agreement_no         text COLLATE "C" NOT NULL,
    amount               numeric(14,2) NOT NULL CHECK (amount > 0),
    state                text NOT NULL CHECK (state IN ('planned', 'withdrawn', 'failed', 'unknown')),
    withdrawal           text CHECK (withdrawal IN ('voided', 'setting_changed', 'no_agreement', 'enrolment_closed', 'unencodable', 'cancelled')),
    declaration_sequence bigint NOT NULL,
    sequence             bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (order_no, payer_id),
    CONSTRAINT a_withdrawal_has_its_reason CHECK ((state = 'withdrawn') = (withdrawal IS NOT NULL))
);
COMMENT ON TABLE attempts IS '扣款: one try to collect one declaration. `sent` and `succeeded` are not stored: see attempt_status. No foreign keys: on a run of a million rows they cost a third; the statements that insert write both sides in one go';
COMMENT ON COLUMN attempts.order_no IS 'P, run (7 digits), lane (3), number (8): ascends within a lane';
COMMENT ON COLUMN attempts.declaration_sequence IS 'Of the event declaration.paying: what follows counts from it';
COMMENT ON COLUMN attempts.sequence IS 'Of the last event about the order that its row was changed with';
-- The promise: no obligation is debited twice. Negative, so that a state added later is live by default.
CREATE UNIQUE INDEX one_live_attempt ON attempts (payer_id, declaration_no)
    WHERE state NOT IN ('failed', 'withdrawn', 'reversed');

CREATE TABLE run_skips (
    run_id   bigint NOT NULL,
    payer_id text COLLATE "C" NOT NULL,
    reason   text NOT NULL CHECK (reason IN ('not_enrolled', 'enrolment_closed', 'voided', 'already_paid',
        'attempt_in_flight', 'no_agreement', 'agreement_scope', 'amount_out_of_range', 'retry_exhausted', 'suspended', 'not_due')),
    PRIMARY KEY (run_id, payer_id)
);
COMMENT ON TABLE run_skips IS 'Each candidate that was not deducted, with the first reason that held';
