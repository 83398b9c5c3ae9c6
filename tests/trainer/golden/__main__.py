"""Writes the golden files anew."""

from tests.trainer.golden.families import FAMILIES, HERE, make_tokenizer
from tests.trainer.golden.report import report

for family in FAMILIES:
    (HERE / f"{family}.txt").write_text(report(make_tokenizer(family)), encoding="utf-8")
