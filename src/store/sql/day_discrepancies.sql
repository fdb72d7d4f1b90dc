-- The discrepancies of a gateway's day: every one of its files, and those still open of the day itself, of orders sent on it,
-- and of payments reported as of it. Each once.
-- $1 gateway  $2 bank code, or none for all  $3 first instant of the day  $4 that of the next  $5 files  $6 the day
SELECT d.discrepancy_id, d.kind, d.result_file_id, d.line_no, d.order_no, d.code, d.state, d.amount_ours, d.amount_theirs, d.detail
FROM discrepancies d
WHERE d.gateway = $1 AND ($2::text IS NULL OR d.bank_code = $2)
  AND (d.result_file_id = ANY ($5)
       OR d.state = 'open'
          AND (d.day = $6
               OR EXISTS (SELECT FROM attempts a JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane
                              AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
                          WHERE a.order_no = d.order_no AND f.state = 'delivered' AND f.delivered_at >= $3 AND f.delivered_at < $4)
               OR EXISTS (SELECT FROM online_orders o WHERE o.order_no = d.order_no AND o.started_at >= $3 AND o.started_at < $4)
               OR EXISTS (SELECT FROM settlements s WHERE s.order_no = d.order_no AND s.message_id IS NOT NULL
                            AND s.settled_at >= $3 AND s.settled_at < $4)))
