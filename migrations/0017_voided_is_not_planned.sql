-- Whoever voids an amount withdraws what is planned of it, in the same transaction: sealing does not look again. So a
-- commit that leaves a planned attempt of a voided year in a run that is not sealed is refused, whatever code wrote it.
CREATE FUNCTION nothing_voided_is_planned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM attempts a
        JOIN runs r ON r.run_id = a.run_id AND r.sealed_at IS NULL AND r.state <> 'cancelled' AND r.valid_year = NEW.valid_year
        JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
            AND d.kind = 'normal' AND d.insurance_type = NEW.insurance_type
        -- The terms of one_live_attempt, by which it is found.
        WHERE a.payer_id = NEW.payer_id AND a.state NOT IN ('failed', 'withdrawn', 'reversed') AND a.state = 'planned'
          AND is_month_voided(NEW.insurance_type, NEW.valid_year, NEW.payer_id, d.period_from)) THEN
        RAISE EXCEPTION 'an amount is voided and its deduction is still planned'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'nothing_voided_is_planned';
    END IF;
    RETURN NULL;
END $$;
-- At the commit: a batch of the intake voids first and withdraws then.
CREATE CONSTRAINT TRIGGER nothing_voided_is_planned AFTER UPDATE OF state ON amount_settings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'voided' AND OLD.state <> 'voided') EXECUTE FUNCTION nothing_voided_is_planned();
