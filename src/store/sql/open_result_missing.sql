-- Deductions that were handed over long ago and have no result: unknown from now on, never tried again, until a row comes
-- or a person decides. $1 run  $2 gateway  $3 handed over before  $4 behind this order number  $5 at most so many  $6 now
WITH overdue AS MATERIALIZED (
    SELECT a.order_no, a.payer_id, a.run_id, a.declaration_no, a.declaration_sequence, a.amount, d.insurance_type, d.kind, d.channel,
           d.period_from, d.period_to, f.gateway, f.bank_code, f.file_name,
           greatest(a.sequence, 1 + r.tells_planned::int) + 1 AS sequence
    FROM request_files f
    JOIN runs r ON r.run_id = f.run_id
    JOIN attempts a ON a.run_id = f.run_id AND a.lane = f.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
    JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
    WHERE f.run_id = $1 AND f.gateway = $2 AND f.state = 'delivered' AND f.delivered_at < $3
      AND a.order_no > $4 AND a.state = 'planned'
      AND NOT EXISTS (SELECT FROM settlements s WHERE s.order_no = a.order_no AND s.payer_id = a.payer_id)
    ORDER BY a.order_no
    LIMIT $5
), moved AS (
    UPDATE attempts a SET state = 'unknown', sequence = o.sequence
    FROM overdue o WHERE a.order_no = o.order_no AND a.payer_id = o.payer_id
), opened AS (
    INSERT INTO discrepancies (kind, gateway, bank_code, order_no, payer_id, declaration_no, amount_ours, opened_at)
    SELECT 'result_missing', gateway, bank_code, order_no, payer_id, declaration_no, amount, $6 FROM overdue ORDER BY order_no
    RETURNING discrepancy_id, order_no, payer_id
)
SELECT o.*, p.discrepancy_id FROM overdue o JOIN opened p ON p.order_no = o.order_no AND p.payer_id = o.payer_id ORDER BY o.order_no
