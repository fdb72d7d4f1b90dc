-- What result files declare of themselves is kept, so that a day's account can set it beside ours.
ALTER TABLE result_files
    ADD COLUMN business_date date,
    ADD COLUMN covers_from date, ADD COLUMN covers_to date,
    ADD COLUMN declared_count bigint CHECK (declared_count >= 0),
    ADD COLUMN declared_total numeric(18,2),
    ADD COLUMN declared_success_count bigint, ADD COLUMN declared_success_total numeric(18,2),
    ADD COLUMN declared_refund_count bigint, ADD COLUMN declared_refund_total numeric(18,2),
    ADD COLUMN known_success_count bigint NOT NULL DEFAULT 0 CHECK (known_success_count >= 0),
    ADD COLUMN known_success_total numeric(18,2) NOT NULL DEFAULT 0 CHECK (known_success_total >= 0),
    ADD CONSTRAINT covered_days_are_in_order CHECK (covers_to >= covers_from AND num_nulls(covers_from, covers_to) IN (0, 2));
COMMENT ON COLUMN result_files.business_date IS 'As the file says';
COMMENT ON COLUMN result_files.covers_from IS 'With covers_to: days of which the file has every payment that succeeded';
COMMENT ON COLUMN result_files.declared_count IS 'Rows, as read to the end; none for files that came before this was kept. The other declared figures are none where the format does not have them';
COMMENT ON COLUMN result_files.known_success_count IS 'Booked rows of success that say what the book had already, or that are not ours';
CREATE INDEX request_files_delivered ON request_files (gateway, delivered_at) WHERE state = 'delivered';
