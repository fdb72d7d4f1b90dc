-- Books what a bill says that did not settle: a final code fails the order whole and frees its declarations (or voids one
-- that a run filed and whose amount does not hold any more); a doubt makes it unknown. $1 result file  $2 now
WITH failing AS MATERIALIZED (
    SELECT j.line_no, a.order_no, a.payer_id, a.item, a.run_id, a.declaration_no, a.state AS state_before, j.code, j.verdict = 'fail' AS failed,
           CASE WHEN a.run_id IS NOT NULL THEN greatest(a.sequence, 1 + r.tells_planned::int) + 1
                ELSE o.sequence + (j.verdict = 'fail')::int END AS sequence,
           greatest(d.sequence, a.declaration_sequence) + 1 AS declaration_sequence,
           CASE WHEN d.channel = 'batch' AND (s.fact_time, s.fact_id) IS DISTINCT FROM (d.setting_time, d.setting_id)
                     AND is_setting_outdated(d.insurance_type, r.valid_year, d.payer_id, d.period_from, d.setting_time, d.setting_id)
                THEN 'voided' ELSE 'payable' END AS declaration_state
    FROM judged j
    JOIN attempts a ON a.order_no = j.order_no AND a.payer_id = j.payer_id
    JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
    LEFT JOIN runs r ON r.run_id = a.run_id
    LEFT JOIN online_orders o ON o.order_no = a.order_no AND o.payer_id = a.payer_id
    LEFT JOIN amount_settings s ON s.payer_id = d.payer_id AND s.insurance_type = d.insurance_type
        AND s.valid_year = r.valid_year AND s.state = 'active'
    WHERE j.verdict IN ('fail', 'unknown') OR j.doubt
), moved AS (
    UPDATE attempts a SET state = CASE WHEN f.failed THEN 'failed' ELSE 'unknown' END, sequence = f.sequence
    FROM failing f WHERE a.order_no = f.order_no AND a.payer_id = f.payer_id AND a.item = f.item
), freed AS (
    UPDATE declarations d SET state = f.declaration_state, sequence = f.declaration_sequence
    FROM failing f WHERE f.failed AND d.declaration_no = f.declaration_no AND d.payer_id = f.payer_id
), counted AS (
    UPDATE online_orders o SET sequence = f.sequence
    FROM failing f WHERE f.failed AND f.run_id IS NULL AND f.item = 1 AND o.order_no = f.order_no AND o.payer_id = f.payer_id
)
INSERT INTO attempt_outcomes (result_file_id, line_no, order_no, payer_id, item, class, code, booked_at, sequence,
                              declaration_sequence, declaration_state, tried_again, state_before)
SELECT $1, line_no, order_no, payer_id, item, CASE WHEN failed THEN 'final' ELSE 'unknown' END, code, $2, sequence,
       CASE WHEN failed THEN declaration_sequence END, CASE WHEN failed THEN declaration_state END, false, state_before
FROM failing
