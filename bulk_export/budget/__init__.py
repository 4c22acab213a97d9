"""The rate budget: at most so many requests in any period, as the service counts them."""

from bulk_export.budget.interface import Outcome
from bulk_export.budget.limiter import Budget, Slot
from bulk_export.budget.opening import open_budget
from bulk_export.budget.spending import Spent, spent

__all__ = ["Budget", "Outcome", "Slot", "Spent", "open_budget", "spent"]
