-- What was sent to a gateway on a day, by what has become of it since.
-- $1 gateway  $2 bank code, or none for all  $3 first instant of the day  $4 that of the next
WITH sent AS (
    SELECT a.order_no, a.payer_id, a.item, a.amount, a.state, f.bank_code, false AS is_online
    FROM request_files f
    JOIN attempts a ON a.run_id = f.run_id AND a.lane = f.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
        AND a.state <> 'withdrawn'
    WHERE f.gateway = $1 AND ($2::text IS NULL OR f.bank_code = $2) AND f.state = 'delivered' AND f.delivered_at >= $3 AND f.delivered_at < $4
    UNION ALL
    SELECT a.order_no, a.payer_id, a.item, a.amount, a.state, '', true
    FROM online_orders o
    JOIN attempts a ON a.order_no = o.order_no AND a.payer_id = o.payer_id AND a.run_id IS NULL
    WHERE o.gateway = $1 AND $2 IS NULL AND o.state = 'started' AND o.started_at >= $3 AND o.started_at < $4
), ended AS (
    SELECT s.*,
           CASE WHEN s.state = 'reversed' THEN 'reversed'
                WHEN p.message_id IS NOT NULL AND c.order_no IS NULL THEN 'reported'
                WHEN p.order_no IS NOT NULL THEN 'succeeded'
                WHEN s.state IN ('failed', 'unknown') THEN s.state
                ELSE 'open' END AS status
    FROM sent s
    LEFT JOIN settlements p ON p.order_no = s.order_no AND p.payer_id = s.payer_id AND p.item = s.item
    LEFT JOIN confirmations c ON c.order_no = s.order_no AND c.payer_id = s.payer_id AND p.message_id IS NOT NULL
)
SELECT e.status, CASE WHEN e.status = 'failed' THEN e.bank_code ELSE '' END AS bank_code,
       -- An online order may have failed without a row: by what its channel said, or because no bill has it.
       CASE WHEN e.status <> 'failed' THEN '' ELSE COALESCE(o.code, u.code, CASE WHEN e.is_online THEN 'reported' ELSE '' END) END AS code,
       count(*) AS count, sum(e.amount) AS total
FROM ended e
LEFT JOIN LATERAL (SELECT o.code FROM attempt_outcomes o
                   WHERE o.order_no = e.order_no AND o.payer_id = e.payer_id AND o.item = e.item AND e.status = 'failed'
                   ORDER BY o.sequence DESC LIMIT 1) o ON true
LEFT JOIN LATERAL (SELECT 'not_paid' AS code FROM unpaid_orders u WHERE u.order_no = e.order_no AND e.status = 'failed') u ON true
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
