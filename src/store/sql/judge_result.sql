-- Judges every staged line of a result file against the book: exactly one verdict a line. Runs under the gate.
-- $1 gateway   $2 bank code
-- Verdicts: settle, fail, unknown (applied); noted (applied without effect); repeated; or a discrepancy's kind.
-- `doubt` marks the one line of an order by which its open attempt becomes unknown.
CREATE TEMP TABLE judged ON COMMIT DROP AS
WITH lines AS (
    SELECT l.*,
           row_number() OVER of_order AS nth,
           -- The very same row again, wherever in the file.
           row_number() OVER (PARTITION BY l.order_no, l.said, l.gateway_txn_no ORDER BY l.line_no) AS copy,
           first_value(l.gateway_txn_no) OVER of_order AS first_txn_no,
           -- Rows of one order that do not say the same: none of them is believed.
           min(l.said) OVER (PARTITION BY l.order_no) IS DISTINCT FROM max(l.said) OVER (PARTITION BY l.order_no) AS conflicting,
           -- One transaction number under two orders in this very file.
           l.class = 'success' AND l.gateway_txn_no IS NOT NULL
               AND min(l.order_no) OVER (PARTITION BY l.gateway_txn_no) <> max(l.order_no) OVER (PARTITION BY l.gateway_txn_no) AS txn_shared
    FROM (SELECT r.*, CASE WHEN r.fault IS NULL THEN concat_ws('|', COALESCE(r.class, '?'), r.code, r.amount::text) END AS said
          FROM result_lines r) l
    WINDOW of_order AS (PARTITION BY l.order_no ORDER BY l.line_no)
), known AS (
    SELECT l.*, a.payer_id, a.run_id, a.declaration_no, a.amount AS ours, a.state AS attempt_state, a.withdrawal,
           -- Of the last event about the order: at least that of deduction.sent, whose row is not updated for it.
           greatest(a.sequence, 1 + r.tells_planned::int) AS sequence,
           a.declaration_sequence, f.file_id, r.valid_year, r.retry_runs, r.suspend_after,
           s.order_no IS NOT NULL AS settled, s.gateway_txn_no AS settled_txn_no, s.amount AS settled_amount,
           t.order_no IS NOT NULL AS txn_known,
           o.class AS last_class, o.code AS last_code,
           d.discrepancy_id IS NOT NULL AS complained
    FROM lines l
    LEFT JOIN (attempts a
        JOIN runs r ON r.run_id = a.run_id
        JOIN run_lanes n ON n.run_id = a.run_id AND n.lane = a.lane AND n.gateway = $1 AND n.bank_code = $2)
        ON a.order_no = l.order_no
    LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
        AND f.state IN ('sealed', 'delivering', 'delivered')
    LEFT JOIN settlements s ON s.order_no = a.order_no AND s.payer_id = a.payer_id
    LEFT JOIN settlements t ON t.gateway = $1 AND t.bank_code = $2 AND t.gateway_txn_no = l.gateway_txn_no
        AND t.order_no <> l.order_no AND l.class = 'success'
    LEFT JOIN LATERAL (SELECT class, code FROM attempt_outcomes o WHERE o.order_no = a.order_no AND a.state IN ('failed', 'unknown')
                       ORDER BY o.sequence DESC LIMIT 1) o ON true
    -- The same complaint, still open, from an earlier file: one is enough. But what came for an order before it was sent
    -- says nothing about what comes for it afterwards.
    LEFT JOIN LATERAL (SELECT discrepancy_id FROM discrepancies d
                       WHERE d.order_no = l.order_no AND d.gateway = $1 AND d.bank_code = $2 AND d.state = 'open'
                         AND d.amount_theirs = l.amount AND d.code = l.code
                         AND (d.kind <> 'unknown_order' OR f.file_id IS NULL OR a.state = 'withdrawn')
                         AND d.gateway_txn_no IS NOT DISTINCT FROM l.gateway_txn_no LIMIT 1) d ON true
), verdicts AS (
    SELECT k.*,
           CASE
               WHEN fault IS NOT NULL THEN 'unparsable_row'
               WHEN complained OR copy > 1 THEN 'repeated'
               -- Not ours to have sent: unheard of, not sealed, or withdrawn.
               WHEN payer_id IS NULL OR file_id IS NULL OR attempt_state = 'withdrawn' THEN
                   CASE WHEN class = 'success' AND withdrawal = 'voided' THEN 'paid_after_void' ELSE 'unknown_order' END
               WHEN settled THEN
                   CASE WHEN class IS NULL THEN 'unknown_code'
                        WHEN class IN ('retryable', 'final') THEN 'contradiction'
                        WHEN class = 'unknown' THEN 'noted'
                        WHEN gateway_txn_no IS DISTINCT FROM settled_txn_no THEN 'double_payment'
                        WHEN amount <> settled_amount THEN 'amount_differs'
                        ELSE 'repeated' END
               WHEN conflicting THEN 'contradiction'
               WHEN nth > 1 AND class = 'success' AND gateway_txn_no IS DISTINCT FROM first_txn_no THEN 'double_payment'
               WHEN nth > 1 THEN 'repeated'
               WHEN class IS NULL THEN 'unknown_code'
               WHEN attempt_state = 'failed' THEN
                   CASE class WHEN 'success' THEN 'contradiction' WHEN 'unknown' THEN 'noted' ELSE 'repeated' END
               WHEN amount <> ours THEN 'amount_differs'
               WHEN class = 'success' AND (txn_known OR txn_shared) THEN 'contradiction'
               WHEN class = 'success' THEN 'settle'
               WHEN class = 'unknown' AND attempt_state = 'unknown' AND last_code = code THEN 'repeated'
               WHEN class = 'unknown' THEN 'unknown'
               ELSE 'fail'
           END AS verdict
    FROM known k
)
SELECT v.*,
       -- An open attempt about which somebody must decide is unknown until then.
       v.verdict IN ('contradiction', 'unknown_code', 'amount_differs') AND NOT v.settled AND v.attempt_state IN ('planned', 'unknown')
           AND v.file_id IS NOT NULL AND v.nth = 1 AS doubt
FROM verdicts v
