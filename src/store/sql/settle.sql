-- Books the successes: one settlement is the outcome and the paid record. Nothing is updated; the attempt stays live
-- under its guard, and "paid" follows from this row. $1 gateway  $2 bank code  $3 result file  $4 now
INSERT INTO settlements (order_no, payer_id, declaration_no, insurance_type, kind, period_from, period_to, valid_year, amount,
                         channel, gateway, bank_code, gateway_txn_no, settled_at, result_file_id, line_no, booked_at,
                         sequence, declaration_sequence, amount_sequence)
SELECT j.order_no, j.payer_id, j.declaration_no, d.insurance_type, d.kind, d.period_from, d.period_to, j.valid_year, j.ours,
       d.channel, $1, $2, j.gateway_txn_no, COALESCE(j.settled_at, $4), $3, j.line_no, $4,
       j.sequence + 1, greatest(d.sequence, j.declaration_sequence) + 1, y.sequence + 1
FROM judged j
CROSS JOIN LATERAL (SELECT * FROM declarations d WHERE d.declaration_no = j.declaration_no AND d.payer_id = j.payer_id OFFSET 0) d
LEFT JOIN LATERAL (
    -- The last event about the year, where an amount was set for it and the whole year is paid by this.
    SELECT greatest(max(a.sequence), (SELECT max(s.amount_sequence) FROM settlements s
                                      WHERE s.payer_id = j.payer_id AND s.insurance_type = d.insurance_type
                                        AND s.period_from = d.period_from)) AS sequence
    FROM amount_settings a
    WHERE a.insurance_type = d.insurance_type AND a.valid_year = j.valid_year AND a.payer_id = j.payer_id
      AND d.kind = 'normal' AND d.period_from <> d.period_to
    HAVING bool_or(a.state = 'active')) y ON true
WHERE j.verdict = 'settle'
ORDER BY j.order_no
