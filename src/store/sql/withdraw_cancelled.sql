-- Withdraws the next planned attempts of a cancelled run, in the order of their numbers. What each row becomes is computed
-- once, in `items`: results of updates are not joined back. The caller owns the gate and has the run's lease.
--  $1 run   $2 behind this order number   $3 at most so many
WITH planned AS MATERIALIZED (
    -- By order number the run's attempts are one stretch of the primary key.
    SELECT order_no, payer_id, run_id, lane, declaration_no, amount, sequence
    FROM attempts
    WHERE order_no >= 'P' || lpad($1::bigint::text, 7, '0') AND order_no < 'P' || lpad(($1::bigint + 1)::text, 7, '0')
      AND order_no > $2 AND run_id = $1 AND state = 'planned'
    ORDER BY order_no
    LIMIT $3
), items AS MATERIALIZED (
    SELECT p.order_no, p.payer_id, p.run_id, p.declaration_no, p.amount, d.insurance_type, d.kind, d.channel, d.period_from,
           d.period_to, 'cancelled' AS reason, p.sequence + 1 AS sequence,
           -- A run-filed declaration whose amount is no longer the active one goes with its attempt; any other is payable again.
           CASE WHEN d.channel = 'batch' AND NOT EXISTS (
                    SELECT FROM amount_settings s
                    WHERE s.payer_id = d.payer_id AND s.insurance_type = d.insurance_type AND s.state = 'active'
                      AND s.valid_year = r.valid_year AND s.fact_time = d.setting_time AND s.fact_id = d.setting_id)
                THEN 'voided' ELSE 'payable' END AS declaration_state,
           d.sequence + 1 AS declaration_sequence, l.gateway, l.bank_code
    FROM planned p
    JOIN runs r ON r.run_id = p.run_id
    JOIN declarations d ON d.declaration_no = p.declaration_no AND d.payer_id = p.payer_id
    JOIN run_lanes l ON l.run_id = p.run_id AND l.lane = p.lane
), withdrawn AS (
    UPDATE attempts a SET state = 'withdrawn', withdrawal = 'cancelled', sequence = i.sequence
    FROM items i
    WHERE a.order_no = i.order_no AND a.payer_id = i.payer_id
), freed AS (
    UPDATE declarations d SET state = i.declaration_state, sequence = i.declaration_sequence
    FROM items i
    WHERE d.declaration_no = i.declaration_no AND d.payer_id = i.payer_id
)
SELECT *, NULL AS file_name FROM items ORDER BY order_no
