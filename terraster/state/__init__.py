"""The shared table: what all processes know of backends, locations and each other."""
