-- Books reversals of settlements that stand, and takes their attempts and declarations along. $1 order numbers  $2 payers
-- $3 items  $4 result files  $5 lines  $6 decisions  $7 numbers of the refunds  $8 the gateway's times  $9 now
WITH given AS MATERIALIZED (
    SELECT *
    FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::timestamptz[])
         AS g (order_no, payer_id, item, result_file_id, line_no, decision_id, refund_txn_no, reversed_at)
), reversed AS MATERIALIZED (
    SELECT g.*, s.declaration_no, s.insurance_type, s.kind, s.period_from, s.period_to, s.valid_year, s.amount, s.channel, s.gateway,
           s.bank_code, s.gateway_txn_no, s.settled_at, s.amount_sequence, a.state AS state_before,
           -- Behind the last event about the order, one for each of its items.
           greatest(s.sequence + 1, a.sequence, o.sequence, c.sequence) + row_number() OVER (PARTITION BY g.order_no, g.payer_id ORDER BY g.item) AS sequence,
           greatest(d.sequence, s.declaration_sequence) + 1 AS declaration_sequence
    FROM given g
    JOIN standing_settlements s ON s.order_no = g.order_no AND s.payer_id = g.payer_id AND s.item = g.item
    JOIN attempts a ON a.order_no = g.order_no AND a.payer_id = g.payer_id AND a.item = g.item
    JOIN declarations d ON d.declaration_no = s.declaration_no AND d.payer_id = s.payer_id
    LEFT JOIN online_orders o ON o.order_no = g.order_no AND o.payer_id = g.payer_id AND a.run_id IS NULL
    LEFT JOIN confirmations c ON c.order_no = g.order_no AND c.payer_id = g.payer_id
), kept AS (
    INSERT INTO reversals (order_no, payer_id, item, declaration_no, result_file_id, line_no, decision_id, gateway_txn_no, reversed_at,
                           booked_at, sequence, declaration_sequence, state_before)
    SELECT order_no, payer_id, item, declaration_no, result_file_id, line_no, decision_id, refund_txn_no, reversed_at, $9, sequence,
           declaration_sequence, state_before
    FROM reversed
), moved AS (
    UPDATE attempts a SET state = 'reversed', sequence = r.sequence
    FROM reversed r
    WHERE a.order_no = r.order_no AND a.payer_id = r.payer_id AND a.item = r.item
), ended AS (
    UPDATE declarations d SET state = 'reversed', sequence = r.declaration_sequence
    FROM reversed r
    WHERE d.declaration_no = r.declaration_no AND d.payer_id = r.payer_id
), counted AS (
    UPDATE online_orders o SET sequence = r.sequence
    FROM (SELECT order_no, payer_id, max(sequence) AS sequence FROM reversed GROUP BY 1, 2) r
    WHERE o.order_no = r.order_no AND o.payer_id = r.payer_id AND o.state = 'started'
), unfulfilled AS (
    -- The year is not fulfilled any more: what is told next about its amount counts on from there.
    UPDATE amount_settings a SET sequence = r.amount_sequence
    FROM reversed r
    WHERE a.insurance_type = r.insurance_type AND a.valid_year = r.valid_year AND a.payer_id = r.payer_id AND a.state = 'active'
      AND a.sequence < r.amount_sequence
)
SELECT order_no, payer_id, item, declaration_no, insurance_type, kind, period_from, period_to, amount, channel, gateway, bank_code,
       gateway_txn_no, settled_at, reversed_at, sequence, declaration_sequence
FROM reversed
ORDER BY order_no, item
