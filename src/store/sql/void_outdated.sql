-- Voids payable declarations of one range of payers that have lost their ground before the range is judged.
-- $1 insurance type   $2 valid year   $3 period from   $4 payers after   $5 payers up to
UPDATE declarations d SET state = 'voided', sequence = d.sequence + 1
WHERE d.insurance_type = $1 AND d.payer_id > $4 AND d.payer_id <= $5 AND d.state = 'payable' AND d.collect_by = 'batch'
  AND (d.kind = 'special' OR d.period_from = $3)
  AND ({outdated})
RETURNING d.declaration_no, d.payer_id, d.insurance_type, d.kind, d.period_from, d.period_to, d.amount, d.channel, d.sequence,
    CASE WHEN d.kind = 'special' THEN CASE WHEN EXISTS (
             SELECT FROM assessments h
             WHERE h.payer_id = d.payer_id AND h.assessment_no = d.assessment_no AND h.status = 'issued')
                 THEN 'assessment_changed' ELSE 'assessment_withdrawn' END
         WHEN EXISTS (SELECT FROM amount_settings s
                      WHERE s.insurance_type = $1 AND s.valid_year = $2 AND s.payer_id = d.payer_id AND s.state = 'active')
             AND NOT is_month_voided($1, $2, d.payer_id, d.period_from) THEN 'setting_changed'
         ELSE 'voided' END AS reason
