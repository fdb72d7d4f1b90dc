-- Judges one range of payers: for each candidate the first skip reason that holds, or none. The one text for the plan of
-- a run and for what `pikou plan` shows; before it stands `destinations` (lane, gateway, bank_code, attempts), the banks
-- that we can write files for. Every table is read by the range of payers, and the caller switches nested loops off:
-- each side is one range, and without statistics a loop over two of them is easily chosen.
--  $1 insurance type   $2 valid year   $3 period from   $4 business date   $5 payers after   $6 payers up to
--  $7 division pattern of the region   $8 patterns cut out of it   $9 minimum  $10 maximum  $11 step  $12 tiers
--  $13 categories  $14 their amounts   $15 rate of the contribution base, 1 for other types
--  $16 runs a failing deduction is tried in   $17 whether the day is in the validity window
settings AS (
{settings}
), filed AS (
    -- The live declaration of the obligation, whoever filed it.
    SELECT d.payer_id, d.declaration_no, d.amount, d.state, d.collect_by, d.failed_runs, d.hold_reason, d.sequence
    FROM declarations d
    WHERE d.insurance_type = $1 AND d.period_from = $3 AND d.kind = 'normal' AND d.assessment_no = ''
      AND d.state NOT IN ('voided', 'rejected', 'reversed') AND d.payer_id > $5 AND d.payer_id <= $6{not_outdated}
), agreement AS (
    -- The newest agreement that allows batches; its bank has a lane if we can write its files.
    SELECT DISTINCT ON (a.payer_id) a.payer_id, a.agreement_no, a.insurance_types, a.amount_max, l.lane, l.attempts AS lane_attempts
    FROM agreements a
    LEFT JOIN destinations l ON l.gateway = a.gateway AND l.bank_code = lane_bank(a.gateway, a.bank_code)
    WHERE a.status = 'active' AND a.batch_enabled AND a.payer_id > $5 AND a.payer_id <= $6
    ORDER BY a.payer_id, a.fact_time DESC, a.agreement_no DESC
), disputed AS (
    -- An order of the obligation about which a person has still to decide: money may have moved, whatever the attempt says.
    SELECT DISTINCT d.payer_id, c.assessment_no
    FROM discrepancies d
    JOIN declarations c ON c.declaration_no = d.declaration_no AND c.payer_id = d.payer_id
    WHERE d.state = 'open' AND d.payer_id > $5 AND d.payer_id <= $6
      AND c.payer_id > $5 AND c.payer_id <= $6 AND c.insurance_type = $1 AND (c.kind = 'special' OR c.period_from = $3)
), unplaced AS (
    -- An order that we refused was paid all the same, and nobody has said yet what for.
    SELECT DISTINCT payer_id
    FROM discrepancies
    WHERE state = 'open' AND declaration_no IS NULL AND message_id IS NOT NULL AND payer_id > $5 AND payer_id <= $6
), candidates AS (
    -- The period's normal contribution, by a setting or a declaration to be collected in batch …
    SELECT COALESCE(s.payer_id, f.payer_id) AS payer_id, '' AS assessment_no, s.state AS setting_state, s.hold_reason, s.amount AS chosen,
           s.fact_time, s.fact_id, f.declaration_no, f.sequence AS filed_sequence, f.state AS filed_state, f.failed_runs,
           f.hold_reason AS filed_hold, COALESCE(f.amount, round(s.amount * $15, 2)) AS amount, $17 AS due
    FROM settings s
    FULL JOIN filed f ON f.payer_id = s.payer_id
    WHERE s.of_period OR (f.state = 'payable' AND f.collect_by = 'batch')
    UNION ALL
    -- … and special ones that are to be collected in batch, each of whatever period, until its assessment's last day.
    SELECT d.payer_id, d.assessment_no, NULL, NULL, NULL, NULL, NULL, d.declaration_no, d.sequence, d.state, d.failed_runs,
           d.hold_reason, d.amount, $4 <= a.pay_by
    FROM declarations d
    LEFT JOIN assessments a ON a.payer_id = d.payer_id AND a.assessment_no = d.assessment_no
        AND a.payer_id > $5 AND a.payer_id <= $6
    WHERE d.insurance_type = $1 AND d.kind = 'special' AND d.state = 'payable' AND d.collect_by = 'batch'
      AND d.payer_id > $5 AND d.payer_id <= $6{not_outdated}
), judged AS MATERIALIZED (
    SELECT c.payer_id, c.assessment_no, c.amount, c.fact_time, c.fact_id, c.declaration_no, c.filed_sequence,
           g.agreement_no, g.lane, g.lane_attempts,
           CASE
               WHEN e.payer_id IS NULL OR (e.status = 'active' AND e.effective_on > $4) THEN 'not_enrolled'
               WHEN e.status <> 'active' AND e.effective_on <= $4 THEN 'enrolment_closed'
               WHEN c.setting_state = 'voided' THEN 'voided'
               WHEN p.payer_id IS NOT NULL AND c.assessment_no = '' THEN 'already_paid'
               WHEN c.filed_state = 'paying' OR u.payer_id IS NOT NULL OR w.payer_id IS NOT NULL THEN 'attempt_in_flight'
               WHEN g.payer_id IS NULL OR g.lane IS NULL OR c.hold_reason = 'no_agreement'
                   OR c.filed_hold = 'no_agreement' THEN 'no_agreement'
               WHEN NOT $1 = ANY (g.insurance_types) OR g.amount_max < c.amount THEN 'agreement_scope'
               WHEN c.hold_reason = 'amount_out_of_range' THEN 'amount_out_of_range'
               WHEN c.declaration_no IS NULL AND NOT is_amount_allowed(c.chosen, e.category, $9, $10, $11, $12, $13, $14)
                   THEN 'amount_out_of_range'
               WHEN c.failed_runs >= $16 THEN 'retry_exhausted'
               WHEN c.hold_reason = 'suspended' THEN 'suspended'
               WHEN c.due IS NOT TRUE THEN 'not_due'
           END AS reason
    FROM candidates c
    LEFT JOIN enrolments e ON e.payer_id = c.payer_id AND e.insurance_type = $1 AND e.payer_id > $5 AND e.payer_id <= $6
    LEFT JOIN agreement g ON g.payer_id = c.payer_id
    LEFT JOIN (SELECT DISTINCT payer_id FROM standing_settlements
               WHERE insurance_type = $1 AND period_from = $3 AND kind = 'normal' AND payer_id > $5 AND payer_id <= $6) p
        ON p.payer_id = c.payer_id
    LEFT JOIN disputed u ON u.payer_id = c.payer_id AND u.assessment_no = c.assessment_no
    LEFT JOIN unplaced w ON w.payer_id = c.payer_id
    -- The region is that of the enrolment; who has none is told so in every region's run.
    WHERE e.payer_id IS NULL OR (e.division_code LIKE $7 AND NOT e.division_code LIKE ANY ($8))
)
