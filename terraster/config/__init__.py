"""Configuration: YAML text → `Settings` (every key checked) → `Snapshot` (frozen values). Nothing here runs anything."""
