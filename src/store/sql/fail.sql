-- Books what did not settle: failures free their declaration (or void it, where a run filed it and its amount is no longer the
-- active one), final ones hold the amount until a new agreement comes, doubts make the attempt unknown.
-- $1 result file  $2 now
WITH failing AS MATERIALIZED (
    SELECT j.line_no, j.order_no, j.payer_id, j.declaration_no, j.class, j.code, j.verdict, j.sequence, j.valid_year, j.retry_runs,
           d.insurance_type, d.kind, d.failed_runs, d.sequence AS declared,
           CASE WHEN d.channel = 'batch' AND (s.payer_id IS NULL OR (s.fact_time, s.fact_id) <> (d.setting_time, d.setting_id))
                THEN 'voided' ELSE 'payable' END AS declaration_state,
           s.fact_time, s.fact_id, s.sequence AS amount_sequence, s.hold_reason
    FROM judged j
    JOIN declarations d ON d.declaration_no = j.declaration_no AND d.payer_id = j.payer_id
    LEFT JOIN amount_settings s ON s.insurance_type = d.insurance_type AND s.valid_year = j.valid_year
        AND s.payer_id = j.payer_id AND s.state = 'active'
    WHERE j.verdict IN ('fail', 'unknown') OR j.doubt
), moved AS (
    UPDATE attempts a
    SET state = CASE WHEN f.verdict = 'fail' THEN 'failed' ELSE 'unknown' END, sequence = greatest(a.sequence, 2) + 1
    FROM failing f
    WHERE a.order_no = f.order_no AND a.payer_id = f.payer_id
    RETURNING a.order_no, a.sequence
), freed AS (
    UPDATE declarations d
    SET state = f.declaration_state, sequence = d.sequence + 1,
        failed_runs = d.failed_runs + CASE WHEN f.class = 'retryable' THEN 1 ELSE 0 END
    FROM failing f
    WHERE f.verdict = 'fail' AND d.declaration_no = f.declaration_no AND d.payer_id = f.payer_id
    RETURNING d.declaration_no, d.sequence
), held AS (
    UPDATE amount_settings s SET hold_reason = 'no_agreement', sequence = s.sequence + 1
    FROM failing f
    WHERE f.verdict = 'fail' AND f.class = 'final' AND f.kind = 'normal' AND f.hold_reason IS NULL
      AND s.insurance_type = f.insurance_type AND s.valid_year = f.valid_year AND s.payer_id = f.payer_id
      AND s.fact_time = f.fact_time AND s.fact_id = f.fact_id AND s.state = 'active'
    RETURNING s.payer_id, s.insurance_type, s.valid_year, s.sequence
)
INSERT INTO attempt_outcomes (result_file_id, line_no, order_no, payer_id, class, code, booked_at, sequence,
                              declaration_sequence, declaration_state, amount_sequence, tried_again)
SELECT $1, f.line_no, f.order_no, f.payer_id, CASE WHEN f.verdict = 'fail' THEN f.class ELSE 'unknown' END, f.code, $2, m.sequence,
       r.sequence, CASE WHEN f.verdict = 'fail' THEN f.declaration_state END, h.sequence,
       -- said when it is booked: a later run tries again while the amount stands and the count is not reached
       f.verdict = 'fail' AND f.class = 'retryable' AND f.declaration_state = 'payable' AND f.failed_runs + 1 < f.retry_runs
FROM failing f
JOIN moved m ON m.order_no = f.order_no
LEFT JOIN freed r ON r.declaration_no = f.declaration_no
LEFT JOIN held h ON h.payer_id = f.payer_id AND h.insurance_type = f.insurance_type AND h.valid_year = f.valid_year
