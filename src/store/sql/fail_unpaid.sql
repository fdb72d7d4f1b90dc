-- Fails online orders whose time is over and that no bill has, though the bills of every day from their start to their
-- expiry are applied (UnionPay's settlement day ends at 23:00: also the day after). An order that any row of a bill is
-- about, or that waits for a person, is not among them. $1 now  $2 at most so many orders  $3 longest time in days
WITH expired AS MATERIALIZED (
    SELECT o.order_no, o.payer_id, w.first_day, w.last_day
    FROM attempts a
    JOIN online_orders o ON o.order_no = a.order_no AND o.payer_id = a.payer_id AND o.state = 'started' AND o.expires_at < $1
    CROSS JOIN LATERAL (
        SELECT (least(o.started_at, o.expires_at) AT TIME ZONE 'Asia/Shanghai')::date AS first_day,
               (o.expires_at AT TIME ZONE 'Asia/Shanghai')::date + (o.gateway = 'unionpay')::int AS last_day) w
    WHERE a.run_id IS NULL AND a.item = 1 AND a.state IN ('sent', 'unknown')
      AND w.last_day - w.first_day < $3
      AND (SELECT count(DISTINCT b.day) FROM bill_days b WHERE b.gateway = o.gateway AND b.day BETWEEN w.first_day AND w.last_day)
          = w.last_day - w.first_day + 1
      AND NOT EXISTS (SELECT FROM settlements s WHERE s.order_no = o.order_no AND s.payer_id = o.payer_id)
      AND NOT EXISTS (SELECT FROM discrepancies d WHERE d.order_no = o.order_no AND (d.state = 'open' OR d.line_no IS NOT NULL))
      AND NOT EXISTS (SELECT FROM attempt_outcomes u WHERE u.order_no = o.order_no AND u.payer_id = o.payer_id)
    ORDER BY o.order_no
    LIMIT $2
), failing AS MATERIALIZED (
    SELECT a.order_no, a.payer_id, a.item, a.run_id, a.declaration_no, a.amount, d.insurance_type, d.kind, d.channel, d.period_from,
           d.period_to, o.gateway, '' AS bank_code, o.sequence + 1 AS sequence, a.state AS state_before,
           greatest(d.sequence, a.declaration_sequence) + 1 AS declaration_sequence
    FROM expired e
    JOIN online_orders o ON o.order_no = e.order_no
    JOIN attempts a ON a.order_no = e.order_no AND a.payer_id = e.payer_id
    JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
), kept AS (
    INSERT INTO unpaid_orders (order_no, first_day, last_day, booked_at, sequence, state_before)
    SELECT e.order_no, e.first_day, e.last_day, $1, f.sequence, f.state_before
    FROM expired e JOIN failing f ON f.order_no = e.order_no AND f.item = 1
), moved AS (
    UPDATE attempts a SET state = 'failed', sequence = f.sequence
    FROM failing f WHERE a.order_no = f.order_no AND a.payer_id = f.payer_id AND a.item = f.item
), freed AS (
    UPDATE declarations d SET state = 'payable', sequence = f.declaration_sequence
    FROM failing f WHERE d.declaration_no = f.declaration_no AND d.payer_id = f.payer_id
), counted AS (
    UPDATE online_orders o SET sequence = f.sequence
    FROM failing f WHERE f.item = 1 AND o.order_no = f.order_no
)
SELECT * FROM failing ORDER BY order_no, item
