-- A result file of any size is kept, read and booked in bounded pieces.

CREATE TABLE result_file_pieces (
    result_file_id bigint NOT NULL REFERENCES result_files,
    piece_no       integer NOT NULL CHECK (piece_no > 0),
    content        bytea NOT NULL,
    PRIMARY KEY (result_file_id, piece_no)
);
COMMENT ON TABLE result_file_pieces IS 'The bytes of result files as they came, in order, encrypted piece by piece';
ALTER TABLE result_file_pieces ALTER COLUMN content SET STORAGE EXTERNAL;
INSERT INTO result_file_pieces (result_file_id, piece_no, content) SELECT result_file_id, 1, content FROM result_files;

DROP TRIGGER as_it_came ON result_files;
DROP TRIGGER encrypted_anew ON result_files;
ALTER TABLE result_files DROP COLUMN content;
CREATE TRIGGER as_it_came BEFORE UPDATE ON result_files FOR EACH ROW
    WHEN ((OLD.sha256, OLD.gateway) IS DISTINCT FROM (NEW.sha256, NEW.gateway)
          OR (OLD.state IN ('staged', 'applied') AND (OLD.file_name, OLD.bank_code) IS DISTINCT FROM (NEW.file_name, NEW.bank_code)))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON result_file_pieces FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER as_it_came BEFORE UPDATE ON result_file_pieces FOR EACH ROW WHEN (NOT is_reencrypting()) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER encrypted_anew BEFORE UPDATE ON result_file_pieces FOR EACH ROW WHEN (is_reencrypting())
    EXECUTE FUNCTION only_the_encryption_changes();

-- A file is booked in ranges of lines, each with its mark in one transaction.
ALTER TABLE result_files ADD COLUMN booked_through bigint NOT NULL DEFAULT 0 CHECK (booked_through >= 0),
    DROP CONSTRAINT result_files_state_check,
    ADD CONSTRAINT result_files_state_check CHECK (state IN ('received', 'staged', 'applied', 'refused')),
    DROP CONSTRAINT applied_when_it_says_so,
    ADD CONSTRAINT applied_when_it_says_so CHECK (CASE state
        WHEN 'applied' THEN num_nulls(rows, applied, repeated, discrepancies, not_ours, applied_at) = 0
        WHEN 'staged' THEN num_nulls(applied, repeated, discrepancies, not_ours) = 0 AND num_nonnulls(rows, applied_at) = 0
        ELSE num_nonnulls(rows, applied, repeated, discrepancies, not_ours, applied_at) = 0 AND booked_through = 0 END);
UPDATE result_files f SET booked_through = greatest(
    (SELECT max(line_no) FROM settlements s WHERE s.result_file_id = f.result_file_id),
    (SELECT max(line_no) FROM attempt_outcomes o WHERE o.result_file_id = f.result_file_id),
    (SELECT max(line_no) FROM discrepancies d WHERE d.result_file_id = f.result_file_id), 0)
WHERE state = 'applied';
COMMENT ON COLUMN result_files.state IS 'staged: its totals hold, and its lines are being booked';
COMMENT ON COLUMN result_files.booked_through IS 'The last line that is booked; whoever goes on begins behind it';

CREATE FUNCTION result_files_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (('received', 'received'), ('received', 'staged'), ('received', 'applied'), ('received', 'refused'),
                                      ('refused', 'refused'), ('refused', 'staged'), ('refused', 'applied'),
                                      ('staged', 'staged'), ('staged', 'applied'), ('applied', 'applied'))
        OR NEW.booked_through < OLD.booked_through THEN
        RAISE EXCEPTION 'a result file does not change like that'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'result_files_move_forward';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER move_forward BEFORE UPDATE ON result_files FOR EACH ROW EXECUTE FUNCTION result_files_move_forward();
