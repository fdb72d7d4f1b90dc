    -- The year's last word: the active version, or else a void. A year that is over has none.
    SELECT payer_id, true AS of_period, state, amount, hold_reason, fact_time, fact_id
    FROM (SELECT DISTINCT ON (payer_id) payer_id, state, amount, hold_reason, fact_time, fact_id
          FROM {versions}
          WHERE insurance_type = $1 AND valid_year = $2 AND state <> 'superseded' AND payer_id > $5 AND payer_id <= $6
          ORDER BY payer_id, fact_time DESC, fact_id DESC) v
    WHERE state <> 'expired'
