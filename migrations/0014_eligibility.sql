-- Who is selected: contribution bases that hold from a month on, special declarations beside normal ones in one run,
-- suspension after failed runs, what people hold and release, and a year's amounts carried over and ended.

-- Whether a rule allows an amount: one of the tiers, the one amount of the payer's category, or from minimum to maximum
-- in whole steps. For types with a rate the amount is the contribution base. One place for whoever asks.
CREATE FUNCTION is_amount_allowed(amount numeric, category text, minimum numeric, maximum numeric, step numeric, tiers numeric[],
                                  categories text[], amounts numeric[]) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN COALESCE(CASE
    WHEN tiers IS NOT NULL THEN amount = ANY (tiers)
    WHEN categories IS NOT NULL THEN amount = amounts[array_position(categories, category)]
    ELSE amount BETWEEN minimum AND maximum AND (step = 0 OR mod(amount - minimum, NULLIF(step, 0)) = 0) END, false);

-- Whether a declaration that a run filed for a month on this version of a setting rests on it no more: something newer
-- holds for the month, or the year was voided or is over. A base that begins in a later month changes nothing. Asked
-- only where the version is not the active one, which is rare.
CREATE FUNCTION is_setting_outdated(of_type text, of_year smallint, of_payer text, month text, filed_time timestamptz, filed_id text)
    RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM amount_settings s
    WHERE s.insurance_type = of_type AND s.valid_year = of_year AND s.payer_id = of_payer
      AND (s.fact_time, s.fact_id) >= (filed_time, filed_id)
      AND (s.state IN ('voided', 'expired')
           OR ((s.fact_time, s.fact_id) > (filed_time, filed_id) AND COALESCE(s.period_from, '') <= month)));

-- The last word for a month is a void: no version that holds for it came after.
CREATE FUNCTION is_month_voided(of_type text, of_year smallint, of_payer text, month text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM amount_settings v
    WHERE v.insurance_type = of_type AND v.valid_year = of_year AND v.payer_id = of_payer AND v.state = 'voided'
      AND NOT EXISTS (SELECT FROM amount_settings n
                      WHERE n.insurance_type = of_type AND n.valid_year = of_year AND n.payer_id = of_payer
                        AND (n.fact_time, n.fact_id) > (v.fact_time, v.fact_id) AND COALESCE(n.period_from, '') <= month));

-- A payer may have several candidates in one run: the normal contribution, and special ones.
ALTER TABLE run_skips ADD COLUMN declaration_no text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE run_skips DROP CONSTRAINT run_skips_pkey, ADD PRIMARY KEY (run_id, payer_id, declaration_no);
COMMENT ON COLUMN run_skips.declaration_no IS 'Of a special declaration; empty for the normal contribution';
CREATE INDEX special_declarations_to_collect ON declarations (insurance_type, payer_id)
    WHERE state = 'payable' AND collect_by = 'batch' AND kind = 'special';

-- Runs that exist go on without suspending anybody.
ALTER TABLE runs ADD COLUMN suspend_after smallint NOT NULL DEFAULT 0 CHECK (suspend_after >= 0);
COMMENT ON COLUMN runs.suspend_after IS 'After how many failed runs in a row a payer''s amount is suspended, 0: never; as configured when the run was made';

CREATE TABLE failure_streaks (
    payer_id       text COLLATE "C" NOT NULL,
    insurance_type text COLLATE "C" NOT NULL,
    runs           integer NOT NULL CHECK (runs >= 0),
    last_run_id    bigint NOT NULL,
    last_file_id   bigint NOT NULL,
    failed_at      timestamptz NOT NULL,
    PRIMARY KEY (payer_id, insurance_type)
);
COMMENT ON TABLE failure_streaks IS 'In how many runs in a row, of whatever year, a payer''s normal deduction has failed. Nothing is written for a success: a settlement by a later result file, or by a report after failed_at, begins the count anew';
COMMENT ON COLUMN failure_streaks.runs IS '0 after a suspension has ended';

