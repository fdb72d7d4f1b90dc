-- The applied result files of a gateway's day, with what they declare and what we hold for their lines: of the days that a
-- file covers, else of its own date, else of the day on which it came.
-- $1 gateway  $2 bank code, or none for all  $3 the day
WITH files AS (
    SELECT * FROM result_files f
    WHERE f.gateway = $1 AND ($2::text IS NULL OR f.bank_code = $2) AND f.state = 'applied'
      AND CASE WHEN f.covers_from IS NOT NULL THEN $3 BETWEEN f.covers_from AND f.covers_to
               ELSE COALESCE(f.business_date, (f.received_at AT TIME ZONE 'Asia/Shanghai')::date) = $3 END
)
SELECT f.result_file_id, f.file_name, f.bank_code, f.rows, f.covers_from, f.covers_to, f.declared_count,
       f.declared_success_count, f.declared_success_total, f.declared_refund_count, f.declared_refund_total,
       f.known_success_count, f.known_success_total,
       s.count AS settled_count, s.total AS settled_total, r.count AS reversed_count, r.total AS reversed_total
FROM files f
CROSS JOIN LATERAL (SELECT count(DISTINCT s.line_no), COALESCE(sum(s.amount), 0) AS total
                    FROM settlements s WHERE s.result_file_id = f.result_file_id) s
CROSS JOIN LATERAL (SELECT count(DISTINCT r.line_no), COALESCE(sum(s.amount), 0) AS total
                    FROM reversals r JOIN settlements s USING (order_no, payer_id, item)
                    WHERE r.result_file_id = f.result_file_id) r
ORDER BY f.result_file_id
