-- Ends what is still active in one range of payers of a year that is over, where nothing is out any more. A year that is
-- paid whole stays as it is: it is fulfilled. Runs under the gate.
--  $1 insurance type  $2 valid year  $3 payers after  $4 payers up to  $5 division pattern  $6 patterns cut out of it
--  $7 turn  $8 now  $9 events in a chunk
WITH standing AS MATERIALIZED (
    SELECT s.payer_id, s.fact_time, s.fact_id, s.amount, s.channel, s.hold_reason, s.sequence + 1 AS sequence,
           -- A live attempt may still succeed; of a settled one the outcome is known.
           EXISTS (SELECT FROM declarations d
                   JOIN attempts a ON a.declaration_no = d.declaration_no AND a.payer_id = d.payer_id
                       AND a.state NOT IN ('failed', 'withdrawn', 'reversed')
                   WHERE d.payer_id = s.payer_id AND d.insurance_type = $1 AND d.kind = 'normal' AND d.state = 'paying'
                     AND left(d.period_from, 4) = $2::text
                     AND NOT EXISTS (SELECT FROM settlements t
                                     WHERE t.order_no = a.order_no AND t.payer_id = a.payer_id AND t.item = a.item)) AS out
    FROM amount_settings s
    JOIN enrolments e ON e.payer_id = s.payer_id AND e.insurance_type = $1 AND e.payer_id > $3 AND e.payer_id <= $4
    WHERE s.insurance_type = $1 AND s.valid_year = $2 AND s.state = 'active' AND s.payer_id > $3 AND s.payer_id <= $4
      AND e.division_code LIKE $5 AND NOT e.division_code LIKE ANY ($6)
      AND NOT EXISTS (SELECT FROM standing_settlements p
                      WHERE p.payer_id = s.payer_id AND p.insurance_type = $1 AND p.valid_year = $2 AND p.kind = 'normal'
                        AND p.period_from <> p.period_to AND p.payer_id > $3 AND p.payer_id <= $4)
), ended AS MATERIALIZED (
    SELECT * FROM standing WHERE NOT out
), expired AS (
    UPDATE amount_settings s SET state = 'expired', hold_reason = NULL, sequence = d.sequence
    FROM ended d
    WHERE s.insurance_type = $1 AND s.valid_year = $2 AND s.payer_id = d.payer_id AND s.fact_time = d.fact_time AND s.fact_id = d.fact_id
      AND s.payer_id > $3 AND s.payer_id <= $4
), kept AS (
    INSERT INTO expired_amounts (insurance_type, valid_year, payer_id, sequence, turn_id, amount, channel, hold_reason, expired_at)
    SELECT $1, $2, payer_id, sequence, $7, amount, channel, hold_reason, $8 FROM ended ORDER BY payer_id
), told AS (
    INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
    SELECT 'expired', count(*), $7, min(payer_id), max(payer_id), $8
    FROM (SELECT payer_id, (row_number() OVER (ORDER BY payer_id) - 1) / $9 AS chunk FROM ended) c
    GROUP BY chunk
    ORDER BY min(payer_id)
)
SELECT count(*) FILTER (WHERE NOT out) AS amounts, count(*) FILTER (WHERE out) AS held FROM standing
