-- Withdraws planned attempts of runs not yet sealed whose ground has gone: the year was voided, the amount changed, the
-- assessment was withdrawn or changed, the enrolment closed, the agreement ended or its account went to another bank, or
-- a person has to decide whether money has moved for the obligation by another order.
-- $1: the payers whose facts have just changed, in the transaction that changes them; so there is nothing left to be
-- withdrawn when a run is sealed. A declaration whose setting (where a run filed it) or assessment is gone is voided with
-- its attempt, unless money may have moved for it; any other is payable again.
-- What each row becomes is computed once, in `outdated`: results of updates are not joined back, so that no join of two
-- sets without statistics can become a loop over both. The locks see to it that each of them is still as it was read.
WITH planned AS MATERIALIZED (
    SELECT a.order_no, a.payer_id, a.run_id, a.declaration_no, a.agreement_no, a.amount, r.business_date, r.valid_year,
           d.insurance_type, d.kind, d.channel, d.setting_time, d.setting_id, d.period_from, d.period_to, d.assessment_no,
           l.gateway, l.bank_code,
           a.sequence + 1 AS sequence, d.sequence + 1 AS declaration_sequence
    FROM attempts a
    JOIN runs r ON r.run_id = a.run_id AND r.sealed_at IS NULL
    JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
    JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
    WHERE a.state = 'planned' AND a.payer_id = ANY ($1)
), judged AS MATERIALIZED (
    SELECT p.*,
           -- Where the active version is the one it was filed on, nothing has to be looked up.
           CASE WHEN p.kind = 'special' THEN h.status = 'withdrawn'
                WHEN s.payer_id IS NULL OR COALESCE(s.period_from, '') > p.period_from
                    THEN is_month_voided(p.insurance_type, p.valid_year, p.payer_id, p.period_from)
                ELSE false END AS voided,
           CASE WHEN p.kind = 'special' THEN h.payer_id IS NULL
                    OR (h.insurance_type, h.period_from, h.period_to, h.amount) <> (p.insurance_type, p.period_from, p.period_to, p.amount)
                ELSE p.channel = 'batch' AND (s.fact_time, s.fact_id) IS DISTINCT FROM (p.setting_time, p.setting_id)
                    AND is_setting_outdated(p.insurance_type, p.valid_year, p.payer_id, p.period_from, p.setting_time, p.setting_id)
                END AS changed,
           -- Ended by the day of the run, or not begun yet.
           e.payer_id IS NULL OR (e.status = 'active') = (e.effective_on > p.business_date) AS closed,
           g.payer_id IS NULL OR g.status <> 'active' OR NOT g.batch_enabled
               OR (g.gateway, lane_bank(g.gateway, g.bank_code)) <> (p.gateway, p.bank_code)
               OR NOT p.insurance_type = ANY (g.insurance_types) OR g.amount_max < p.amount AS disagreed,
           -- Of the obligation, or of an order that we refused and that was paid all the same, for whatever. What came for
           -- the order itself before it was sent says nothing.
           EXISTS (SELECT FROM discrepancies c
                   LEFT JOIN declarations o ON o.declaration_no = c.declaration_no AND o.payer_id = c.payer_id
                   WHERE c.payer_id = p.payer_id AND c.state = 'open' AND c.order_no <> p.order_no
                     AND CASE WHEN c.declaration_no IS NULL THEN c.message_id IS NOT NULL
                              ELSE o.insurance_type = p.insurance_type AND o.kind = p.kind AND o.assessment_no = p.assessment_no
                                  AND (p.kind = 'special' OR o.period_from = p.period_from) END) AS disputed
    FROM planned p
    LEFT JOIN amount_settings s ON s.payer_id = p.payer_id AND s.insurance_type = p.insurance_type
        AND s.valid_year = p.valid_year AND s.state = 'active'
    LEFT JOIN assessments h ON h.payer_id = p.payer_id AND h.assessment_no = p.assessment_no AND p.kind = 'special'
    LEFT JOIN enrolments e ON e.payer_id = p.payer_id AND e.insurance_type = p.insurance_type
    LEFT JOIN agreements g ON g.payer_id = p.payer_id AND g.agreement_no = p.agreement_no
), reasoned AS (
    SELECT j.*,
           CASE WHEN voided THEN 'voided' WHEN changed THEN 'setting_changed' WHEN closed THEN 'enrolment_closed'
                WHEN disputed THEN 'attempt_in_flight' ELSE 'no_agreement' END AS reason
    FROM judged j
    WHERE voided OR changed OR closed OR disputed OR disagreed
), outdated AS MATERIALIZED (
    SELECT r.*,
           CASE WHEN (channel = 'batch' OR kind = 'special') AND NOT disputed AND reason IN ('voided', 'setting_changed') THEN 'voided' ELSE 'payable' END AS declaration_state
    FROM reasoned r
), withdrawn AS (
    UPDATE attempts a SET state = 'withdrawn', withdrawal = o.reason, sequence = o.sequence
    FROM outdated o
    WHERE a.order_no = o.order_no AND a.payer_id = o.payer_id
), freed AS (
    UPDATE declarations d SET state = o.declaration_state, sequence = o.declaration_sequence
    FROM outdated o
    WHERE d.declaration_no = o.declaration_no AND d.payer_id = o.payer_id
)
SELECT order_no, payer_id, run_id, declaration_no, amount, insurance_type, kind, channel, period_from, period_to,
       reason, sequence, declaration_state, declaration_sequence, gateway, bank_code, NULL AS file_name
FROM outdated
ORDER BY order_no
