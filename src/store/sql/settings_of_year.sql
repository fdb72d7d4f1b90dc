    -- The year's amount: the active version, or else the voided one that was the last word.
    SELECT DISTINCT ON (payer_id) payer_id, true AS of_period, state, amount, hold_reason, fact_time, fact_id
    FROM {versions}
    WHERE insurance_type = $1 AND valid_year = $2 AND state IN ('active', 'voided') AND payer_id > $5 AND payer_id <= $6
    ORDER BY payer_id, state = 'active' DESC, fact_time DESC, fact_id DESC
