"""The programs behind `scripts/table_*.py` and `scripts/figure_*.py`: several artefacts of the paper are one program
with other inputs.
"""
