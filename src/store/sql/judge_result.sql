-- Judges a range of a result file's staged lines against the book: exactly one verdict a line. Runs under the gate.
-- $1 gateway   $2 bank code   $3 the line before the first   $4 the last line
-- Verdicts: settle, fail, unknown (applied); noted (applied without effect); repeated; or a discrepancy's kind.
-- `doubt` marks the one line of an order by which its open attempt becomes unknown.
CREATE TEMP TABLE judged ON COMMIT DROP AS
WITH lines AS (
    SELECT l.line_no, l.what, l.order_no, l.order_no AS their_order_no, l.amount, l.code, l.class, l.gateway_txn_no, to_timestamp(l.settled_epoch) AS settled_at, l.fault,
           COALESCE(r.nth, 1) AS nth, COALESCE(r.copy, 1) AS copy,
           CASE WHEN r.line_no IS NULL THEN l.gateway_txn_no ELSE r.first_txn_no END AS first_txn_no,
           COALESCE(r.conflicting, false) AS conflicting, COALESCE(r.txn_shared, false) AS txn_shared
    FROM result_lines l LEFT JOIN line_ranks r ON r.line_no = l.line_no
    WHERE l.line_no > $3 AND l.line_no <= $4
), lanes AS MATERIALIZED (
    -- Of all runs: a few rows, where each line would look for its own.
    SELECT n.run_id, n.lane, r.tells_planned, r.valid_year, r.retry_runs, r.suspend_after
    FROM run_lanes n JOIN runs r ON r.run_id = n.run_id WHERE n.gateway = $1 AND n.bank_code = $2
), files AS MATERIALIZED (
    SELECT f.run_id, f.lane, f.file_id, f.first_order_no, f.last_order_no
    FROM request_files f WHERE f.gateway = $1 AND f.bank_code = $2 AND f.state IN ('sealed', 'delivering', 'delivered')
), attempted AS (
    SELECT l.*, a.payer_id, a.run_id, a.lane, a.declaration_no, a.amount AS ours, a.state AS attempt_state, a.withdrawal,
           -- Of the last event about the order: at least that of deduction.sent, whose row is not updated for it.
           greatest(a.sequence, 1 + n.tells_planned::int) AS sequence, a.declaration_sequence,
           n.valid_year, n.retry_runs, n.suspend_after
    FROM lines l
    -- Everything of the book that grows is looked up by its keys, line by line (OFFSET 0 keeps the planner from joining the
    -- tables of the book with each other first): a range is small against the book, and hashing whole tables for each
    -- range would make a file of many ranges quadratic.
    LEFT JOIN LATERAL (SELECT * FROM attempts a WHERE a.order_no = l.order_no AND a.run_id IS NOT NULL OFFSET 0) b ON true
    LEFT JOIN lanes n ON n.run_id = b.run_id AND n.lane = b.lane
    -- Of another bank it is nobody's.
    LEFT JOIN LATERAL (SELECT b.* WHERE n.run_id IS NOT NULL) a ON true
), known AS (
    SELECT a.*, f.file_id,
           s.order_no IS NOT NULL AND a.attempt_state <> 'reversed' AS settled, s.gateway_txn_no AS settled_txn_no, s.amount AS settled_amount,
           t.order_no IS NOT NULL AS txn_known,
           o.class AS last_class, o.code AS last_code,
           d.discrepancy_id IS NOT NULL AS complained
    FROM attempted a
    LEFT JOIN files f ON f.run_id = a.run_id AND f.lane = a.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
    LEFT JOIN LATERAL (SELECT * FROM settlements s WHERE s.order_no = a.order_no AND s.payer_id = a.payer_id OFFSET 0) s ON true
    LEFT JOIN LATERAL (SELECT t.order_no FROM settlements t
                       WHERE t.gateway = $1 AND t.bank_code = $2 AND t.gateway_txn_no = a.gateway_txn_no
                         AND t.order_no <> a.order_no AND a.class = 'success' LIMIT 1) t ON true
    LEFT JOIN LATERAL (SELECT class, code FROM attempt_outcomes o
                       WHERE o.order_no = a.order_no AND a.attempt_state IN ('failed', 'unknown')
                       ORDER BY o.sequence DESC LIMIT 1) o ON true
    -- The same complaint, still open, from an earlier file: one is enough. But what came for an order before it was sent
    -- says nothing about what comes for it afterwards.
    LEFT JOIN LATERAL (SELECT d.discrepancy_id FROM (SELECT * FROM discrepancies d WHERE d.order_no = a.order_no OFFSET 0) d
                       WHERE d.gateway = $1 AND d.bank_code = $2 AND d.state = 'open' AND d.amount_theirs = a.amount AND d.code = a.code
                         AND (d.kind <> 'unknown_order' OR f.file_id IS NULL OR a.attempt_state = 'withdrawn')
                         AND d.gateway_txn_no IS NOT DISTINCT FROM a.gateway_txn_no LIMIT 1) d ON true
), verdicts AS (
    SELECT k.*,
           CASE
               WHEN fault IS NOT NULL THEN 'unparsable_row'
               WHEN complained OR copy > 1 THEN 'repeated'
               -- Not ours to have sent: unheard of, not sealed, or withdrawn.
               WHEN payer_id IS NULL OR file_id IS NULL OR attempt_state = 'withdrawn' THEN
                   CASE WHEN class = 'success' AND withdrawal = 'voided' THEN 'paid_after_void' ELSE 'unknown_order' END
               -- Its money went back: what paid it then is known, and that it was not paid is what we hold.
               WHEN attempt_state = 'reversed' THEN
                   CASE WHEN class IS NULL THEN 'unknown_code'
                        WHEN class <> 'success' THEN 'noted'
                        WHEN gateway_txn_no IS DISTINCT FROM settled_txn_no THEN 'contradiction'
                        ELSE 'repeated' END
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
