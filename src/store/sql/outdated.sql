    -- Filed by a run on a setting that holds no more, or special and no longer what was assessed; not while a person has
    -- still to decide whether money moved for it.
    NOT EXISTS (SELECT FROM discrepancies c WHERE c.declaration_no = d.declaration_no AND c.payer_id = d.payer_id AND c.state = 'open')
    AND CASE WHEN d.kind = 'special' THEN NOT EXISTS (
             SELECT FROM assessments h
             WHERE h.payer_id = d.payer_id AND h.assessment_no = d.assessment_no AND h.status = 'issued'
               AND (h.insurance_type, h.period_from, h.period_to, h.amount) = (d.insurance_type, d.period_from, d.period_to, d.amount))
         ELSE d.channel = 'batch' AND NOT EXISTS (
             SELECT FROM amount_settings s
             WHERE s.insurance_type = d.insurance_type AND s.valid_year = $2 AND s.payer_id = d.payer_id
               AND (s.fact_time, s.fact_id) = (d.setting_time, d.setting_id) AND s.state = 'active')
             AND is_setting_outdated(d.insurance_type, $2, d.payer_id, d.period_from, d.setting_time, d.setting_id) END
