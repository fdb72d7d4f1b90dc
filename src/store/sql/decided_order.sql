-- An order as a person's decision finds it, item by item. $1 order number  $2 payer, where the discrepancy names one
SELECT a.order_no, a.payer_id, a.item, a.run_id, a.declaration_no, a.amount, a.state, d.insurance_type, d.kind, d.channel, d.period_from,
       d.period_to, d.state AS declaration_state, COALESCE(l.gateway, o.gateway, '') AS gateway, COALESCE(l.bank_code, '') AS bank_code,
       COALESCE(r.valid_year, left(d.period_from, 4)::smallint) AS valid_year, f.file_name,
       -- May be with the gateway: in a sealed file, or started online.
       f.file_id IS NOT NULL OR COALESCE(o.state = 'started', false) AS sent,
       s.order_no IS NOT NULL AND v.order_no IS NULL AS settled, s.settled_at, s.gateway_txn_no,
       -- Of the last events about the order and its declaration.
       greatest(a.sequence, 1 + r.tells_planned::int, o.sequence, s.sequence + 1, v.sequence, e.sequence) AS sequence,
       greatest(d.sequence, s.declaration_sequence) AS declaration_sequence,
       -- Another order that is out for the declaration, or has paid it.
       (SELECT min(h.order_no) FROM attempts h
        WHERE h.payer_id = a.payer_id AND h.declaration_no = a.declaration_no AND h.order_no <> a.order_no
          AND h.state NOT IN ('failed', 'withdrawn', 'reversed')) AS other_order_no,
       -- Another declaration of the obligation that has taken its place.
       (SELECT min(e.declaration_no) FROM declarations e
        WHERE e.payer_id = d.payer_id AND e.insurance_type = d.insurance_type AND e.period_from = d.period_from
          AND e.period_to = d.period_to AND e.kind = d.kind AND e.assessment_no = d.assessment_no
          AND e.declaration_no <> d.declaration_no AND e.state NOT IN ('voided', 'rejected', 'reversed')) AS other_declaration_no,
       -- What a failure makes of it: as in fail.sql.
       d.channel = 'batch' AND (n.fact_time, n.fact_id) IS DISTINCT FROM (d.setting_time, d.setting_id)
           AND is_setting_outdated(d.insurance_type, COALESCE(r.valid_year, left(d.period_from, 4)::smallint), d.payer_id, d.period_from,
                                   d.setting_time, d.setting_id) AS outdated,
       COALESCE(d.failed_runs + 1 < r.retry_runs, false) AS retries_left,
       n.hold_reason IS NOT NULL AS held,
       CASE WHEN d.kind = 'normal' THEN n.amount END AS set_amount,
       -- Of the last event about the year, where an amount is set for it; whole years are fulfilled by their payment.
       d.kind = 'normal' AND d.period_from <> d.period_to AS whole_year,
       CASE WHEN d.kind = 'normal' AND n.payer_id IS NOT NULL THEN (
           SELECT greatest(max(y.sequence), (SELECT max(t.amount_sequence) FROM settlements t
                                             WHERE t.payer_id = d.payer_id AND t.insurance_type = d.insurance_type
                                               AND t.period_from = d.period_from))
           FROM amount_settings y
           WHERE y.insurance_type = n.insurance_type AND y.valid_year = n.valid_year AND y.payer_id = n.payer_id) END AS amount_sequence
FROM attempts a
JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
LEFT JOIN runs r ON r.run_id = a.run_id
LEFT JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
    AND f.state IN ('sealed', 'delivering', 'delivered')
LEFT JOIN online_orders o ON o.order_no = a.order_no AND o.payer_id = a.payer_id AND a.run_id IS NULL
LEFT JOIN settlements s ON s.order_no = a.order_no AND s.payer_id = a.payer_id AND s.item = a.item
LEFT JOIN reversals v ON v.order_no = a.order_no AND v.payer_id = a.payer_id AND v.item = a.item
LEFT JOIN confirmations e ON e.order_no = a.order_no AND e.payer_id = a.payer_id
LEFT JOIN amount_settings n ON n.payer_id = d.payer_id AND n.insurance_type = d.insurance_type AND n.state = 'active'
    AND n.valid_year = COALESCE(r.valid_year, left(d.period_from, 4)::smallint)
WHERE a.order_no = $1 AND ($2::text IS NULL OR a.payer_id = $2)
ORDER BY a.payer_id, a.item
