-- What a plan would make of one range of payers, without writing anything: what it would void first is left out, and what
-- the opening of the year would carry over is there. One row for each reason, and one without for what is deducted.
--  $1 to $17 are those of judge_range.sql, $18 and $19 those of carrying.sql
--  $20 gateways  $21 banks of the run's lanes  $22 whether the year is still to be opened  $23 samples at most
WITH destinations AS (
    SELECT place::smallint AS lane, gateway, bank_code, 0::bigint AS attempts
    FROM unnest($20::text[], $21::text[]) WITH ORDINALITY AS d (gateway, bank_code, place)
), carrying AS MATERIALIZED (
{carrying}
      AND $22
), versions AS MATERIALIZED (
    SELECT payer_id, insurance_type, valid_year, state, amount, hold_reason, fact_time, fact_id, period_from
    FROM amount_settings
    WHERE insurance_type = $1 AND valid_year = $2 AND payer_id > $5 AND payer_id <= $6
    UNION ALL
    SELECT payer_id, $1, $2, 'active', amount, hold_reason, carried_over_time(), 'carried_over', period_from FROM carrying
), {judged}
SELECT reason, count(*) AS candidates, sum(amount) AS total,
       (array_agg(payer_id ORDER BY payer_id))[1:$23] AS samples,
       -- Of the whole range, in each of its rows: whoever is carried over is a candidate.
       (SELECT count(*) FROM carrying) AS carried,
       (SELECT COALESCE(sum(amount), 0) FROM carrying) AS carried_total,
       (SELECT count(hold_reason) FROM carrying) AS carried_held
FROM judged
GROUP BY reason
