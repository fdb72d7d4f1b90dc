-- A planned deduction is withdrawn when it turns out that money may have moved for its obligation by another order.

-- Every row satisfies the narrower condition that this one replaces, so none is looked at.
ALTER TABLE attempts DROP CONSTRAINT attempts_withdrawal_check,
    ADD CONSTRAINT attempts_withdrawal_check CHECK (withdrawal IN ('voided', 'setting_changed', 'no_agreement', 'enrolment_closed',
        'attempt_in_flight', 'unencodable', 'cancelled')) NOT VALID;
