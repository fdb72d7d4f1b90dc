-- Request files of several gateways, what people decide on them, and the fence of their hand-over.

-- Whose lane an agreement belongs to: a bank has one of its own, another gateway reaches every bank by one.
CREATE FUNCTION lane_bank(gateway text, bank_code text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE gateway WHEN 'bank' THEN bank_code ELSE '' END;
COMMENT ON COLUMN run_lanes.bank_code IS 'Empty where the gateway reaches every bank';
COMMENT ON TABLE run_lanes IS 'One a bank, and one for all of another gateway''s: its order numbers ascend without gaps, so a request file is a range of them';

ALTER TABLE request_files
    ADD COLUMN batch_date     date,
    ADD COLUMN batch_no       integer CHECK (batch_no > 0),
    ADD COLUMN delivery_epoch bigint,
    ADD COLUMN handed_over_at timestamptz,
    ADD COLUMN decision_id    bigint,
    ADD CONSTRAINT numbered_on_its_day CHECK ((batch_date IS NULL) = (batch_no IS NULL)),
    ADD CONSTRAINT one_batch_a_number UNIQUE (gateway, bank_code, batch_date, batch_no),
    ADD CONSTRAINT unionpay_numbers_with_four_digits CHECK (gateway <> 'unionpay' OR batch_no <= 9999);
COMMENT ON COLUMN request_files.batch_date IS 'The day on which the run was sealed; null in files of the first versions';
COMMENT ON COLUMN request_files.batch_no IS 'Its number among the files of that day for this bank or gateway';
COMMENT ON COLUMN request_files.delivery_epoch IS 'Of the lease under which its part was written, before it could be renamed: a part of that epoch or a later one that lies in the folder was never taken. Older ones are worth nothing';
COMMENT ON COLUMN request_files.handed_over_at IS 'When we last put it into the folder ourselves; null where somebody carried it';
COMMENT ON COLUMN request_files.decision_id IS 'The last decision of a person that it rests on';

CREATE TABLE request_file_decisions (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file_id     bigint NOT NULL REFERENCES request_files,
    decided_at  timestamptz NOT NULL,
    decided_by  text NOT NULL CHECK (decided_by <> ''),
    reason      text NOT NULL CHECK (reason <> ''),
    what        text NOT NULL CHECK (what IN ('look', 'resend', 'mark_sent')),
    state_then  text NOT NULL CHECK (state_then IN ('sealed', 'delivering', 'delivered')),
    UNIQUE (decision_id, file_id),
    CONSTRAINT a_decision_fits_its_file CHECK (CASE what
        WHEN 'resend' THEN state_then IN ('delivering', 'delivered')
        WHEN 'mark_sent' THEN state_then IN ('sealed', 'delivering') ELSE true END)
);
COMMENT ON TABLE request_file_decisions IS 'What people did with request files: looked at the bytes, had the same bytes handed over again, said that the bank has them. Who, when and why; never changed';
COMMENT ON COLUMN request_file_decisions.state_then IS 'The state of the file when it was decided';
CREATE INDEX request_file_decisions_of ON request_file_decisions (file_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON request_file_decisions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE request_files ADD CONSTRAINT rests_on_its_own_decision
    FOREIGN KEY (decision_id, file_id) REFERENCES request_file_decisions (decision_id, file_id);

CREATE OR REPLACE FUNCTION request_files_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (('open', 'sealed'), ('open', 'empty'), ('sealed', 'delivering'), ('delivering', 'delivering'),
                                      ('delivering', 'delivered'), ('delivered', 'delivered'))
        OR (OLD.run_id, OLD.lane, OLD.part, OLD.gateway, OLD.bank_code, OLD.file_name, OLD.first_order_no, OLD.last_order_no,
            OLD.batch_date, OLD.batch_no)
            IS DISTINCT FROM (NEW.run_id, NEW.lane, NEW.part, NEW.gateway, NEW.bank_code, NEW.file_name, NEW.first_order_no,
                NEW.last_order_no, NEW.batch_date, NEW.batch_no)
        OR (OLD.sha256 IS NOT NULL AND (OLD.sha256, OLD.content, OLD.items, OLD.total) IS DISTINCT FROM (NEW.sha256, NEW.content, NEW.items, NEW.total))
        -- Of a delivered file only what people decide afterwards, and that it went out again, is written.
        OR (OLD.state = 'delivered' AND (OLD.sealed_at, OLD.delivering_at, OLD.delivered_at, OLD.held_reason)
            IS DISTINCT FROM (NEW.sealed_at, NEW.delivering_at, NEW.delivered_at, NEW.held_reason))
        OR NEW.delivery_epoch < OLD.delivery_epoch
        OR NEW.decision_id < OLD.decision_id OR (OLD.decision_id IS NOT NULL AND NEW.decision_id IS NULL) THEN
        RAISE EXCEPTION 'a request file does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'request_files_move_forward';
    END IF;
    -- What waits for a person goes on waiting until one has decided: only a part that was never taken speaks for itself.
    IF OLD.held_reason IS NOT NULL AND NEW.held_reason IS NULL AND NEW.state = 'delivering'
        AND NOT EXISTS (SELECT FROM request_file_decisions d WHERE d.decision_id = NEW.decision_id AND d.file_id = NEW.file_id
                            AND d.what = 'resend' AND d.decision_id IS DISTINCT FROM OLD.decision_id) THEN
        RAISE EXCEPTION 'a held file waits for a decision'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'a_held_file_waits_for_a_decision';
    END IF;
    RETURN NEW;
END $$;
