    -- The contribution base of the month: the newest word by the sender's time that has begun by then, voided if a void
    -- came after it. One that begins later is not used early; what holds the year's active version holds the month.
    SELECT DISTINCT ON (payer_id) payer_id, of_period, CASE WHEN stopped THEN 'voided' ELSE 'active' END AS state, amount,
           CASE WHEN NOT stopped THEN hold_reason END AS hold_reason, fact_time, fact_id
    FROM (SELECT payer_id, amount, fact_time, fact_id, COALESCE(period_from, '') <= $3 AS of_period,
                 max(hold_reason) OVER of_payer AS hold_reason,
                 bool_or(state = 'expired') OVER of_payer AS expired,
                 bool_or(state = 'voided') OVER (PARTITION BY payer_id ORDER BY fact_time DESC, fact_id DESC) AS stopped
          FROM {versions}
          WHERE insurance_type = $1 AND valid_year = $2 AND payer_id > $5 AND payer_id <= $6
          WINDOW of_payer AS (PARTITION BY payer_id)) v
    WHERE NOT expired AND (of_period OR stopped)
    ORDER BY payer_id, of_period DESC, fact_time DESC, fact_id DESC
