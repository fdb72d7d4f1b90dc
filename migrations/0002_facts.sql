-- What other authorities and the payers told us. The newest word by the sender's time counts.

CREATE TABLE enrolments (
    payer_id       text COLLATE "C" NOT NULL,
    insurance_type text COLLATE "C" NOT NULL,
    status         text NOT NULL CHECK (status IN ('active', 'suspended', 'ended')),
    effective_on   date NOT NULL,
    name           bytea NOT NULL,
    id_type        text NOT NULL,
    id_number      bytea NOT NULL,
    id_number_hash bytea NOT NULL,
    division_code  text COLLATE "C" NOT NULL,
    category       text,
    fact_time      timestamptz NOT NULL,
    fact_id        text COLLATE "C" NOT NULL,
    PRIMARY KEY (payer_id, insurance_type)
);
COMMENT ON TABLE enrolments IS '参保信息, owned by the social-insurance agency; the newest known';
COMMENT ON COLUMN enrolments.name IS 'Encrypted';
COMMENT ON COLUMN enrolments.id_number IS 'Encrypted';
COMMENT ON COLUMN enrolments.id_number_hash IS 'Keyed hash, for look-ups';
COMMENT ON COLUMN enrolments.division_code IS 'GB/T 2260; its longest configured prefix is the region';
COMMENT ON COLUMN enrolments.fact_id IS 'Message id and source; decides between facts of one instant';

CREATE TABLE agreements (
    payer_id        text COLLATE "C" NOT NULL,
    agreement_no    text COLLATE "C" NOT NULL,
    gateway         text NOT NULL,
    bank_code       text NOT NULL,
    account_no      bytea NOT NULL,
    account_name    bytea NOT NULL,
    status          text NOT NULL CHECK (status IN ('active', 'ended')),
    batch_enabled   boolean NOT NULL,
    insurance_types text[] NOT NULL,
    amount_max      numeric(14,2),
    fact_time       timestamptz NOT NULL,
    fact_id         text COLLATE "C" NOT NULL,
    PRIMARY KEY (payer_id, agreement_no)
);
COMMENT ON TABLE agreements IS '委托扣款协议; the newest known of each number';
COMMENT ON COLUMN agreements.account_no IS 'Encrypted';
COMMENT ON COLUMN agreements.account_name IS 'Encrypted';
COMMENT ON COLUMN agreements.batch_enabled IS '批扣标志';
COMMENT ON COLUMN agreements.insurance_types IS 'Scope: types that may be deducted under it';
COMMENT ON COLUMN agreements.amount_max IS 'Scope: highest amount of one deduction in yuan';

CREATE TABLE amount_settings (
    insurance_type text COLLATE "C" NOT NULL,
    valid_year     smallint NOT NULL,
    payer_id       text COLLATE "C" NOT NULL,
    fact_time      timestamptz NOT NULL,
    fact_id        text COLLATE "C" NOT NULL,
    amount         numeric(14,2) NOT NULL CHECK (amount > 0),
    channel        text NOT NULL,
    state          text NOT NULL CHECK (state IN ('active', 'superseded', 'voided', 'expired')),
    hold_reason    text CHECK (hold_reason IN ('no_agreement', 'amount_out_of_range', 'suspended')),
    sequence       bigint NOT NULL CHECK (sequence >= 0),
    PRIMARY KEY (insurance_type, valid_year, payer_id, fact_time, fact_id),
    CONSTRAINT only_an_active_setting_is_held CHECK (hold_reason IS NULL OR state = 'active')
);
COMMENT ON TABLE amount_settings IS '缴费金额设置: every version of what a payer chose for a valid year';
COMMENT ON COLUMN amount_settings.state IS '`fulfilled` is not stored: it follows from the settlement';
COMMENT ON COLUMN amount_settings.sequence IS 'Of the last event about this payer, type and year when the row was written; 0 for a version that came too late to be told of';
CREATE UNIQUE INDEX one_active_amount ON amount_settings (payer_id, insurance_type, valid_year) WHERE state = 'active';
CREATE INDEX amount_settings_held ON amount_settings (payer_id) WHERE hold_reason IS NOT NULL;

CREATE TABLE amount_voids (
    insurance_type text COLLATE "C" NOT NULL,
    valid_year     smallint NOT NULL,
    payer_id       text COLLATE "C" NOT NULL,
    fact_time      timestamptz NOT NULL,
    fact_id        text COLLATE "C" NOT NULL,
    channel        text NOT NULL,
    PRIMARY KEY (insurance_type, valid_year, payer_id, fact_time, fact_id)
);
COMMENT ON TABLE amount_voids IS '作废: every word to stop, also one that found nothing to void, because an older amount may still be on its way';
