"""The parts of scripts/week."""
