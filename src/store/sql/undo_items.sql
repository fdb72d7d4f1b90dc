-- What a result file has done to orders, a row for each of their items: how it was before, and which events take it back.
-- Looked up before anything of it is moved. $1 the file
CREATE TEMP TABLE undoing ON COMMIT DROP AS
WITH unpaid AS (
    -- Failed for the silence of days that no other applied bill covers.
    SELECT u.* FROM unpaid_orders u JOIN online_orders o USING (order_no)
    WHERE EXISTS (SELECT FROM bill_days b
                  WHERE b.result_file_id = $1 AND b.gateway = o.gateway AND b.day BETWEEN u.first_day AND u.last_day
                    AND NOT EXISTS (SELECT FROM bill_days c WHERE c.gateway = b.gateway AND c.day = b.day AND c.result_file_id <> $1))
), outcomes AS (
    -- Several lines may have moved an order one after the other.
    SELECT order_no, payer_id, item, max(sequence) AS sequence, min(booked_at) AS booked_at,
           -- A doubt about an online order is told by its discrepancy.
           min(sequence - (declaration_state IS NOT NULL)::int) AS online_before, min(sequence) - 1 AS run_before,
           COALESCE(max(state_before) FILTER (WHERE state_before <> 'unknown'), max(state_before)) AS state_before,
           bool_or(state_before IS NULL) AS is_of_earlier_version, bool_or(declaration_state IS NOT NULL) AS freed,
           max(declaration_sequence) AS declaration_sequence,
           max(declaration_state) FILTER (WHERE declaration_state IS NOT NULL) AS declaration_state,
           bool_or(class = 'retryable') AS is_retryable, bool_or(class = 'final') AS is_final, max(amount_sequence) AS amount_sequence,
           (array_agg(streak_before) FILTER (WHERE streak_before IS NOT NULL))[1] AS streak_before, min(line_no) AS first_line
    FROM attempt_outcomes WHERE result_file_id = $1
    GROUP BY 1, 2, 3
), touched AS (
    -- With the last event about the order before each, if it is an online one, and if it is one of a run.
    SELECT order_no, payer_id, item, sequence + 1 AS sequence, sequence AS online_before, sequence - 1 AS run_before, declaration_sequence, booked_at
    FROM settlements WHERE result_file_id = $1
    UNION ALL
    SELECT order_no, payer_id, item, sequence, online_before, run_before, declaration_sequence, booked_at FROM outcomes
    UNION ALL
    SELECT order_no, payer_id, item, sequence, sequence - 1, sequence - 1, declaration_sequence, booked_at FROM reversals WHERE result_file_id = $1
    UNION ALL
    SELECT c.order_no, c.payer_id, a.item, c.sequence, c.sequence - 1, c.sequence, NULL, c.booked_at
    FROM confirmations c JOIN attempts a ON a.order_no = c.order_no AND a.payer_id = c.payer_id WHERE c.result_file_id = $1
    UNION ALL
    SELECT a.order_no, a.payer_id, a.item, u.sequence, u.sequence - 1, NULL, NULL, u.booked_at FROM unpaid u JOIN attempts a ON a.order_no = u.order_no
), items AS (
    SELECT order_no, payer_id, item, max(sequence) AS last_sequence, max(declaration_sequence) AS last_declaration_sequence,
           min(online_before) AS online_before, min(run_before) AS run_before, min(booked_at) AS booked_at
    FROM touched GROUP BY 1, 2, 3
), known AS (
    SELECT i.*, a.run_id, a.declaration_no, a.amount, a.state, d.insurance_type, d.kind, d.channel, d.period_from, d.period_to,
           d.assessment_no, d.state AS declaration_state, d.sequence AS declaration_row_sequence, d.hold_reason AS declaration_hold,
           COALESCE(l.gateway, o.gateway) AS gateway, COALESCE(l.bank_code, '') AS bank_code, f.file_name,
           COALESCE(r.valid_year, left(d.period_from, 4)::smallint) AS valid_year,
           s.gateway_txn_no, s.settled_at, s.amount_sequence AS settled_amount_sequence,
           COALESCE(s.result_file_id = $1, false) AS settled_here, COALESCE(s.result_file_id <> $1, s.order_no IS NOT NULL) AS settled_elsewhere,
           COALESCE(v.result_file_id = $1, false) AS reversed_here, COALESCE(v.result_file_id <> $1, v.order_no IS NOT NULL) AS reversed_elsewhere,
           COALESCE(c.result_file_id = $1, false) AS confirmed_here, u.order_no IS NOT NULL AS unpaid_here,
           -- Without this file: by a row of another one, a decision, or another bill.
           s.message_id IS NULL OR c.result_file_id <> $1 AS stays_confirmed,
           p.order_no IS NOT NULL AS had_outcome, COALESCE(p.freed, false) AS freed, p.declaration_sequence AS freed_sequence,
           p.declaration_state AS freed_as, COALESCE(p.is_retryable, false) AS is_retryable, COALESCE(p.is_final, false) AS is_final,
           p.amount_sequence AS held_sequence, p.streak_before, p.first_line,
           CASE WHEN p.order_no IS NOT NULL THEN p.state_before WHEN v.result_file_id = $1 THEN v.state_before
                WHEN u.order_no IS NOT NULL THEN u.state_before ELSE a.state END AS state_before,
           p.is_of_earlier_version OR v.result_file_id = $1 AND v.state_before IS NULL
               OR u.order_no IS NOT NULL AND u.state_before IS NULL AS is_of_earlier_version,
           o.sequence AS order_row_sequence, a.sequence AS attempt_sequence,
           max(greatest(i.last_sequence, a.sequence, 1 + r.tells_planned::int, o.sequence)) OVER of_order AS order_sequence,
           max(i.last_sequence) OVER of_order AS order_last_sequence,
           min(CASE WHEN a.run_id IS NULL THEN i.online_before ELSE i.run_before END) OVER of_order AS order_sequence_before,
           greatest(d.sequence, a.declaration_sequence, i.last_declaration_sequence) + 1 AS declaration_sequence
    FROM items i
    JOIN attempts a ON a.order_no = i.order_no AND a.payer_id = i.payer_id AND a.item = i.item
    JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
    LEFT JOIN runs r ON r.run_id = a.run_id
    LEFT JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
    LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
        AND f.state IN ('sealed', 'delivering', 'delivered')
    LEFT JOIN online_orders o ON o.order_no = a.order_no AND o.payer_id = a.payer_id AND a.run_id IS NULL
    LEFT JOIN settlements s ON s.order_no = i.order_no AND s.payer_id = i.payer_id AND s.item = i.item
    LEFT JOIN reversals v ON v.order_no = i.order_no AND v.payer_id = i.payer_id AND v.item = i.item
    LEFT JOIN confirmations c ON c.order_no = i.order_no AND c.payer_id = i.payer_id
    LEFT JOIN outcomes p ON p.order_no = i.order_no AND p.payer_id = i.payer_id AND p.item = i.item
    LEFT JOIN unpaid u ON u.order_no = i.order_no
    WINDOW of_order AS (PARTITION BY i.order_no, i.payer_id)
), told AS (
    SELECT k.*,
           CASE -- payment.recorded again
                WHEN settled_elsewhere AND (reversed_here OR confirmed_here AND run_id IS NULL) THEN 'recorded'
                WHEN settled_elsewhere THEN NULL
                -- payment.reversed
                WHEN settled_here AND NOT reversed_here THEN 'undone'
                -- deduction.sent or deduction.unknown again
                WHEN run_id IS NOT NULL THEN 'open'
                -- payment.started again, once an order
                WHEN item = 1 AND (settled_here OR freed OR unpaid_here) THEN 'open' END AS order_news,
           CASE WHEN settled_elsewhere AND reversed_here THEN 'paid'
                WHEN settled_here OR freed OR unpaid_here THEN 'paying' END AS declaration_news
    FROM known k
)
SELECT t.*, row_number() OVER (ORDER BY order_no, payer_id, item) AS place,
       order_sequence + sum((order_news IS NOT NULL)::int) OVER (PARTITION BY order_no, payer_id ORDER BY item) AS news_sequence,
       order_sequence + sum((order_news IS NOT NULL)::int) OVER (PARTITION BY order_no, payer_id) AS order_sequence_after
FROM told t;
CREATE UNIQUE INDEX ON undoing (place);
CREATE INDEX ON undoing (order_no);
ANALYZE undoing;
