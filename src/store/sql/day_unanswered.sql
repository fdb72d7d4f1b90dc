-- Orders that were sent to a gateway on a day and have not come to an end, and payments that channels have reported as of it
-- and no bill has: behind one of them, in order.
-- $1 gateway  $2 bank code, or none for all  $3 first instant of the day  $4 that of the next  $5, $6 order and item  $7 how many
SELECT u.order_no, u.item, u.what, NULL::bigint AS result_file_id, NULL::bigint AS line_no, NULL::text AS code, NULL::text AS state,
       u.amount AS amount_ours, NULL::numeric AS amount_theirs, NULL::text AS detail
FROM (
    SELECT s.order_no, s.item, s.amount, CASE s.state WHEN 'unknown' THEN 'unknown' ELSE 'not_answered' END AS what
    FROM (SELECT a.* FROM request_files f
          JOIN attempts a ON a.run_id = f.run_id AND a.lane = f.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
          WHERE f.gateway = $1 AND ($2::text IS NULL OR f.bank_code = $2) AND f.state = 'delivered'
            AND f.delivered_at >= $3 AND f.delivered_at < $4
          UNION ALL
          SELECT a.* FROM online_orders o JOIN attempts a ON a.order_no = o.order_no AND a.payer_id = o.payer_id AND a.run_id IS NULL
          WHERE o.gateway = $1 AND $2 IS NULL AND o.state = 'started' AND o.started_at >= $3 AND o.started_at < $4) s
    WHERE s.state IN ('planned', 'sent', 'unknown')
      AND NOT EXISTS (SELECT FROM settlements p WHERE p.order_no = s.order_no AND p.payer_id = s.payer_id AND p.item = s.item)
    UNION ALL
    SELECT s.order_no, s.item, s.amount, 'not_confirmed'
    FROM standing_settlements s
    WHERE s.gateway = $1 AND ($2 IS NULL OR s.bank_code = $2) AND s.message_id IS NOT NULL AND s.settled_at >= $3 AND s.settled_at < $4
      AND NOT EXISTS (SELECT FROM confirmations c WHERE c.order_no = s.order_no AND c.payer_id = s.payer_id)) u
WHERE (u.order_no, u.item) > ($5, $6)
ORDER BY u.order_no, u.item
LIMIT $7
