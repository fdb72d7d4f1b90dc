-- Books what did not settle: failures free their declaration (or void it, where a run filed it and its amount does not hold
-- any more), final ones hold the amount and the declaration until a new agreement comes, too many runs in a row suspend the
-- amount, doubts make the attempt unknown.
-- What each row becomes is computed once, in `failing`: results of updates are not joined back, so that no join of two
-- sets without statistics can become a loop over both. $1 result file  $2 now
WITH streaks AS MATERIALIZED (
    -- Runs in a row in which a payer's normal deduction has failed, with those of this file; a run counts once.
    SELECT n.payer_id, n.insurance_type, n.last_run_id,
           n.runs + CASE WHEN k.payer_id IS NULL OR EXISTS (
               SELECT FROM standing_settlements s WHERE s.payer_id = k.payer_id AND s.insurance_type = k.insurance_type
                 AND s.kind = 'normal'
                 AND CASE WHEN s.result_file_id IS NULL THEN s.booked_at > k.failed_at ELSE s.result_file_id > k.last_file_id END) THEN 0
           ELSE k.runs - (k.runs > 0 AND k.last_run_id = ANY (n.run_ids))::int END AS runs,
           COALESCE(to_jsonb(k), '{}') AS before
    FROM (SELECT d.payer_id, d.insurance_type, count(DISTINCT j.run_id)::int AS runs, max(j.run_id) AS last_run_id,
                 array_agg(j.run_id) AS run_ids
          FROM judged j JOIN declarations d ON d.declaration_no = j.declaration_no AND d.payer_id = j.payer_id
          WHERE j.verdict = 'fail' AND j.suspend_after > 0 AND d.kind = 'normal'
          GROUP BY d.payer_id, d.insurance_type) n
    LEFT JOIN failure_streaks k ON k.payer_id = n.payer_id AND k.insurance_type = n.insurance_type
), outcomes AS (
    SELECT j.line_no, j.order_no, j.payer_id, j.declaration_no, j.code, j.valid_year, j.verdict = 'fail' AS failed,
           CASE WHEN j.verdict = 'fail' THEN j.class ELSE 'unknown' END AS class,
           j.sequence + 1 AS sequence, j.attempt_state AS state_before,
           CASE WHEN j.verdict = 'fail' AND d.kind = 'normal' THEN k.before END AS streak_before,
           d.insurance_type, d.sequence + 1 AS declaration_sequence,
           CASE WHEN d.channel = 'batch' AND (s.fact_time, s.fact_id) IS DISTINCT FROM (d.setting_time, d.setting_id)
                     AND is_setting_outdated(d.insurance_type, j.valid_year, d.payer_id, d.period_from, d.setting_time, d.setting_id)
                THEN 'voided' ELSE 'payable' END AS declaration_state,
           d.failed_runs + 1 < j.retry_runs AS retries_left,
           s.fact_time, s.fact_id, s.amount AS held_amount, s.sequence + 1 AS amount_sequence,
           s.hold_reason IS NOT NULL AS was_held,
           CASE WHEN j.verdict <> 'fail' OR d.kind <> 'normal' OR s.payer_id IS NULL OR s.hold_reason IS NOT NULL THEN NULL
                WHEN j.class = 'final' THEN 'no_agreement'
                WHEN k.runs >= j.suspend_after THEN 'suspended' END AS hold_reason
    FROM judged j
    CROSS JOIN LATERAL (SELECT * FROM declarations d WHERE d.declaration_no = j.declaration_no AND d.payer_id = j.payer_id OFFSET 0) d
    LEFT JOIN amount_settings s ON s.payer_id = d.payer_id AND s.insurance_type = d.insurance_type
        AND s.valid_year = j.valid_year AND s.state = 'active'
    LEFT JOIN streaks k ON k.payer_id = d.payer_id AND k.insurance_type = d.insurance_type AND j.suspend_after > 0
    WHERE j.verdict IN ('fail', 'unknown') OR j.doubt
), failing AS MATERIALIZED (
    SELECT f.*,
           -- once a year: of several months of a payer that fail in one file one holds it, the first that fails for good
           hold_reason IS NOT NULL AND row_number() OVER (PARTITION BY payer_id, insurance_type, valid_year, hold_reason IS NULL
                                                          ORDER BY hold_reason, line_no) = 1 AS holds
    FROM outcomes f
), counted AS (
    INSERT INTO failure_streaks AS k (payer_id, insurance_type, runs, last_run_id, last_file_id, failed_at)
    SELECT payer_id, insurance_type, runs, last_run_id, $1, $2 FROM streaks
    ON CONFLICT (payer_id, insurance_type) DO UPDATE
        SET runs = excluded.runs, last_run_id = excluded.last_run_id, last_file_id = excluded.last_file_id, failed_at = excluded.failed_at
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
    UPDATE amount_settings s SET hold_reason = f.hold_reason, sequence = f.amount_sequence
    FROM failing f
    WHERE f.holds AND s.insurance_type = f.insurance_type AND s.valid_year = f.valid_year AND s.payer_id = f.payer_id
      AND s.fact_time = f.fact_time AND s.fact_id = f.fact_id
)
INSERT INTO attempt_outcomes (result_file_id, line_no, order_no, payer_id, class, code, booked_at, sequence,
                              declaration_sequence, declaration_state, amount_sequence, held_amount, tried_again, state_before, streak_before)
SELECT $1, line_no, order_no, payer_id, class, code, $2, sequence,
       CASE WHEN failed THEN declaration_sequence END, CASE WHEN failed THEN declaration_state END,
       CASE WHEN holds THEN amount_sequence END, CASE WHEN holds THEN held_amount END,
       -- said when it is booked: a later run tries again while the amount stands, is not suspended and the count is not reached
       failed AND class = 'retryable' AND declaration_state = 'payable' AND retries_left AND NOT was_held AND hold_reason IS NULL,
       state_before, streak_before
FROM failing
