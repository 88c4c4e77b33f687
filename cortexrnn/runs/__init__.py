"""Long work: atomic files, ledger and resume, threads, the guarded child."""
