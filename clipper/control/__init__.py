"""From what users want to what runs: pure edits and decisions, and the controller that carries them out."""
