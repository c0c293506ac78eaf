"""Reports on models: one page of errors, plots and settings, and its numbers."""

from skatom.report.model_report import ModelReport

__all__ = ["ModelReport"]
