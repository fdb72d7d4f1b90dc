-- Values are encrypted anew while everything works: which keys seal nothing any more, and the one way in which a
-- sealed column of evidence may change.

CREATE TABLE retired_keys (
    key_id     text COLLATE "C" PRIMARY KEY,
    retired_at timestamptz NOT NULL
);
COMMENT ON TABLE retired_keys IS 'Keys that nothing is encrypted with any more, so that what still carries them can only become less. Whoever encrypts asks here first, under a lock that retiring waits for';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON retired_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Asked before anything is encrypted in a transaction. The lock first: each statement of this function sees what was
-- committed when it began, so a key that was retired while it waited is seen to be.
CREATE FUNCTION may_seal(sealing_lock bigint, key text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(sealing_lock);
    RETURN NOT EXISTS (SELECT FROM retired_keys WHERE key_id = key);
END $$;

-- The key that a sealed value names, as bytes. Slices only: of a value that lies outside its row no more is read.
CREATE FUNCTION sealed_with(value bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) > 2 AND substring(value FROM 1 FOR 1) = '\x01'::bytea
    THEN substring(value FROM 3 FOR get_byte(substring(value FROM 2 FOR 1), 0)) ELSE CASE WHEN value IS NOT NULL THEN ''::bytea END END;

-- Said in a transaction, and ends with it: SET LOCAL pikou.reencrypting = 'on'.
CREATE FUNCTION is_reencrypting() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN COALESCE(current_setting('pikou.reencrypting', true), '') = 'on';

-- Whether a value may take the place of another: under a key of its own, and as long as before, as both ciphers keep
-- the length. That it holds the same, only who has the keys can see.
CREATE FUNCTION is_sealed_anew(before bytea, after bytea) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN before IS NOT DISTINCT FROM after OR COALESCE(
    sealed_with(after) <> ''::bytea AND sealed_with(after) <> sealed_with(before)
    AND octet_length(after) - octet_length(sealed_with(after)) = octet_length(before) - octet_length(sealed_with(before)), false);

-- Under that setting nothing else of a row may change, whatever columns it has by then.
CREATE FUNCTION only_the_encryption_changes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    rest record := NEW;
    anew boolean;
BEGIN
    IF TG_TABLE_NAME = 'enrolments' THEN
        anew := is_sealed_anew(OLD.name, NEW.name) AND is_sealed_anew(OLD.id_number, NEW.id_number);
        rest.name := OLD.name;
        rest.id_number := OLD.id_number;
    ELSIF TG_TABLE_NAME = 'agreements' THEN
        anew := is_sealed_anew(OLD.account_no, NEW.account_no) AND is_sealed_anew(OLD.account_name, NEW.account_name);
        rest.account_no := OLD.account_no;
        rest.account_name := OLD.account_name;
    ELSIF TG_TABLE_NAME = 'messages' THEN
        anew := is_sealed_anew(OLD.raw, NEW.raw);
        rest.raw := OLD.raw;
    ELSIF TG_TABLE_NAME = 'quarantine' THEN
        anew := is_sealed_anew(OLD.raw, NEW.raw) AND is_sealed_anew(OLD.headers, NEW.headers);
        rest.raw := OLD.raw;
        rest.headers := OLD.headers;
    ELSE
        anew := is_sealed_anew(OLD.content, NEW.content);
        rest.content := OLD.content;
    END IF;
    IF NOT anew OR rest IS DISTINCT FROM OLD THEN
        RAISE EXCEPTION 'while values are encrypted anew, nothing else of % changes', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', CONSTRAINT = 'only_the_encryption_changes';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER encrypted_anew BEFORE UPDATE ON enrolments FOR EACH ROW WHEN (is_reencrypting()) EXECUTE FUNCTION only_the_encryption_changes();
CREATE TRIGGER encrypted_anew BEFORE UPDATE ON agreements FOR EACH ROW WHEN (is_reencrypting()) EXECUTE FUNCTION only_the_encryption_changes();
CREATE TRIGGER encrypted_anew BEFORE UPDATE ON messages FOR EACH ROW WHEN (is_reencrypting()) EXECUTE FUNCTION only_the_encryption_changes();
CREATE TRIGGER encrypted_anew BEFORE UPDATE ON quarantine FOR EACH ROW WHEN (is_reencrypting()) EXECUTE FUNCTION only_the_encryption_changes();
CREATE TRIGGER encrypted_anew BEFORE UPDATE ON request_files FOR EACH ROW WHEN (is_reencrypting()) EXECUTE FUNCTION only_the_encryption_changes();
CREATE TRIGGER encrypted_anew BEFORE UPDATE ON result_files FOR EACH ROW WHEN (is_reencrypting()) EXECUTE FUNCTION only_the_encryption_changes();

-- What came in stays as it came. Only a statement that names one of these columns pays for being asked.
CREATE TRIGGER bytes_as_they_came BEFORE UPDATE OF source, id, seq, kind, payer_id, sent_at, received_at, digest, raw ON messages
    FOR EACH ROW WHEN (NOT is_reencrypting()) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER bytes_as_they_came BEFORE UPDATE OF raw, headers ON quarantine
    FOR EACH ROW WHEN (NOT is_reencrypting()) EXECUTE FUNCTION refuse_change();

-- The guards of the files that look at their bytes give way to the one above, and to nothing else.
DROP TRIGGER move_forward ON request_files;
CREATE TRIGGER move_forward BEFORE UPDATE ON request_files FOR EACH ROW WHEN (NOT is_reencrypting()) EXECUTE FUNCTION request_files_move_forward();
DROP TRIGGER as_it_came ON result_files;
CREATE TRIGGER as_it_came BEFORE UPDATE ON result_files FOR EACH ROW
    WHEN (NOT is_reencrypting() AND ((OLD.sha256, OLD.content, OLD.gateway) IS DISTINCT FROM (NEW.sha256, NEW.content, NEW.gateway)
          OR (OLD.state = 'applied' AND (OLD.file_name, OLD.bank_code) IS DISTINCT FROM (NEW.file_name, NEW.bank_code))))
    EXECUTE FUNCTION refuse_change();
