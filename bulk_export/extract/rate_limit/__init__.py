"""The rate budget: at most so many requests in any period, as the service counts them."""

from bulk_export.extract.rate_limit.factory import open_budget
from bulk_export.extract.rate_limit.interface import RequestOutcome
from bulk_export.extract.rate_limit.limiter import Permit, RateLimiter
from bulk_export.extract.rate_limit.usage import Spent, spent

__all__ = ["Permit", "RateLimiter", "RequestOutcome", "Spent", "open_budget", "spent"]
