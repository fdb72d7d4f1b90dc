-- Books what did not settle: failures free their declaration (or void it, where a run filed it and its amount is no longer the
-- active one), final ones hold the amount and the declaration until a new agreement comes, doubts make the attempt unknown.
-- What each row becomes is computed once, in `failing`: results of updates are not joined back, so that no join of two
-- sets without statistics can become a loop over both. $1 result file  $2 now
WITH failing AS MATERIALIZED (
    SELECT j.line_no, j.order_no, j.payer_id, j.declaration_no, j.code, j.valid_year, j.verdict = 'fail' AS failed,
           CASE WHEN j.verdict = 'fail' THEN j.class ELSE 'unknown' END AS class,
           j.sequence + 1 AS sequence,
           d.insurance_type, d.sequence + 1 AS declaration_sequence,
           CASE WHEN d.channel = 'batch' AND (s.payer_id IS NULL OR (s.fact_time, s.fact_id) <> (d.setting_time, d.setting_id))
                THEN 'voided' ELSE 'payable' END AS declaration_state,
           d.failed_runs + 1 < j.retry_runs AS retries_left,
           s.fact_time, s.fact_id, s.sequence + 1 AS amount_sequence,
           -- once a year: of several months of a payer that fail for good in one file, the first holds it
           j.verdict = 'fail' AND j.class = 'final' AND d.kind = 'normal' AND s.payer_id IS NOT NULL AND s.hold_reason IS NULL
               AND row_number() OVER (PARTITION BY s.payer_id, s.insurance_type, s.valid_year,
                                                   j.verdict = 'fail' AND j.class = 'final' AND d.kind = 'normal'
                                      ORDER BY j.line_no) = 1 AS holds
    FROM judged j
    JOIN declarations d ON d.declaration_no = j.declaration_no AND d.payer_id = j.payer_id
    LEFT JOIN amount_settings s ON s.payer_id = d.payer_id AND s.insurance_type = d.insurance_type
        AND s.valid_year = j.valid_year AND s.state = 'active'
    WHERE j.verdict IN ('fail', 'unknown') OR j.doubt
), moved AS (
    UPDATE attempts a SET state = CASE WHEN f.failed THEN 'failed' ELSE 'unknown' END, sequence = f.sequence
    FROM failing f
    WHERE a.order_no = f.order_no AND a.payer_id = f.payer_id
), freed AS (
    UPDATE declarations d
    SET state = f.declaration_state, sequence = f.declaration_sequence,
        failed_runs = d.failed_runs + CASE WHEN f.class = 'retryable' THEN 1 ELSE 0 END,
        hold_reason = CASE WHEN f.class = 'final' AND f.declaration_state = 'payable' THEN 'no_agreement' END
    FROM failing f
    WHERE f.failed AND d.declaration_no = f.declaration_no AND d.payer_id = f.payer_id
), held AS (
    UPDATE amount_settings s SET hold_reason = 'no_agreement', sequence = f.amount_sequence
    FROM failing f
    WHERE f.holds AND s.insurance_type = f.insurance_type AND s.valid_year = f.valid_year AND s.payer_id = f.payer_id
      AND s.fact_time = f.fact_time AND s.fact_id = f.fact_id
)
INSERT INTO attempt_outcomes (result_file_id, line_no, order_no, payer_id, class, code, booked_at, sequence,
                              declaration_sequence, declaration_state, amount_sequence, tried_again)
SELECT $1, line_no, order_no, payer_id, class, code, $2, sequence,
       CASE WHEN failed THEN declaration_sequence END, CASE WHEN failed THEN declaration_state END,
       CASE WHEN holds THEN amount_sequence END,
       -- said when it is booked: a later run tries again while the amount stands and the count is not reached
       failed AND class = 'retryable' AND declaration_state = 'payable' AND retries_left
FROM failing
