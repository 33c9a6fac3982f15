"""Words from labelled frames: what a class should ask for, and what is doubtful in a vocabulary without truth."""
