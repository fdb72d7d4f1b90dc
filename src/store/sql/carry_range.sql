-- Carries one range of payers into a year. Runs under the gate, so nothing is said in between.
--  $1 to $19 are those of carrying.sql   $20 turn   $21 now   $22 events in a chunk
WITH carrying AS MATERIALIZED (
{carrying}
), kept AS (
    INSERT INTO carried_amounts (insurance_type, valid_year, payer_id, turn_id, from_year, amount, hold_reason)
    SELECT $1, $2, payer_id, $20, from_year, amount, hold_reason FROM carrying ORDER BY payer_id
), set AS (
    INSERT INTO amount_settings (insurance_type, valid_year, payer_id, fact_time, fact_id, amount, channel, state, hold_reason,
                                 sequence, period_from)
    SELECT $1, $2, payer_id, carried_over_time(), 'carried_over', amount, 'carried_over', 'active', hold_reason, 1, period_from
    FROM carrying ORDER BY payer_id
), told AS (
    INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
    SELECT 'carried', count(*), $20, min(payer_id), max(payer_id), $21
    FROM (SELECT payer_id, (row_number() OVER (ORDER BY payer_id) - 1) / $22 AS chunk FROM carrying) c
    GROUP BY chunk
    ORDER BY min(payer_id)
)
SELECT count(*) AS amounts, count(hold_reason) AS held FROM carrying
