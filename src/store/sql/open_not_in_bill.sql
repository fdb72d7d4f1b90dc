-- Payments that a channel has reported and that no row of a bill is about, though the bills of every day from the order's
-- start to the reported payment are applied (UnionPay: also the day after). $1 reported since  $2 now  $3 at most so many
INSERT INTO discrepancies AS d (kind, gateway, bank_code, item, order_no, payer_id, declaration_no, amount_ours, gateway_txn_no, settled_at, opened_at)
SELECT 'not_in_bill', s.gateway, s.bank_code, s.item, s.order_no, s.payer_id, s.declaration_no, s.amount, s.gateway_txn_no, s.settled_at, $2
FROM settlements s
JOIN online_orders o ON o.order_no = s.order_no AND o.payer_id = s.payer_id
CROSS JOIN LATERAL (
    SELECT (least(o.started_at, s.settled_at) AT TIME ZONE 'Asia/Shanghai')::date AS first_day,
           (s.settled_at AT TIME ZONE 'Asia/Shanghai')::date + (s.gateway = 'unionpay')::int AS last_day) w
WHERE s.message_id IS NOT NULL AND s.settled_at > $1
  AND (SELECT count(DISTINCT b.day) FROM bill_days b WHERE b.gateway = s.gateway AND b.day BETWEEN w.first_day AND w.last_day)
      = w.last_day - w.first_day + 1
  AND NOT EXISTS (SELECT FROM confirmations c WHERE c.order_no = s.order_no AND c.payer_id = s.payer_id)
  AND NOT EXISTS (SELECT FROM reversals r WHERE r.order_no = s.order_no AND r.payer_id = s.payer_id)
  AND NOT EXISTS (SELECT FROM discrepancies e WHERE e.order_no = s.order_no
                  AND (e.kind = 'not_in_bill' AND e.payer_id = s.payer_id AND e.item = s.item OR e.line_no IS NOT NULL))
ORDER BY s.order_no, s.item
LIMIT $3
RETURNING EXPLAINED
