"""The shared table: the facts about backends, locations and processes that every process can read."""
