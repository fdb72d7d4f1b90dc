    -- What is carried into the year for one range of payers: last year's last word where it is an amount (after a void
    -- nothing, or what was last paid), for whom nothing was said about the year, be it an amount or a void.
    --  $1 insurance type  $2 valid year  $4 day of the opening  $5 payers after  $6 payers up to  $7 division pattern
    --  $8 patterns cut out of it  $9 to $14 what may be chosen  $18 after a void what was last paid  $19 a base of a month
    SELECT w.payer_id, w.from_year, w.amount, CASE WHEN $19 THEN $2::text || '01' END AS period_from,
           -- What held it holds it still, unless a new agreement has come; never clamped to the rule.
           COALESCE(w.hold_reason, CASE WHEN NOT is_amount_allowed(w.amount, e.category, $9, $10, $11, $12, $13, $14)
                                        THEN 'amount_out_of_range' END) AS hold_reason
    FROM (SELECT l.payer_id, CASE WHEN l.state = 'voided' THEN p.valid_year ELSE l.valid_year END AS from_year,
                 CASE WHEN l.state = 'voided' THEN p.amount ELSE l.amount END AS amount,
                 CASE WHEN l.state = 'active' AND l.hold_reason <> 'amount_out_of_range' THEN l.hold_reason
                      WHEN l.state = 'expired' AND x.hold_reason = 'suspended' THEN 'suspended'
                      WHEN l.state = 'expired' AND x.hold_reason = 'no_agreement' AND NOT EXISTS (
                          SELECT FROM agreements a
                          WHERE a.payer_id = l.payer_id AND a.status = 'active' AND a.batch_enabled AND a.fact_time > x.expired_at)
                          THEN 'no_agreement' END AS hold_reason
          FROM (SELECT DISTINCT ON (payer_id) payer_id, valid_year, state, amount, hold_reason
                FROM amount_settings
                WHERE insurance_type = $1 AND valid_year = $2 - 1 AND state <> 'superseded' AND payer_id > $5 AND payer_id <= $6
                ORDER BY payer_id, fact_time DESC, fact_id DESC) l
          LEFT JOIN (SELECT DISTINCT ON (payer_id) payer_id, valid_year, amount
                     FROM standing_settlements
                     WHERE $18 AND insurance_type = $1 AND kind = 'normal' AND valid_year < $2 AND payer_id > $5 AND payer_id <= $6
                     ORDER BY payer_id, valid_year DESC, settled_at DESC) p ON p.payer_id = l.payer_id
          LEFT JOIN (SELECT DISTINCT ON (payer_id) payer_id, hold_reason, expired_at
                     FROM expired_amounts
                     WHERE insurance_type = $1 AND valid_year = $2 - 1 AND payer_id > $5 AND payer_id <= $6
                     ORDER BY payer_id, sequence DESC) x ON x.payer_id = l.payer_id) w
    JOIN enrolments e ON e.payer_id = w.payer_id AND e.insurance_type = $1 AND e.payer_id > $5 AND e.payer_id <= $6
    WHERE w.amount IS NOT NULL
      AND e.division_code LIKE $7 AND NOT e.division_code LIKE ANY ($8)
      AND NOT (e.status = 'ended' AND e.effective_on <= $4)
      AND NOT EXISTS (SELECT FROM amount_settings s
                      WHERE s.insurance_type = $1 AND s.valid_year = $2 AND s.payer_id = w.payer_id AND s.payer_id > $5 AND s.payer_id <= $6)
      AND NOT EXISTS (SELECT FROM amount_voids v
                      WHERE v.insurance_type = $1 AND v.valid_year = $2 AND v.payer_id = w.payer_id AND v.payer_id > $5 AND v.payer_id <= $6)
