"""Secrets of HashiCorp Vault, through `hvac`: the path is the API's, `secret/data/api-keys` in a versioned store.

Where Vault is and who we are stand in the variables that Vault's own client reads: VAULT_ADDR, VAULT_TOKEN (else
`~/.vault-token`, where an agent of Vault may put it), VAULT_NAMESPACE, VAULT_CACERT.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caxton.core.secrets import NoSecret, Reference


# Any: the operator's own table
def read(reference: Reference, environ: Mapping[str, str], patience: float) -> Mapping[str, Any]:
    """What stands at the path. Raises NoSecret."""
    import hvac
    import requests

    url = environ.get("VAULT_ADDR")
    if not url:
        raise NoSecret("VAULT_ADDR is not set; it is Vault's address, such as https://vault.example.com:8200")
    client = hvac.Client(
        url=url,
        token=environ.get("VAULT_TOKEN") or _token_file(environ),
        namespace=environ.get("VAULT_NAMESPACE") or None,
        verify=environ.get("VAULT_CACERT") or True,
        timeout=patience,
    )
    try:
        answer = client.read(reference.place)
    except hvac.exceptions.Forbidden:
        raise NoSecret(f"Vault at {url} does not allow it to this token (VAULT_TOKEN, or ~/.vault-token)") from None
    except hvac.exceptions.VaultError as error:
        raise NoSecret(f"Vault at {url} answered {type(error).__name__}") from None
    except requests.RequestException as error:
        raise NoSecret(f"Vault at {url} cannot be reached: {type(error).__name__}") from None
    data = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(data, dict) and isinstance(data.get("metadata"), dict) and "data" in data:
        data = data["data"]  # of a versioned store; null when this version was deleted
    if not isinstance(data, dict):
        raise NoSecret(f"Vault at {url} has nothing there; in a versioned store the path is like secret/data/api-keys")
    return data


def _token_file(environ: Mapping[str, str]) -> str:
    try:
        return (Path(environ.get("HOME", "~")).expanduser() / ".vault-token").read_text().strip()
    except OSError:
        raise NoSecret("VAULT_TOKEN is not set, and there is no ~/.vault-token") from None
