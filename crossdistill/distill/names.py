"""Names of teachers that have a meaning; torch is not loaded for them."""

ONE_TEACHER = "teacher"
"""Name of a run's only teacher."""

REFERENCE = "reference"
"""Name of the teacher whose advantages are subtracted."""
