-- The applied result files and bills of a gateway's day, with what they declare and what our book has of their lines: of the
-- days that a bill covers (one without rows may be that of several), else of its own date, else of the day on which it came.
-- $1 gateway  $2 bank code, or none for all  $3 the day
WITH files AS (
    SELECT * FROM result_files f
    WHERE f.gateway = $1 AND ($2::text IS NULL OR f.bank_code = $2) AND f.state = 'applied'
      AND CASE WHEN EXISTS (SELECT FROM bill_days b WHERE b.result_file_id = f.result_file_id)
               THEN EXISTS (SELECT FROM bill_days b WHERE b.result_file_id = f.result_file_id AND b.day = $3)
               ELSE COALESCE(f.business_date, (f.received_at AT TIME ZONE 'Asia/Shanghai')::date) = $3 END
)
SELECT f.result_file_id, f.file_name, f.bank_code, f.rows, f.covers_from, f.covers_to, f.declared_rows,
       f.paid_count, f.paid_total, f.refund_count, f.refund_total,
       s.count AS settled_count, s.total AS settled_total, c.count AS confirmed_count, c.total AS confirmed_total,
       b.count AS refunded_count, b.total AS refunded_total, r.count AS reversed_count, r.total AS reversed_total,
       p.not_taken
FROM files f
-- An order is one line, whatever it pays.
CROSS JOIN LATERAL (SELECT count(DISTINCT s.line_no), COALESCE(sum(s.amount), 0) AS total
                    FROM settlements s WHERE s.result_file_id = f.result_file_id) s
CROSS JOIN LATERAL (SELECT count(*), COALESCE(sum(c.amount), 0) AS total FROM confirmations c WHERE c.result_file_id = f.result_file_id) c
CROSS JOIN LATERAL (SELECT count(*), COALESCE(sum(b.amount), 0) AS total FROM refunds b WHERE b.result_file_id = f.result_file_id) b
CROSS JOIN LATERAL (SELECT count(DISTINCT r.line_no), COALESCE(sum(s.amount), 0) AS total
                    FROM reversals r JOIN settlements s USING (order_no, payer_id, item)
                    WHERE r.result_file_id = f.result_file_id) r
CROSS JOIN LATERAL (SELECT COALESCE(sum(d.amount_ours - d.amount_theirs), 0) AS not_taken FROM discrepancies d
                    WHERE d.result_file_id = f.result_file_id AND d.kind = 'amount_differs' AND d.amount_theirs < d.amount_ours) p
ORDER BY f.result_file_id
