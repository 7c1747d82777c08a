"""Secrets of AWS Secrets Manager, through `boto3`.

Who we are, and the region of a reference that names none, come as for every client of AWS: variables, `~/.aws`, or the
role of the machine. A JSON text is a table of keys, any other text is the secret.
"""

import json
from collections.abc import Mapping
from typing import Any

from caxton.core.secrets import NoSecret, Reference


# Any: the operator's own table
def read(reference: Reference, environ: Mapping[str, str], patience: float) -> str | Mapping[str, Any]:
    """The current version of the secret. Raises NoSecret."""
    import boto3
    import botocore.exceptions
    from botocore.config import Config

    parts = reference.place.split(":")  # arn:aws:secretsmanager:REGION:...
    region = reference.region or (parts[3] if reference.place.startswith("arn:") and len(parts) > 3 else None)
    once = Config(connect_timeout=patience, read_timeout=patience, retries={"total_max_attempts": 1})
    try:
        client = boto3.session.Session().client("secretsmanager", region_name=region, config=once)
        found = client.get_secret_value(SecretId=reference.place)
    except botocore.exceptions.NoRegionError:
        raise NoSecret("no region is named; write ?region=us-east-1 behind the name, or set AWS_REGION") from None
    except botocore.exceptions.NoCredentialsError:
        raise NoSecret("there are no credentials of AWS: set AWS_PROFILE, or give the machine a role") from None
    except botocore.exceptions.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "an error")
        raise NoSecret(f"AWS Secrets Manager answered {code}") from None
    except botocore.exceptions.BotoCoreError as error:
        raise NoSecret(f"AWS Secrets Manager cannot be asked: {type(error).__name__}") from None
    try:
        text = found["SecretString"] if "SecretString" in found else found["SecretBinary"].decode()
    except UnicodeDecodeError:
        raise NoSecret("the secret is no UTF-8 text") from None
    try:
        value = json.loads(text)
    except ValueError:
        return str(text)
    return value if isinstance(value, dict) else str(text)
