-- Of a bill's lines those that share an order, a transaction or a refund with another line, and all refunds: when each is
-- booked. Lines of one order are booked one after the other, by the gateway's time, and refunds behind all payments,
-- wherever they stand; so a range of lines is judged as if the whole file were. $1 the file's last line
-- A line's place is its own number in pass 0, and behind the last line in later passes.
CREATE INDEX ON result_lines (line_no);
ANALYZE result_lines;
CREATE TEMP TABLE bill_ranks AS
WITH shared AS (
    SELECT order_no FROM result_lines WHERE what = 'result' GROUP BY order_no HAVING count(*) > 1
    UNION
    SELECT order_no FROM result_lines WHERE what = 'result' AND gateway_txn_no IN (
        SELECT gateway_txn_no FROM result_lines WHERE what = 'result' AND gateway_txn_no IS NOT NULL
        GROUP BY gateway_txn_no HAVING count(*) > 1)
), payments AS (
    SELECT l.*,
           -- The very same row again, wherever in the file.
           row_number() OVER (PARTITION BY order_no, class, code, amount, gateway_txn_no ORDER BY line_no) AS copy,
           -- One transaction number under two orders in this very file.
           class = 'success' AND gateway_txn_no IS NOT NULL
               AND min(order_no) OVER of_transaction <> max(order_no) OVER of_transaction AS txn_shared
    FROM result_lines l WHERE l.what = 'result' AND l.order_no IN (SELECT order_no FROM shared)
    WINDOW of_transaction AS (PARTITION BY gateway_txn_no, class = 'success')
), ordered AS (
    SELECT line_no, copy, txn_shared,
           -- A success comes before the revocation of it, which has the payment's time.
           row_number() OVER (PARTITION BY order_no, copy > 1 ORDER BY settled_epoch NULLS LAST, class IS DISTINCT FROM 'success', line_no) AS nth
    FROM payments
), passes AS (
    SELECT line_no, copy, nth, txn_shared, CASE WHEN copy > 1 THEN 0 ELSE least(nth, 4) - 1 END AS pass FROM ordered
    UNION ALL
    SELECT line_no, row_number() OVER (PARTITION BY refund_no, code ORDER BY line_no), 1, false, 4 FROM result_lines WHERE what = 'refund'
)
SELECT line_no, copy, nth, txn_shared, pass * $1 + line_no AS place FROM passes;
CREATE INDEX ON bill_ranks (line_no);
CREATE INDEX ON bill_ranks (place);
ANALYZE bill_ranks;
