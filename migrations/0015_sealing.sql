-- Sealing decides in a moment however large the run is: withdrawn attempts are counted without a look at the others.

CREATE INDEX attempts_withdrawn ON attempts (run_id) WHERE state = 'withdrawn';
