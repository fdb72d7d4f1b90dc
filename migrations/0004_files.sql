-- Files to the gateways and back, byte for byte and encrypted.

CREATE TABLE request_files (
    file_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id         bigint NOT NULL REFERENCES runs,
    lane           smallint NOT NULL,
    part           integer NOT NULL CHECK (part > 0),
    gateway        text NOT NULL,
    bank_code      text NOT NULL,
    file_name      text NOT NULL,
    first_order_no text COLLATE "C" NOT NULL,
    last_order_no  text COLLATE "C" NOT NULL,
    state          text NOT NULL CHECK (state IN ('open', 'empty', 'sealed', 'delivering', 'delivered')),
    items          bigint,
    total          numeric(18,2),
    sha256         bytea,
    content        bytea,
    held_reason    text,
    sealed_at      timestamptz,
    delivering_at  timestamptz,
    delivered_at   timestamptz,
    CONSTRAINT one_part_a_number UNIQUE (run_id, lane, part),
    CONSTRAINT a_name_is_used_once UNIQUE (gateway, file_name),
    CONSTRAINT bytes_are_sent_once UNIQUE (gateway, sha256),
    CONSTRAINT sealed_means_the_bytes_are_here CHECK ((state IN ('sealed', 'delivering', 'delivered'))
        = (items IS NOT NULL AND total IS NOT NULL AND sha256 IS NOT NULL AND content IS NOT NULL AND sealed_at IS NOT NULL)),
    CONSTRAINT delivering_when_it_says_so CHECK ((state IN ('delivering', 'delivered')) = (delivering_at IS NOT NULL)),
    CONSTRAINT delivered_when_it_says_so CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
);
COMMENT ON TABLE request_files IS '送盘文件: made as `open` ranges when the run is sealed, then rendered one by one. `empty`: every item was held back';
COMMENT ON COLUMN request_files.content IS 'The bytes as they go out, encrypted; never rendered again';
COMMENT ON COLUMN request_files.held_reason IS 'Set when a hand-over was interrupted and the bank may have taken the file: a person decides';
ALTER TABLE request_files ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE result_files (
    result_file_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway        text NOT NULL,
    bank_code      text NOT NULL,
    file_name      text NOT NULL,
    sha256         bytea NOT NULL,
    content        bytea NOT NULL,
    received_at    timestamptz NOT NULL,
    state          text NOT NULL CHECK (state IN ('received', 'applied', 'refused')),
    refused_as     text CHECK (refused_as IN ('malformed', 'totals_differ', 'wrong_file')),
    refused_line   bigint,
    refused_column bigint,
    refused_reason text,
    rows           bigint,
    applied        bigint,
    repeated       bigint,
    discrepancies  bigint,
    not_ours       bigint,
    applied_at     timestamptz,
    sequence       bigint NOT NULL DEFAULT 0,
    CONSTRAINT bytes_are_applied_once UNIQUE (gateway, sha256),
    CONSTRAINT every_row_has_one_outcome CHECK (rows = applied + repeated + discrepancies + not_ours),
    CONSTRAINT applied_when_it_says_so CHECK ((state = 'applied')
        = (rows IS NOT NULL AND applied IS NOT NULL AND repeated IS NOT NULL AND discrepancies IS NOT NULL
           AND not_ours IS NOT NULL AND applied_at IS NOT NULL)),
    CONSTRAINT a_refusal_says_why CHECK ((state = 'refused') = (refused_as IS NOT NULL AND refused_reason IS NOT NULL))
);
COMMENT ON TABLE result_files IS '回盘文件: kept byte for byte before anything is read from it';
COMMENT ON COLUMN result_files.content IS 'The bytes as they came, encrypted';
ALTER TABLE result_files ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX result_files_by_name ON result_files (gateway, file_name);
