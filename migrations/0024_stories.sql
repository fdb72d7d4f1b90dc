-- What `pikou explain` tells of one payer is found by payer, whatever became of it. Of declarations and attempts the live
-- ones are found so already (one_live_declaration, one_live_attempt): a run that plans a million attempts writes nothing here.

CREATE INDEX messages_of_a_payer ON messages (payer_id);
CREATE INDEX declarations_over ON declarations (payer_id) WHERE state IN ('voided', 'rejected', 'reversed');
CREATE INDEX attempts_over ON attempts (payer_id) WHERE state IN ('failed', 'withdrawn', 'reversed');
