-- What rests on a result file: of every kind how often, and some of it. Empty where the file may be undone. $1 the file
-- $2 at most so many of a kind. Reads `undoing`.
WITH RECURSIVE walked AS (
    -- Back from the last event about each order, over what undone files and their undos have told of it.
    SELECT order_no, payer_id, order_last_sequence, max(greatest(order_row_sequence, attempt_sequence)) AS sequence FROM undoing GROUP BY 1, 2, 3
    HAVING max(greatest(order_row_sequence, attempt_sequence)) > order_last_sequence
    UNION ALL
    SELECT w.order_no, w.payer_id, w.order_last_sequence, u.sequence_before
    FROM walked w
    JOIN undone_orders u ON u.order_no = w.order_no AND u.payer_id = w.payer_id AND u.sequence_after = w.sequence
    WHERE w.sequence > w.order_last_sequence
), blocks AS (
    SELECT 'events_waiting' AS kind, o.outbox_id::text AS about
    FROM outbox o WHERE o.published_at IS NULL AND o.kind IN ('results', 'discrepancies') AND o.scope_id = $1
    UNION ALL
    SELECT 'earlier_version', order_no FROM undoing WHERE is_of_earlier_version
    UNION ALL
    -- By a person, or by a start that its money was for.
    SELECT CASE WHEN d.decision_id IS NOT NULL THEN 'discrepancy_decided' ELSE 'money_used' END, d.discrepancy_id::text
    FROM discrepancies d WHERE d.result_file_id = $1 AND (d.decision_id IS NOT NULL OR d.evidence IS NOT NULL)
    UNION ALL
    SELECT 'decided_since', d.discrepancy_id::text
    FROM discrepancies d
    JOIN discrepancy_decisions w ON w.decision_id = d.decision_id
    JOIN undoing i ON i.order_no = d.order_no AND w.decided_at > i.booked_at
    WHERE d.result_file_id IS DISTINCT FROM $1
    UNION ALL
    SELECT 'decided_since', d.discrepancy_id::text
    FROM discrepancies d WHERE split_part(d.evidence, '#', 1) = 'result_file:' || $1 AND d.decision_id IS NOT NULL
    UNION ALL
    -- Another line, a report or a decision has moved the order on, or has found it otherwise.
    SELECT 'said_since', order_no FROM walked GROUP BY order_no, payer_id, order_last_sequence HAVING min(sequence) > order_last_sequence
    UNION ALL
    SELECT 'said_since', i.order_no FROM undoing i WHERE i.settled_here AND i.reversed_elsewhere OR i.settled_elsewhere AND i.had_outcome
    UNION ALL
    SELECT 'said_since', i.order_no FROM undoing i JOIN confirmations c ON c.order_no = i.order_no AND c.payer_id = i.payer_id
    WHERE i.settled_here AND c.result_file_id <> $1
    UNION ALL
    SELECT 'said_since', i.order_no
    FROM undoing i JOIN attempt_outcomes o ON o.order_no = i.order_no AND o.payer_id = i.payer_id AND o.item = i.item
    WHERE o.result_file_id <> $1 AND o.sequence > i.last_sequence
    UNION ALL
    SELECT 'said_since', i.order_no FROM undoing i JOIN discrepancies d ON d.order_no = i.order_no
    WHERE d.result_file_id IS DISTINCT FROM $1 AND d.opened_at > i.booked_at
    UNION ALL
    -- A report that said nothing new then; without the file it would have.
    SELECT 'reported_since', m.source || '/' || m.id
    FROM messages m
    WHERE m.kind = 'pikou.in.payment.reported.v1' AND m.outcome <> 'waiting'
      AND EXISTS (SELECT FROM undoing i WHERE i.payer_id = m.payer_id AND i.run_id IS NULL AND m.received_at > i.booked_at)
    UNION ALL
    -- Said no to, because it was paid; or yes, because nothing was out any more.
    SELECT CASE m.outcome WHEN 'refused' THEN 'refused_since' ELSE 'voided_since' END, m.source || '/' || m.id
    FROM messages m
    WHERE (m.outcome = 'refused' AND m.code = 'already_paid'
           AND EXISTS (SELECT FROM undoing i WHERE i.payer_id = m.payer_id AND i.settled_here AND m.received_at > i.booked_at))
       OR (m.outcome = 'accepted' AND m.kind = 'pikou.in.amount.voided.v1'
           AND EXISTS (SELECT FROM undoing i WHERE i.payer_id = m.payer_id AND i.freed AND m.received_at > i.booked_at))
    UNION ALL
    -- Freed, and then deducted, paid or voided; or held for something else.
    SELECT 'declaration_moved', i.declaration_no FROM undoing i
    WHERE CASE
        WHEN i.settled_here AND NOT i.reversed_here THEN i.declaration_state <> 'paying' AND NOT i.reversed_elsewhere
        WHEN i.reversed_here THEN i.declaration_state <> 'reversed'
        WHEN i.freed THEN (i.declaration_state, i.declaration_row_sequence) IS DISTINCT FROM (i.freed_as, i.freed_sequence)
        WHEN i.unpaid_here THEN i.declaration_state <> 'payable' END
    UNION ALL
    SELECT 'declared_anew', e.declaration_no
    FROM undoing i
    JOIN declarations e ON e.payer_id = i.payer_id AND e.insurance_type = i.insurance_type AND e.period_from = i.period_from
        AND e.period_to = i.period_to AND e.kind = i.kind AND e.assessment_no = i.assessment_no
        AND e.declaration_no <> i.declaration_no AND e.state NOT IN ('voided', 'rejected', 'reversed')
    WHERE i.declaration_state IN ('voided', 'reversed') AND i.declaration_news IS NOT NULL
    UNION ALL
    SELECT 'counted_since', i.payer_id
    FROM undoing i JOIN failure_streaks k ON k.payer_id = i.payer_id AND k.insurance_type = i.insurance_type
    WHERE i.streak_before IS NOT NULL AND k.last_file_id <> $1
    UNION ALL
    SELECT 'year_ended', i.payer_id
    FROM undoing i JOIN expired_amounts x ON x.insurance_type = i.insurance_type AND x.valid_year = i.valid_year AND x.payer_id = i.payer_id
    WHERE i.declaration_news = 'paying' AND x.expired_at > i.booked_at
)
SELECT kind, count(*) AS count, (array_agg(about ORDER BY about))[1:$2] AS about
FROM (SELECT DISTINCT kind, about FROM blocks) b
GROUP BY kind
ORDER BY kind
