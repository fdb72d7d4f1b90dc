-- Books the successes of a bill: an order settles whole, each of its declarations is paid by a row of its own.
-- $1 gateway  $2 bank code  $3 result file  $4 now
WITH counted AS (
    -- payment.recorded for each declaration of an online order
    UPDATE online_orders o SET sequence = o.sequence + o.items
    FROM judged j WHERE j.verdict = 'settle' AND o.order_no = j.order_no AND o.payer_id = j.payer_id AND j.run_id IS NULL
)
INSERT INTO settlements (order_no, payer_id, item, declaration_no, insurance_type, kind, period_from, period_to, valid_year, amount,
                         channel, gateway, bank_code, gateway_txn_no, settled_at, result_file_id, line_no, booked_at,
                         sequence, declaration_sequence, amount_sequence)
SELECT a.order_no, a.payer_id, a.item, a.declaration_no, d.insurance_type, d.kind, d.period_from, d.period_to,
       COALESCE(r.valid_year, left(d.period_from, 4)::smallint), a.amount, d.channel, $1, $2, j.gateway_txn_no,
       COALESCE(j.settled_at, $4), $3, j.line_no, $4,
       -- As of a deduction: payment.recorded has the next one.
       CASE WHEN a.run_id IS NULL THEN o.sequence + a.item - 1 ELSE greatest(a.sequence, 1 + r.tells_planned::int) + 1 END,
       greatest(d.sequence, a.declaration_sequence) + 1, y.sequence + 1
FROM judged j
JOIN attempts a ON a.order_no = j.order_no AND a.payer_id = j.payer_id
JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
LEFT JOIN runs r ON r.run_id = a.run_id
LEFT JOIN online_orders o ON o.order_no = j.order_no AND o.payer_id = j.payer_id
LEFT JOIN LATERAL (
    -- The last event about the year, where an amount was set for it and the whole year is paid by this.
    SELECT greatest(max(s.sequence), (SELECT max(t.amount_sequence) FROM settlements t
                                      WHERE t.payer_id = d.payer_id AND t.insurance_type = d.insurance_type
                                        AND t.period_from = d.period_from)) AS sequence
    FROM amount_settings s
    WHERE s.insurance_type = d.insurance_type AND s.valid_year = COALESCE(r.valid_year, left(d.period_from, 4)::smallint)
      AND s.payer_id = d.payer_id AND d.kind = 'normal' AND d.period_from <> d.period_to
    HAVING bool_or(s.state = 'active')) y ON true
WHERE j.verdict = 'settle'
ORDER BY a.order_no, a.item
