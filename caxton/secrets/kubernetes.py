"""Secrets of Kubernetes, through its own Python client.

In a pod that is the service account's cluster and namespace, elsewhere those of KUBECONFIG or `~/.kube/config`.
"""

import base64
import binascii
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caxton.core.secrets import NoSecret, Reference

LARGEST = 4 << 20  # bytes; Kubernetes itself allows 1 MB
PIECE = 256  # bytes; a whole one is waited for, as long as a byte comes now and then
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def read(reference: Reference, environ: Mapping[str, str], patience: float) -> Mapping[str, Any]:
    """The secret's data. Raises NoSecret."""
    import urllib3
    from kubernetes import client

    configuration = client.Configuration()
    default = _find_cluster(configuration, environ)
    configuration.retries = False  # the first failure is told; whoever started us tries again
    namespace, _, name = reference.place.rpartition("/")
    namespace = namespace or default
    try:
        with client.ApiClient(configuration) as api:
            answer = client.CoreV1Api(api).read_namespaced_secret(
                name, namespace, _request_timeout=patience, _preload_content=False
            )
            data = _read(answer, time.monotonic() + patience)
    except client.ApiException as error:
        if error.status == 404:
            raise NoSecret(f"Kubernetes has no secret {name} in the namespace {namespace}") from None
        why = f"Kubernetes answered {error.status} {error.reason or ''}".rstrip()
        raise NoSecret(f"{why} to `get secret {name}` in the namespace {namespace}") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise NoSecret(f"Kubernetes at {configuration.host} cannot be reached: {type(error).__name__}") from None
    try:
        found = json.loads(data)["data"] or {}
        return {key: base64.b64decode(value).decode() for key, value in found.items()}
    except (binascii.Error, UnicodeDecodeError):
        raise NoSecret(f"the secret {name} holds what is no UTF-8 text") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NoSecret(f"Kubernetes at {configuration.host} answered what is no secret") from None


def _read(answer: Any, deadline: float) -> bytes:
    """The body, which is as long as a secret may be, and ends in time. Raises NoSecret."""
    data = bytearray()
    for piece in answer.stream(PIECE):
        data += piece
        if len(data) > LARGEST:
            raise NoSecret(f"Kubernetes answered more than {LARGEST >> 20}MB")
        if time.monotonic() > deadline:
            raise NoSecret("the answer of Kubernetes did not end in time")
    return bytes(data)


# Any: the client has no types
def _find_cluster(configuration: Any, environ: Mapping[str, str]) -> str:
    """Fill in where the cluster is and who we are; the namespace of who names none."""
    from kubernetes import config

    try:
        config.load_incluster_config(client_configuration=configuration)
        return NAMESPACE.read_text().strip()
    except (config.ConfigException, OSError):
        pass
    file = environ.get("KUBECONFIG") or None
    try:
        config.load_kube_config(config_file=file, client_configuration=configuration)
        _, active = config.list_kube_config_contexts(config_file=file)
    except (config.ConfigException, OSError):
        raise NoSecret("this is no pod of Kubernetes, and KUBECONFIG or ~/.kube/config names no cluster") from None
    return str(active["context"].get("namespace") or "default")
