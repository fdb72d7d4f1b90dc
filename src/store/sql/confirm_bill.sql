-- Notes the settlements that a bill has, too. $1 gateway  $2 bank code  $3 result file  $4 now
WITH confirmed AS MATERIALIZED (
    -- A deduction's payment was told as confirmed already.
    SELECT j.*, greatest(o.sequence, s.sequence, v.sequence, a.sequence) + (j.run_id IS NULL)::int AS sequence
    FROM judged j
    JOIN attempts a ON a.order_no = j.order_no AND a.payer_id = j.payer_id AND a.item = 1
    LEFT JOIN online_orders o ON o.order_no = j.order_no AND o.payer_id = j.payer_id
    CROSS JOIN LATERAL (SELECT max(s.sequence) + 1 AS sequence FROM settlements s WHERE s.order_no = j.order_no AND s.payer_id = j.payer_id) s
    LEFT JOIN LATERAL (SELECT max(v.sequence) AS sequence FROM reversals v WHERE v.order_no = j.order_no AND v.payer_id = j.payer_id) v ON true
    WHERE j.verdict = 'confirm'
), counted AS (
    UPDATE online_orders o SET sequence = c.sequence FROM confirmed c WHERE o.order_no = c.order_no AND o.payer_id = c.payer_id AND c.run_id IS NULL
)
INSERT INTO confirmations (order_no, payer_id, gateway, bank_code, amount, gateway_txn_no, settled_at, result_file_id, line_no, booked_at, sequence)
SELECT order_no, payer_id, $1, $2, amount, gateway_txn_no, settled_at, $3, line_no, $4, sequence FROM confirmed
