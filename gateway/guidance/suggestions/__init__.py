"""What to change, by rules: one family a file. Each says why, from figures that anybody can check."""
