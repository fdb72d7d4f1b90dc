-- Judges one range of payers of a run: each candidate gets an attempt or the first skip reason that holds.
-- Runs under the gate, so nothing it reads can change before it commits. Every table is read by the range of payers, and the
-- caller switches nested loops off: each side is one range, and without statistics a loop over two of them is easily chosen.
--  $1 run   $2 insurance type   $3 valid year   $4 period from   $5 period to   $6 business date
--  $7 payers after   $8 payers up to   $9 division pattern of the region   $10 patterns cut out of it
--  $11 minimum  $12 maximum  $13 step  $14 tiers (null: a range)   $15 runs a failing deduction is tried in
--  $16 whether the day is in the validity window   $17 now   $18 run prefix of order numbers   $19 events in a chunk
--  $20 whether the run tells deduction.planned   $21 whether deduction.skipped is published
WITH settings AS (
    -- The year's amount: the active version, or else the voided one that was the last word.
    SELECT DISTINCT ON (payer_id) payer_id, state, amount, hold_reason, fact_time, fact_id
    FROM amount_settings
    WHERE insurance_type = $2 AND valid_year = $3 AND state IN ('active', 'voided') AND payer_id > $7 AND payer_id <= $8
    ORDER BY payer_id, state = 'active' DESC, fact_time DESC, fact_id DESC
), filed AS (
    -- The live declaration of the obligation, whoever filed it.
    SELECT payer_id, declaration_no, amount, state, collect_by, failed_runs, hold_reason, sequence
    FROM declarations
    WHERE insurance_type = $2 AND period_from = $4 AND period_to = $5 AND kind = 'normal' AND assessment_no = ''
      AND state NOT IN ('voided', 'rejected') AND payer_id > $7 AND payer_id <= $8
), agreement AS (
    -- The newest agreement that allows batches; its bank has a lane if we can write its files.
    SELECT DISTINCT ON (a.payer_id) a.payer_id, a.agreement_no, a.insurance_types, a.amount_max, l.lane, l.attempts AS lane_attempts
    FROM agreements a
    LEFT JOIN run_lanes l ON l.run_id = $1 AND l.gateway = a.gateway AND l.bank_code = lane_bank(a.gateway, a.bank_code)
    WHERE a.status = 'active' AND a.batch_enabled AND a.payer_id > $7 AND a.payer_id <= $8
    ORDER BY a.payer_id, a.fact_time DESC, a.agreement_no DESC
), disputed AS (
    -- An order of the obligation about which a person has still to decide: money may have moved, whatever the attempt says.
    SELECT DISTINCT d.payer_id
    FROM discrepancies d
    JOIN declarations c ON c.declaration_no = d.declaration_no AND c.payer_id = d.payer_id
    WHERE d.state = 'open' AND d.payer_id > $7 AND d.payer_id <= $8
      AND c.payer_id > $7 AND c.payer_id <= $8 AND c.insurance_type = $2 AND c.period_from = $4 AND c.kind = 'normal'
), judged AS MATERIALIZED (
    SELECT COALESCE(s.payer_id, f.payer_id) AS payer_id, COALESCE(f.amount, s.amount) AS amount,
           s.fact_time, s.fact_id, f.declaration_no, f.sequence AS filed_sequence,
           g.agreement_no, g.lane, g.lane_attempts,
           CASE
               WHEN e.payer_id IS NULL OR (e.status = 'active' AND e.effective_on > $6) THEN 'not_enrolled'
               WHEN e.status <> 'active' AND e.effective_on <= $6 THEN 'enrolment_closed'
               WHEN s.state = 'voided' THEN 'voided'
               WHEN p.payer_id IS NOT NULL THEN 'already_paid'
               WHEN f.state = 'paying' OR u.payer_id IS NOT NULL THEN 'attempt_in_flight'
               WHEN g.payer_id IS NULL OR g.lane IS NULL OR s.hold_reason = 'no_agreement'
                   OR f.hold_reason = 'no_agreement' THEN 'no_agreement'
               WHEN NOT $2 = ANY (g.insurance_types) OR g.amount_max < COALESCE(f.amount, s.amount) THEN 'agreement_scope'
               WHEN s.hold_reason = 'amount_out_of_range' THEN 'amount_out_of_range'
               WHEN f.payer_id IS NULL AND NOT COALESCE(
                   CASE WHEN $14::numeric[] IS NOT NULL THEN s.amount = ANY ($14)
                        ELSE s.amount BETWEEN $11 AND $12 AND ($13::numeric = 0 OR mod(s.amount - $11, NULLIF($13::numeric, 0)) = 0) END,
                   false) THEN 'amount_out_of_range'
               WHEN f.failed_runs >= $15 THEN 'retry_exhausted'
               WHEN s.hold_reason = 'suspended' THEN 'suspended'
               WHEN NOT $16 THEN 'not_due'
           END AS reason
    FROM settings s
    FULL JOIN filed f ON f.payer_id = s.payer_id
    LEFT JOIN enrolments e ON e.payer_id = COALESCE(s.payer_id, f.payer_id) AND e.insurance_type = $2
        AND e.payer_id > $7 AND e.payer_id <= $8
    LEFT JOIN agreement g ON g.payer_id = COALESCE(s.payer_id, f.payer_id)
    LEFT JOIN (SELECT DISTINCT payer_id FROM settlements
               WHERE insurance_type = $2 AND period_from = $4 AND kind = 'normal' AND payer_id > $7 AND payer_id <= $8) p
        ON p.payer_id = COALESCE(s.payer_id, f.payer_id)
    LEFT JOIN disputed u ON u.payer_id = COALESCE(s.payer_id, f.payer_id)
    WHERE (s.payer_id IS NOT NULL OR (f.state = 'payable' AND f.collect_by = 'batch'))
      -- The region is that of the enrolment; who has none is told so in every region's run.
      AND (e.payer_id IS NULL OR (e.division_code LIKE $9 AND NOT e.division_code LIKE ANY ($10)))
), chosen AS MATERIALIZED (
    -- Order numbers ascend within the lane, behind those of the ranges before.
    SELECT j.*, j.lane_attempts + row_number() OVER (PARTITION BY j.lane ORDER BY j.payer_id) AS number
    FROM judged j
    WHERE j.reason IS NULL
), numbered AS MATERIALIZED (
    SELECT c.*, $18 || lpad(c.lane::text, 3, '0') || lpad(c.number::text, 8, '0') AS order_no,
           c.declaration_no IS NULL AS files
    FROM chosen c
), declared AS (
    INSERT INTO declarations (declaration_no, payer_id, insurance_type, kind, period_from, period_to, amount, channel, collect_by,
                              state, setting_time, setting_id, submitted_at, sequence)
    SELECT 'D' || substr(order_no, 2), payer_id, $2, 'normal', $4, $5, amount, 'batch', 'batch', 'paying', fact_time, fact_id, $17, 2
    FROM numbered WHERE files
), taken AS (
    -- Taking a declaration is its own update: of two who try, one finds it no longer payable.
    UPDATE declarations d SET state = 'paying', sequence = d.sequence + 1
    FROM numbered n
    WHERE NOT n.files AND d.declaration_no = n.declaration_no AND d.payer_id = n.payer_id AND d.state = 'payable'
      AND d.payer_id > $7 AND d.payer_id <= $8
    RETURNING d.declaration_no
), attempted AS (
    INSERT INTO attempts (order_no, payer_id, run_id, lane, declaration_no, agreement_no, amount, state, declaration_sequence,
                          sequence)
    SELECT order_no, payer_id, $1, lane, CASE WHEN files THEN 'D' || substr(order_no, 2) ELSE declaration_no END, agreement_no,
           amount, 'planned', CASE WHEN files THEN 2 ELSE filed_sequence + 1 END,
           -- Of the last event about the order: there is none yet where deduction.planned is not told.
           CASE WHEN $20 THEN 1 ELSE 0 END
    FROM numbered
    ORDER BY order_no
), skipped AS (
    INSERT INTO run_skips (run_id, payer_id, reason)
    SELECT $1, payer_id, reason FROM judged WHERE reason IS NOT NULL ORDER BY payer_id
), lanes AS (
    UPDATE run_lanes l SET attempts = l.attempts + n.attempts
    FROM (SELECT lane, count(*) AS attempts FROM numbered GROUP BY lane) n
    WHERE l.run_id = $1 AND l.lane = n.lane
), told_planned AS (
    -- Up to three events each: declaration.accepted where filed, declaration.paying, deduction.planned.
    INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
    SELECT 'planned', count(*) + count(*) FILTER (WHERE files) + CASE WHEN $20 THEN count(*) ELSE 0 END, $1, min(order_no), max(order_no), $17
    FROM numbered
    GROUP BY lane, (number - 1) / ($19 / 3)
    ORDER BY min(order_no)
), told_skipped AS (
    INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
    SELECT 'skipped', count(*), $1, min(payer_id), max(payer_id), $17
    FROM (SELECT payer_id, (row_number() OVER (ORDER BY payer_id) - 1) / $19 AS chunk FROM judged WHERE reason IS NOT NULL) k
    WHERE $21
    GROUP BY chunk
    ORDER BY min(payer_id)
)
SELECT (SELECT count(*) FROM judged) AS candidates,
       (SELECT count(*) FROM numbered) AS attempts,
       (SELECT COALESCE(sum(amount), 0) FROM numbered) AS attempts_total,
       (SELECT count(*) FROM judged WHERE reason IS NOT NULL) AS skips,
       (SELECT count(*) FROM numbered WHERE NOT files) = (SELECT count(*) FROM taken) AS all_taken
