"""The rate limiter: at most so many requests in any period, as the service counts them."""

from bulk_export.extract.rate_limit.factory import open_rate_limiter
from bulk_export.extract.rate_limit.interface import RequestOutcome
from bulk_export.extract.rate_limit.limiter import Permit, RateLimiter
from bulk_export.extract.rate_limit.usage import LimitUsage, read_usage

__all__ = ["LimitUsage", "Permit", "RateLimiter", "RequestOutcome", "open_rate_limiter", "read_usage"]
