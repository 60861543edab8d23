"""Where the desired and the observed state live: one protocol, embedded in SQLite."""
