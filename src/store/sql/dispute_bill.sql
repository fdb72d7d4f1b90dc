-- Opens a discrepancy for each line that needs a person; where it says something of an order's outcome, for each of its
-- declarations, so that none of them is collected before somebody has decided. $1 gateway  $2 bank code  $3 result file  $4 now
INSERT INTO discrepancies (kind, gateway, bank_code, result_file_id, line_no, item, order_no, payer_id, declaration_no, amount_ours,
                           amount_theirs, code, gateway_txn_no, settled_at, detail, opened_at)
SELECT j.verdict, $1, $2, $3, j.line_no, COALESCE(a.item, 1), COALESCE(j.order_no, j.their_order_no), NULLIF(j.payer_id, ''),
       COALESCE(a.declaration_no, w.declaration_no), COALESCE(a.amount, j.ours),
       -- Their sum once in all, whatever it is.
       CASE WHEN a.item IS NULL OR j.amount = j.ours THEN COALESCE(a.amount, j.amount) WHEN a.item = 1 THEN j.amount END,
       j.code, j.gateway_txn_no, j.settled_at, j.fault, $4
FROM judged j
LEFT JOIN attempts a ON a.order_no = j.order_no AND a.payer_id = j.payer_id AND j.what = 'result'
    AND j.verdict IN ('contradiction', 'unknown_code')
-- Of an order with one declaration that is the one.
LEFT JOIN LATERAL (SELECT min(w.declaration_no) AS declaration_no FROM attempts w
                   WHERE w.order_no = j.order_no AND w.payer_id = j.payer_id HAVING count(*) = 1) w ON true
WHERE j.verdict NOT IN ('settle', 'confirm', 'reverse', 'fail', 'unknown', 'noted', 'repeated', 'not_ours')
ORDER BY j.line_no, a.item
