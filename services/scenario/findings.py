"""Findings while they are collected: errors and warnings, each rule listed up to a cap and counted beyond it."""

from __future__ import annotations

from collections import Counter

from scenario.limits import MAX_FINDINGS_PER_RULE
from scenario.model import Finding


class Report:
    """Collects findings in the order they come up."""

    def __init__(self) -> None:
        self._errors: list[Finding] = []
        self._warnings: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def error(self, finding: Finding) -> None:
        """Something a session would fail with, or that is not allowed."""
        self._add(self._errors, finding)

    def warning(self, finding: Finding) -> None:
        """Something worth knowing."""
        self._add(self._warnings, finding)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """All errors; a capped rule ends with how many more there are."""
        return self._with_counts(self._errors)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """All warnings; a capped rule ends with how many more there are."""
        return self._with_counts(self._warnings)

    def _add(self, to: list[Finding], finding: Finding) -> None:
        self._counts[finding.rule] += 1
        if self._counts[finding.rule] <= MAX_FINDINGS_PER_RULE:
            to.append(finding)

    def _with_counts(self, listed: list[Finding]) -> tuple[Finding, ...]:
        more = [
            Finding(rule, f"and {self._counts[rule] - MAX_FINDINGS_PER_RULE} more of this kind")
            for rule in dict.fromkeys(finding.rule for finding in listed)
            if self._counts[rule] > MAX_FINDINGS_PER_RULE
        ]
        return (*listed, *more)
