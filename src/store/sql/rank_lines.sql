-- Of lines that share an order or a transaction with another line of the file: their place among them. Whole-file
-- knowledge, so that a range of lines is judged as if the whole file were.
CREATE INDEX ON result_lines (line_no);
ANALYZE result_lines;
CREATE TEMP TABLE line_ranks AS
WITH shared AS (
    SELECT order_no FROM result_lines WHERE what = 'result' AND order_no IS NOT NULL GROUP BY order_no HAVING count(*) > 1
    UNION
    SELECT order_no FROM result_lines WHERE what = 'result' AND gateway_txn_no IN (
        SELECT gateway_txn_no FROM result_lines WHERE what = 'result' AND gateway_txn_no IS NOT NULL
        GROUP BY gateway_txn_no HAVING count(*) > 1)
), lines AS (
    SELECT l.*, concat_ws('|', COALESCE(l.class, '?'), l.code, l.amount::text) AS said
    FROM result_lines l WHERE l.what = 'result' AND l.order_no IN (SELECT order_no FROM shared)
)
SELECT line_no,
       row_number() OVER of_order AS nth,
       -- The very same row again, wherever in the file.
       row_number() OVER (PARTITION BY order_no, said, gateway_txn_no ORDER BY line_no) AS copy,
       first_value(gateway_txn_no) OVER of_order AS first_txn_no,
       -- Rows of one order that do not say the same: none of them is believed.
       min(said) OVER (PARTITION BY order_no) IS DISTINCT FROM max(said) OVER (PARTITION BY order_no) AS conflicting,
       -- One transaction number under two orders in this very file.
       class = 'success' AND gateway_txn_no IS NOT NULL
           AND min(order_no) OVER (PARTITION BY gateway_txn_no) <> max(order_no) OVER (PARTITION BY gateway_txn_no) AS txn_shared
FROM lines
WINDOW of_order AS (PARTITION BY order_no ORDER BY line_no);
CREATE INDEX ON line_ranks (line_no);
ANALYZE line_ranks;
