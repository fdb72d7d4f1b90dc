-- Withdraws planned attempts of runs not yet sealed whose ground has gone: the year was voided, the amount changed,
-- the enrolment closed, the agreement ended or its account went to another bank. $1: one run (sealing), or null; $2: some payers (intake), or null.
-- A run-filed declaration whose setting is gone is voided with its attempt; any other is payable again.
WITH planned AS MATERIALIZED (
    SELECT a.order_no, a.payer_id, a.run_id, a.declaration_no, a.agreement_no, a.amount, r.business_date, r.valid_year,
           d.insurance_type, d.kind, d.channel, d.setting_time, d.setting_id, d.period_from, d.period_to, l.gateway, l.bank_code
    FROM attempts a
    JOIN runs r ON r.run_id = a.run_id AND r.sealed_at IS NULL
    JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
    JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
    WHERE a.state = 'planned' AND {scope}
), judged AS MATERIALIZED (
    SELECT p.*,
           s.payer_id IS NULL AND p.kind = 'normal' AND EXISTS (
               SELECT FROM amount_settings v
               WHERE v.insurance_type = p.insurance_type AND v.valid_year = p.valid_year AND v.payer_id = p.payer_id
                 AND v.state = 'voided') AS voided,
           p.channel = 'batch' AND (s.payer_id IS NULL OR (s.fact_time, s.fact_id) <> (p.setting_time, p.setting_id)) AS changed,
           e.payer_id IS NULL OR (e.status <> 'active' AND e.effective_on <= p.business_date) AS closed,
           g.payer_id IS NULL OR g.status <> 'active' OR NOT g.batch_enabled
               OR (g.gateway, g.bank_code) <> (p.gateway, p.bank_code)
               OR NOT p.insurance_type = ANY (g.insurance_types) OR g.amount_max < p.amount AS disagreed
    FROM planned p
    LEFT JOIN amount_settings s ON s.payer_id = p.payer_id AND s.insurance_type = p.insurance_type
        AND s.valid_year = p.valid_year AND s.state = 'active'
    LEFT JOIN enrolments e ON e.payer_id = p.payer_id AND e.insurance_type = p.insurance_type
    LEFT JOIN agreements g ON g.payer_id = p.payer_id AND g.agreement_no = p.agreement_no
), outdated AS MATERIALIZED (
    SELECT j.*,
           CASE WHEN voided THEN 'voided' WHEN changed THEN 'setting_changed' WHEN closed THEN 'enrolment_closed'
                ELSE 'no_agreement' END AS reason
    FROM judged j
    WHERE voided OR changed OR closed OR disagreed
), withdrawn AS (
    UPDATE attempts a SET state = 'withdrawn', withdrawal = o.reason, sequence = a.sequence + 1
    FROM outdated o
    WHERE a.order_no = o.order_no AND a.payer_id = o.payer_id AND a.state = 'planned'
    RETURNING a.order_no, a.sequence
), freed AS (
    UPDATE declarations d
    SET state = CASE WHEN o.channel = 'batch' AND o.reason IN ('voided', 'setting_changed') THEN 'voided' ELSE 'payable' END,
        sequence = d.sequence + 1
    FROM outdated o
    WHERE d.declaration_no = o.declaration_no AND d.payer_id = o.payer_id AND d.state = 'paying'
    RETURNING d.declaration_no, d.payer_id, d.state, d.sequence
)
SELECT o.order_no, o.payer_id, o.run_id, o.declaration_no, o.amount, o.insurance_type, o.kind, o.channel, o.period_from, o.period_to,
       o.reason, w.sequence, f.state AS declaration_state, f.sequence AS declaration_sequence, o.gateway, o.bank_code
FROM outdated o
JOIN withdrawn w USING (order_no)
JOIN freed f USING (declaration_no, payer_id)
ORDER BY o.order_no
