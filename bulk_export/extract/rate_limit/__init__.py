"""The rate budget: at most so many requests in any period, as the service counts them."""

from bulk_export.extract.rate_limit.factory import open_budget
from bulk_export.extract.rate_limit.interface import Outcome
from bulk_export.extract.rate_limit.limiter import Budget, Slot
from bulk_export.extract.rate_limit.usage import Spent, spent

__all__ = ["Budget", "Outcome", "Slot", "Spent", "open_budget", "spent"]
