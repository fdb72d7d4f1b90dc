-- The last payer of the next candidates of a run, at most so many payers at a time. A payer is told apart from the next
-- by three lists: amounts of the year, declarations of the period, and special ones of whatever period.
-- $1 insurance type   $2 valid year   $3 period from   $4 payers after   $5 payers at most
SELECT max(payer_id) FROM (
    SELECT payer_id FROM (
        (SELECT DISTINCT payer_id FROM amount_settings
         WHERE insurance_type = $1 AND valid_year = $2 AND payer_id > $4
         ORDER BY payer_id LIMIT $5)
        UNION
        (SELECT payer_id FROM declarations
         WHERE insurance_type = $1 AND period_from = $3 AND state = 'payable' AND collect_by = 'batch' AND payer_id > $4
         ORDER BY payer_id LIMIT $5)
        UNION
        (SELECT DISTINCT payer_id FROM declarations
         WHERE insurance_type = $1 AND kind = 'special' AND state = 'payable' AND collect_by = 'batch' AND payer_id > $4
         ORDER BY payer_id LIMIT $5)) u
    ORDER BY payer_id LIMIT $5) r
