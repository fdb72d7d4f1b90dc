-- What result files declare of themselves, and what became of their rows, is kept: a day's account sets both beside the book.

ALTER TABLE result_files
    ADD COLUMN business_date date,
    ADD COLUMN covers_from date, ADD COLUMN covers_to date,
    ADD COLUMN declared_rows bigint CHECK (declared_rows >= 0),
    ADD COLUMN paid_count bigint, ADD COLUMN paid_total numeric(18,2),
    ADD COLUMN refund_count bigint, ADD COLUMN refund_total numeric(18,2),
    ADD CONSTRAINT covered_days_are_in_order CHECK (covers_to >= covers_from AND num_nulls(covers_from, covers_to) IN (0, 2)),
    ADD CONSTRAINT what_is_declared_is_declared_whole
        CHECK (num_nulls(declared_rows, paid_count, paid_total, refund_count, refund_total) IN (0, 5));
COMMENT ON COLUMN result_files.business_date IS 'As the file says';
COMMENT ON COLUMN result_files.covers_from IS 'With covers_to: days of which the file has every payment that succeeded';
COMMENT ON COLUMN result_files.declared_rows IS 'Data rows, as the file was read to its end; none for files that came before this was kept';
COMMENT ON COLUMN result_files.paid_count IS 'Payments that succeeded, as the file declares; where its format declares none, as its rows say. The same of the other sums';

CREATE TABLE result_file_rows (
    result_file_id bigint NOT NULL REFERENCES result_files,
    what           text NOT NULL CHECK (what IN ('result', 'refund', 'movement', 'unparsable')),
    class          text NOT NULL CHECK (class IN ('success', 'retryable', 'final', 'unknown', '')),
    verdict        text NOT NULL,
    count          bigint NOT NULL CHECK (count > 0),
    total          numeric(18,2) NOT NULL CHECK (total >= 0),
    PRIMARY KEY (result_file_id, what, class, verdict)
);
COMMENT ON TABLE result_file_rows IS 'How many rows of a file came to what, and their sum, as they were booked. Derived: it says nothing that its settlements, failures and discrepancies do not say, except of rows that were repeated or not ours';
COMMENT ON COLUMN result_file_rows.class IS 'Of the row''s code; empty where the code is not in the table, or the row has none';
COMMENT ON COLUMN result_file_rows.verdict IS 'settle, confirm, reverse, fail, unknown, noted, repeated, not_ours, or the kind of a discrepancy';
