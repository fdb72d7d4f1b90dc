-- Judges a range of a bill's staged lines against the book: exactly one verdict a line. Runs under the gate.
-- $1 gateway   $2 bank code   $3 the place before the first   $4 the last place   $5 the file's last line
-- $6 patterns of our order numbers; all are ours where there are none
-- Verdicts: settle, confirm, reverse, fail, unknown (applied); noted (applied without effect); repeated; not_ours; or a
-- discrepancy's kind. `doubt` marks a line by which an open order becomes unknown.
CREATE TEMP TABLE judged ON COMMIT DROP AS
WITH lines AS (
    SELECT l.*, COALESCE(r.copy, 1) AS copy, COALESCE(r.nth, 1) AS nth, COALESCE(r.txn_shared, false) AS txn_shared
    FROM result_lines l LEFT JOIN bill_ranks r ON r.line_no = l.line_no
    WHERE l.line_no > $3 AND l.line_no <= $4 AND COALESCE(r.place, l.line_no) = l.line_no
    UNION ALL
    SELECT l.*, r.copy, r.nth, r.txn_shared
    FROM bill_ranks r JOIN result_lines l ON l.line_no = r.line_no
    WHERE r.place > $3 AND r.place <= $4 AND r.place > $5
), matched AS (
    SELECT l.line_no, l.what, l.order_no AS their_order_no, l.amount, l.code, l.class, l.gateway_txn_no, l.refund_no,
           to_timestamp(l.settled_epoch) AS settled_at, l.fault, l.copy, l.nth, l.txn_shared,
           t.order_no AS txn_order_no,
           -- A refund is of the transaction that it names; a payment of the order, else of what its transaction has settled.
           CASE WHEN l.what = 'refund' AND t.order_no IS NOT NULL OR n.order_no IS NULL THEN t.order_no ELSE n.order_no END AS order_no,
           CASE WHEN l.what = 'refund' AND t.order_no IS NOT NULL OR n.order_no IS NULL THEN t.payer_id ELSE n.payer_id END AS payer_id
    FROM lines l
    LEFT JOIN LATERAL (
        SELECT s.order_no, s.payer_id FROM settlements s
        WHERE s.gateway = $1 AND s.bank_code = $2 AND s.gateway_txn_no = l.gateway_txn_no AND s.item = 1
        UNION ALL
        SELECT c.order_no, c.payer_id FROM confirmations c
        WHERE c.gateway = $1 AND c.bank_code = $2 AND c.gateway_txn_no = l.gateway_txn_no
        LIMIT 1) t ON true
    LEFT JOIN LATERAL (
        SELECT o.order_no, o.payer_id FROM online_orders o WHERE o.order_no = l.order_no AND o.gateway = $1 AND $2 = ''
        UNION ALL
        SELECT a.order_no, a.payer_id
        FROM attempts a JOIN run_lanes w ON w.run_id = a.run_id AND w.lane = a.lane AND w.gateway = $1 AND w.bank_code = $2
        WHERE a.order_no = l.order_no
        LIMIT 1) n ON true
), known AS (
    SELECT m.*, a.run_id, a.withdrawal, a.state AS attempt_state, o.code AS refused_as, COALESCE(o.amount, a.amount) AS ours,
           CASE WHEN m.order_no IS NULL THEN 'none'
                WHEN v.order_no IS NOT NULL THEN 'reversed'
                WHEN s.order_no IS NOT NULL THEN 'settled'
                WHEN o.state = 'refused' THEN 'refused'
                WHEN a.run_id IS NOT NULL AND (f.file_id IS NULL OR a.state = 'withdrawn') THEN 'unsent'
                WHEN a.state = 'failed' THEN 'failed'
                ELSE 'open' END AS state,
           -- As the settlement or its confirmation has it; a report may have come without.
           COALESCE(s.gateway_txn_no, c.gateway_txn_no) AS held_txn_no,
           -- By a report, a decision or a batch's result, and no bill has it yet.
           c.order_no IS NULL AND NOT COALESCE(b.is_bill, false) AS is_unconfirmed,
           v.line_no IS NOT NULL AS reversed_by_line,
           m.what = 'refund' AND k.refund_no IS NOT NULL AS refund_known,
           d.discrepancy_id IS NOT NULL AS complained,
           p.discrepancy_id IS NOT NULL AS money_known,
           u.code AS last_code
    FROM matched m
    LEFT JOIN online_orders o ON o.order_no = m.order_no AND o.payer_id = m.payer_id AND o.gateway = $1 AND $2 = ''
    LEFT JOIN attempts a ON a.order_no = m.order_no AND a.payer_id = m.payer_id AND a.item = 1
    LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
        AND f.state IN ('sealed', 'delivering', 'delivered')
    LEFT JOIN settlements s ON s.order_no = m.order_no AND s.payer_id = m.payer_id AND s.item = 1
    LEFT JOIN result_files b ON b.result_file_id = s.result_file_id
    LEFT JOIN confirmations c ON c.order_no = m.order_no AND c.payer_id = m.payer_id
    LEFT JOIN reversals v ON v.order_no = m.order_no AND v.payer_id = m.payer_id AND v.item = 1
    LEFT JOIN refunds k ON k.gateway = $1 AND k.bank_code = $2 AND k.refund_no = m.refund_no AND k.state = m.code AND m.what = 'refund'
    LEFT JOIN LATERAL (SELECT u.code FROM attempt_outcomes u
                       WHERE u.order_no = m.order_no AND u.payer_id = m.payer_id AND u.item = 1 AND a.state = 'unknown'
                       ORDER BY u.sequence DESC LIMIT 1) u ON true
    -- The same complaint from an earlier file or a channel: one is enough, as long as nobody has said that what comes next
    -- counts anew, and the order is not known since.
    LEFT JOIN LATERAL (SELECT d.discrepancy_id FROM discrepancies d LEFT JOIN discrepancy_decisions w ON w.decision_id = d.decision_id
                       WHERE d.order_no = m.their_order_no AND d.gateway = $1 AND d.bank_code = $2
                         AND d.gateway_txn_no IS NOT DISTINCT FROM m.gateway_txn_no
                         AND CASE WHEN d.line_no IS NULL THEN d.kind IN ('contradiction', 'double_payment', 'unknown_order') AND m.class = 'success'
                                  ELSE d.code = m.code AND m.amount = (SELECT sum(e.amount_theirs) FROM discrepancies e
                                      WHERE e.result_file_id = d.result_file_id AND e.line_no = d.line_no) END
                         AND (d.kind <> 'unknown_order' OR m.order_no IS NULL OR o.state = 'refused'
                              OR a.run_id IS NOT NULL AND (f.file_id IS NULL OR a.state = 'withdrawn'))
                         AND (d.state = 'open' OR w.what <> 'keep_waiting') LIMIT 1) d ON m.what IN ('result', 'movement')
    -- Money that is in the books as nobody's, or as too much.
    LEFT JOIN LATERAL (SELECT d.discrepancy_id FROM discrepancies d
                       WHERE d.gateway = $1 AND d.bank_code = $2
                         AND d.kind IN ('unknown_order', 'double_payment', 'paid_after_void', 'contradiction', 'amount_differs')
                         AND (m.what = 'refund' AND d.gateway_txn_no = m.gateway_txn_no OR m.what = 'movement' AND d.order_no = m.their_order_no)
                       LIMIT 1) p ON m.what IN ('refund', 'movement')
), told AS (
    SELECT k.*,
           held_txn_no IS NULL OR gateway_txn_no IS NULL OR held_txn_no = gateway_txn_no AS is_same_txn,
           CASE WHEN their_order_no LIKE ANY ($6) OR cardinality($6) = 0 THEN 'unknown_order' ELSE 'not_ours' END AS of_nobody
    FROM known k
), verdicts AS (
    SELECT t.*,
           CASE
               WHEN what = 'unparsable' THEN 'unparsable_row'
               WHEN what = 'movement' THEN
                   CASE WHEN code <> 'in' OR their_order_no IS NULL OR state <> 'none' OR money_known THEN 'noted' ELSE of_nobody END
               WHEN complained OR copy > 1 OR refund_known THEN 'repeated'
               WHEN state = 'none' AND NOT money_known THEN of_nobody
               WHEN what = 'refund' THEN
                   CASE -- Of money that is not what the order was settled with.
                        WHEN state IN ('none', 'refused', 'unsent', 'failed') OR NOT is_same_txn THEN
                            CASE WHEN money_known THEN 'noted' ELSE 'unknown_order' END
                        WHEN code IN ('processing', 'failed') THEN 'noted'
                        WHEN code = 'abnormal' THEN 'refund_abnormal'
                        WHEN amount > ours THEN 'amount_differs'
                        WHEN amount < ours THEN 'partial_refund'
                        WHEN state = 'settled' THEN 'reverse'
                        WHEN state = 'reversed' AND reversed_by_line THEN 'contradiction'
                        -- Of an order that its payment's bill will settle: it is reversed then.
                        ELSE 'noted' END
               WHEN state = 'unsent' THEN
                   CASE WHEN class = 'success' AND withdrawal = 'voided' THEN 'paid_after_void' ELSE 'unknown_order' END
               WHEN class IS NULL THEN 'unknown_code'
               WHEN state = 'refused' THEN
                   CASE WHEN class <> 'success' THEN 'noted'
                        WHEN refused_as IN ('already_paid', 'attempt_in_flight') THEN 'double_payment'
                        ELSE 'unknown_order' END
               WHEN state IN ('settled', 'reversed') THEN
                   CASE WHEN class = 'retryable' THEN 'contradiction'
                        WHEN class = 'unknown' THEN 'noted'
                        WHEN class = 'final' THEN
                            CASE WHEN NOT is_same_txn THEN 'noted'
                                 WHEN state = 'settled' THEN 'reverse'
                                 ELSE 'repeated' END
                        WHEN NOT is_same_txn THEN 'double_payment'
                        WHEN held_txn_no IS NULL AND (txn_order_no IS NOT NULL OR txn_shared) THEN 'contradiction'
                        WHEN amount <> ours THEN 'amount_differs'
                        WHEN is_unconfirmed THEN 'confirm'
                        ELSE 'repeated' END
               WHEN state = 'failed' THEN
                   CASE class WHEN 'success' THEN 'contradiction' WHEN 'unknown' THEN 'noted' ELSE 'repeated' END
               WHEN class = 'success' AND (txn_order_no IS NOT NULL OR txn_shared) THEN 'contradiction'
               WHEN class = 'success' AND amount <> ours THEN 'amount_differs'
               WHEN class = 'success' THEN 'settle'
               WHEN class = 'final' THEN 'fail'
               -- Not the end of it: only a final code frees the declarations.
               WHEN attempt_state = 'unknown' AND last_code = code THEN 'repeated'
               ELSE 'unknown'
           END AS said
    FROM told t
), placed AS (
    SELECT v.*, row_number() OVER (PARTITION BY order_no, payer_id, said IN ('settle', 'confirm', 'reverse', 'fail', 'unknown')
                                   ORDER BY line_no) AS effect_no
    FROM verdicts v
)
SELECT p.line_no, p.what, p.their_order_no, p.order_no, p.payer_id, p.run_id, p.amount, p.ours, p.code, p.class, p.gateway_txn_no,
       p.refund_no, p.settled_at, p.fault, p.state,
       -- One line changes an order at a time; so many different rows about one order are beyond belief.
       CASE WHEN said IN ('settle', 'confirm', 'reverse', 'fail', 'unknown') AND (effect_no > 1 OR nth > 3 AND what = 'result')
            THEN 'contradiction' ELSE said END AS verdict,
       said IN ('contradiction', 'unknown_code', 'amount_differs') AND what = 'result' AND state = 'open' AS doubt
FROM placed p
