-- The sequence of every subject is 1, 2, 3 … without gaps, whatever is published. What an order's sequence begins with is
-- decided when its run is made, so that a setting that changes meanwhile leaves no gap.

-- Runs that exist were counted as if they told it; their orders go on like that.
ALTER TABLE runs ADD COLUMN tells_planned boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN runs.tells_planned IS 'Whether deduction.planned is published, as configured when the run was made: where it is, deduction.sent is an order''s second event, else its first';
COMMENT ON COLUMN attempts.sequence IS 'Of the last event about the order that its row was written with; 0 where none is told of yet. deduction.sent adds one without writing the row';
ALTER TABLE attempts ADD CONSTRAINT a_sequence_counts_events CHECK (sequence >= 0);
