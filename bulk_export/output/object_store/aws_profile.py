"""Keys and region of an AWS profile, as the files in `~/.aws` have them.

obstore reads the environment, web identities and the metadata of containers and machines. The files of profiles it does
not, so those with keys are read here; profiles that sign in or assume a role are left to boto3, if it is installed.
"""

from __future__ import annotations

import configparser
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field

from bulk_export.core.locations import with_home
from bulk_export.errors import UsageError

# With one of these, obstore finds credentials by itself.
_OTHER_MEANS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_NEEDS_BOTO3 = {"role_arn", "sso_session", "sso_start_url", "credential_process", "login_session"}


@dataclass(frozen=True, slots=True)
class Profile:
    """Settings of obstore that a profile gives, and the name of one that only boto3 can use."""

    config: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds keys
    needs_boto3: str = ""


def read_profile(environ: Mapping[str, str]) -> Profile:
    """Read the profile that the environment names, or the one called `default`.

    Raises:
        UsageError: The profile is missing, cannot be read, or needs boto3, which is not installed.
    """
    named = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE")
    name = named or "default"
    keys = _section(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials", name)
    settings = _section(environ.get("AWS_CONFIG_FILE") or "~/.aws/config", name)
    config = {}
    if settings.get("region") and not (environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")):
        config["region"] = settings["region"]
    if any(environ.get(variable) for variable in _OTHER_MEANS):
        return Profile(config)
    found = {**settings, **keys}
    if named and not found:
        raise UsageError(f"There is no AWS profile {name!r}.", next_step="Correct AWS_PROFILE, or unset it.")
    if found.get("aws_access_key_id") and found.get("aws_secret_access_key"):
        config["access_key_id"] = found["aws_access_key_id"]
        config["secret_access_key"] = found["aws_secret_access_key"]
        if found.get("aws_session_token"):
            config["session_token"] = found["aws_session_token"]
        return Profile(config)
    if _NEEDS_BOTO3.isdisjoint(found):
        return Profile(config)
    if importlib.util.find_spec("boto3") is None:
        raise UsageError(
            f"The AWS profile {name!r} signs in or assumes a role, which needs boto3.",
            next_step="Install boto3, or put keys into the environment:"
            ' eval "$(aws configure export-credentials --format env)".',
        )
    return Profile(config, needs_boto3=name)


def _section(file: str, profile: str) -> dict[str, str]:
    path = with_home(file)
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, configparser.Error):
        raise UsageError(f"The AWS profiles in {path} cannot be read.", next_step="Repair the file.") from None
    for name in (profile, f"profile {profile}"):
        if parser.has_section(name):
            return {key: value.strip() for key, value in parser.items(name)}
    return {}


def profile_session(profile: Profile) -> object:
    """The source of credentials for a profile that needs boto3."""
    # Not among our extras, and without types where it is installed.
    import boto3  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider(boto3.session.Session(profile_name=profile.needs_boto3))
