"""PostgreSQL's advisory locks that belong to no table.

Whoever posts to the ledger shares its lock until its transaction ends, so postings do not wait for each other. Whoever
sums the ledger up to go on from that sum (a new budget window) takes the lock alone: then every
posting is either in the sum, or comes after it and finds what was made. Both statements come before the first that
reads or writes the ledger, in a transaction that is READ COMMITTED (the default): a later one sees what was waited for.
"""

LEDGER_LOCK = 7_416_023_116
"""Any fixed number that is not the migrations' (gateway/db/migrate.py)."""
SHARE_LEDGER = f"SELECT pg_advisory_xact_lock_shared({LEDGER_LOCK})"
OWN_LEDGER = f"SELECT pg_advisory_xact_lock({LEDGER_LOCK})"

REBUILD_LOCK = 7_416_023_117
OWN_REBUILD = f"SELECT pg_advisory_xact_lock({REBUILD_LOCK})"
"""One at a time mends the rollups (gateway/metering/rebuild.py); nobody else waits for it."""
