"""The rate budget: at most so many requests in any period, as the service counts them."""

from bulk_export.budget.limiter import Budget, Outcome, Slot, open_budget

__all__ = ["Budget", "Outcome", "Slot", "open_budget"]
