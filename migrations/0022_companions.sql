-- What lay beside a result file when it came, and said what the file should be: so that whoever goes on with a kept file
-- knows it too.
ALTER TABLE result_files ADD COLUMN companion_fault text, ADD COLUMN companion_sha1 bytea, ADD COLUMN companion_rows bigint;
COMMENT ON COLUMN result_files.companion_fault IS 'Why a companion (.ok, .md5, .sha256, .sha1) does not fit the file; such a file is refused';
COMMENT ON COLUMN result_files.companion_sha1 IS 'SHA-1 of the unpacked bytes, as a companion has it; a hash, not encrypted';
COMMENT ON COLUMN result_files.companion_rows IS 'How many rows the file has, as its .ok says';
