-- Plans one range of payers of a run: each candidate gets an attempt or its skip reason. Runs under the gate, so nothing
-- it reads can change before it commits.
--  $1 to $17 are those of judge_range.sql   $18 run   $19 period to   $20 now   $21 run prefix of order numbers
--  $22 events in a chunk   $23 whether the run tells deduction.planned   $24 whether deduction.skipped is published
WITH destinations AS (
    SELECT lane, gateway, bank_code, attempts FROM run_lanes WHERE run_id = $18
), {judged}, chosen AS (
    -- Order numbers ascend within the lane, behind those of the ranges before.
    SELECT j.*, j.lane_attempts + row_number() OVER (PARTITION BY j.lane ORDER BY j.payer_id, j.assessment_no) AS number
    FROM judged j
    WHERE j.reason IS NULL
), numbered AS MATERIALIZED (
    SELECT c.*, $21 || lpad(c.lane::text, 3, '0') || lpad(c.number::text, 8, '0') AS order_no,
           c.declaration_no IS NULL AS files
    FROM chosen c
), declared AS (
    INSERT INTO declarations (declaration_no, payer_id, insurance_type, kind, period_from, period_to, amount, channel, collect_by,
                              state, setting_time, setting_id, submitted_at, sequence)
    SELECT 'D' || substr(order_no, 2), payer_id, $1, 'normal', $3, $19, amount, 'batch', 'batch', 'paying', fact_time, fact_id, $20, 2
    FROM numbered WHERE files
), taken AS (
    -- Taking a declaration is its own update: of two who try, one finds it no longer payable.
    UPDATE declarations d SET state = 'paying', sequence = d.sequence + 1
    FROM numbered n
    WHERE NOT n.files AND d.declaration_no = n.declaration_no AND d.payer_id = n.payer_id AND d.state = 'payable'
      AND d.payer_id > $5 AND d.payer_id <= $6
    RETURNING d.declaration_no
), attempted AS (
    INSERT INTO attempts (order_no, payer_id, run_id, lane, declaration_no, agreement_no, amount, state, declaration_sequence,
                          sequence)
    SELECT order_no, payer_id, $18, lane, CASE WHEN files THEN 'D' || substr(order_no, 2) ELSE declaration_no END, agreement_no,
           amount, 'planned', CASE WHEN files THEN 2 ELSE filed_sequence + 1 END,
           -- Of the last event about the order: there is none yet where deduction.planned is not told.
           CASE WHEN $23 THEN 1 ELSE 0 END
    FROM numbered
), skipped AS (
    INSERT INTO run_skips (run_id, payer_id, declaration_no, reason)
    SELECT $18, payer_id, CASE WHEN assessment_no = '' THEN '' ELSE declaration_no END, reason
    FROM judged WHERE reason IS NOT NULL ORDER BY 2, 3
), lanes AS (
    UPDATE run_lanes l SET attempts = l.attempts + n.attempts
    FROM (SELECT lane, count(*) AS attempts FROM numbered GROUP BY lane) n
    WHERE l.run_id = $18 AND l.lane = n.lane
), told_planned AS (
    -- Up to three events each: declaration.accepted where filed, declaration.paying, deduction.planned.
    INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
    SELECT 'planned', count(*) + count(*) FILTER (WHERE files) + CASE WHEN $23 THEN count(*) ELSE 0 END, $18, min(order_no), max(order_no), $20
    FROM numbered
    GROUP BY lane, (number - 1) / ($22 / 3)
    ORDER BY min(order_no)
), told_skipped AS (
    -- By payers: the few that have several skips are in one chunk with all of them.
    INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
    SELECT 'skipped', count(*), $18, min(payer_id), max(payer_id), $20
    FROM (SELECT payer_id, (dense_rank() OVER (ORDER BY payer_id) - 1) / $22 AS chunk FROM judged WHERE reason IS NOT NULL) k
    WHERE $24
    GROUP BY chunk
    ORDER BY min(payer_id)
)
SELECT (SELECT count(*) FROM judged) AS candidates, n.attempts, n.attempts_total,
       (SELECT count(*) FROM judged WHERE reason IS NOT NULL) AS skips,
       n.to_take = (SELECT count(*) FROM taken) AS all_taken
FROM (SELECT count(*) AS attempts, COALESCE(sum(amount), 0) AS attempts_total, count(*) FILTER (WHERE NOT files) AS to_take
      FROM numbered) n
