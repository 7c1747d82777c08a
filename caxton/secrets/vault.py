"""Secrets of HashiCorp Vault, through `hvac`: the path is the API's, `secret/data/api-keys` in a versioned store.

Where Vault is and who we are stand in the variables that Vault's own client reads: VAULT_ADDR, VAULT_TOKEN (else
`~/.vault-token`, where an agent of Vault may put it), VAULT_NAMESPACE, VAULT_CACERT.

Redirects are not followed: the token would go to whoever is named there. An answer is read up to LARGEST, and as long
as the caller has patience: this thread must end some time, also when the answer does not.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caxton.core.secrets import NoSecret, Reference

LARGEST = 4 << 20  # bytes
PIECE = 256  # bytes; a whole one is waited for, as long as a byte comes now and then


# Any: the operator's own table
def read(reference: Reference, environ: Mapping[str, str], patience: float) -> Mapping[str, Any]:
    """What stands at the path. Raises NoSecret."""
    import hvac
    import requests
    from requests.adapters import HTTPAdapter

    class Bounded(HTTPAdapter):
        def send(self, *arguments: Any, **options: Any) -> requests.Response:
            data = bytearray()
            with super().send(*arguments, **{**options, "stream": True}) as response:
                for piece in response.iter_content(PIECE):
                    data += piece
                    if len(data) > LARGEST:
                        raise NoSecret(f"Vault at {url} answered more than {LARGEST >> 20}MB")
                    if time.monotonic() > deadline:
                        raise NoSecret(f"the answer of Vault at {url} did not end within {patience:g} s")
            response._content = bytes(data)
            return response

    deadline = time.monotonic() + patience
    url = environ.get("VAULT_ADDR")
    if not url:
        raise NoSecret("VAULT_ADDR is not set; it is Vault's address, such as https://vault.example.com:8200")
    session = requests.Session()
    session.verify = environ.get("VAULT_CACERT") or True
    for scheme in ("http://", "https://"):
        session.mount(scheme, Bounded())
    client = hvac.Client(
        url=url,
        token=environ.get("VAULT_TOKEN") or _token_file(environ),
        namespace=environ.get("VAULT_NAMESPACE") or None,
        timeout=patience,
        session=session,
        allow_redirects=False,
    )
    try:
        answer = client.read(reference.place)
    except hvac.exceptions.Forbidden:
        raise NoSecret(f"Vault at {url} does not allow it to this token (VAULT_TOKEN, or ~/.vault-token)") from None
    except hvac.exceptions.VaultError as error:
        raise NoSecret(f"Vault at {url} answered {type(error).__name__}") from None
    except requests.RequestException as error:
        raise NoSecret(f"Vault at {url} cannot be reached: {type(error).__name__}") from None
    if 300 <= getattr(answer, "status_code", 200) < 400:
        raise NoSecret(f"Vault at {url} leads elsewhere, which is not followed; VAULT_ADDR has to be where it answers")
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