ALTER TABLE attempt_outcomes ADD COLUMN held_amount numeric(14,2);
COMMENT ON COLUMN attempt_outcomes.held_amount IS 'The amount (or contribution base) that is held since this failure; for those of the first versions that of the attempt';

CREATE TABLE hold_decisions (
    decision_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payer_id       text COLLATE "C" NOT NULL,
    insurance_type text COLLATE "C" NOT NULL,
    valid_year     smallint NOT NULL,
    what           text NOT NULL CHECK (what IN ('set', 'release')),
    decided_at     timestamptz NOT NULL,
    decided_by     text NOT NULL CHECK (decided_by <> ''),
    reason         text NOT NULL CHECK (reason <> '')
);
COMMENT ON TABLE hold_decisions IS 'What people held and released: who, when and why; never changed';
CREATE INDEX hold_decisions_of ON hold_decisions (payer_id, insurance_type, valid_year);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON hold_decisions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A year's opening, in which last year's amounts are carried over, and its end, at which what is still active expires.
CREATE TABLE year_turns (
    turn_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region         text NOT NULL,
    insurance_type text COLLATE "C" NOT NULL,
    valid_year     smallint NOT NULL,
    what           text NOT NULL CHECK (what IN ('opening', 'expiry')),
    state          text NOT NULL DEFAULT 'under_way' CHECK (state IN ('under_way', 'done')),
    through        text COLLATE "C" NOT NULL DEFAULT '',
    amounts        bigint NOT NULL DEFAULT 0,
    held           bigint NOT NULL DEFAULT 0,
    begun_at       timestamptz NOT NULL,
    looked_on      date,
    done_at        timestamptz,
    CONSTRAINT a_year_turns_once UNIQUE (region, insurance_type, valid_year, what),
    CONSTRAINT done_when_it_says_so CHECK ((state = 'done') = (done_at IS NOT NULL))
);
COMMENT ON TABLE year_turns IS 'Openings and ends of valid years, for each region and type once';
COMMENT ON COLUMN year_turns.through IS 'The last payer dealt with: it goes on behind that one after a crash';
COMMENT ON COLUMN year_turns.looked_on IS 'Of an expiry that waits for attempts to become final: the last day on which all payers were looked at';
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON year_turns FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE carried_amounts (
    insurance_type text COLLATE "C" NOT NULL,
    valid_year     smallint NOT NULL,
    payer_id       text COLLATE "C" NOT NULL,
    turn_id        bigint NOT NULL,
    from_year      smallint NOT NULL,
    amount         numeric(14,2) NOT NULL CHECK (amount > 0),
    hold_reason    text CHECK (hold_reason IN ('no_agreement', 'amount_out_of_range', 'suspended')),
    PRIMARY KEY (insurance_type, valid_year, payer_id)
);
COMMENT ON TABLE carried_amounts IS '沿用: whose amount was carried into a year from which, once; held where it is not within the year''s rule or was held before';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON carried_amounts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE expired_amounts (
    insurance_type text COLLATE "C" NOT NULL,
    valid_year     smallint NOT NULL,
    payer_id       text COLLATE "C" NOT NULL,
    sequence       bigint NOT NULL,
    turn_id        bigint NOT NULL,
    amount         numeric(14,2) NOT NULL CHECK (amount > 0),
    channel        text NOT NULL,
    hold_reason    text,
    expired_at     timestamptz NOT NULL,
    PRIMARY KEY (insurance_type, valid_year, payer_id, sequence)
);
COMMENT ON TABLE expired_amounts IS 'Amounts that were still active when their year was over and nothing was out any more';
COMMENT ON COLUMN expired_amounts.hold_reason IS 'What held it at last: it holds what is carried over, too';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON expired_amounts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Older than any word of a payer can be, as messages are of 2000 or later: whatever arrives when, it comes after.
CREATE FUNCTION carried_over_time() RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN timestamptz '1900-01-01 00:00:00+00';

ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check,
    ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('events', 'planned', 'skipped', 'sent', 'results', 'discrepancies', 'carried', 'expired'));
COMMENT ON COLUMN outbox.scope_id IS 'planned, skipped: the run; sent: the request file; results, discrepancies: the result file; carried, expired: the turn of the year';
