"""What DVC runs, and commands for a person: `python -m stages.NAME`."""
