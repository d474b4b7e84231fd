"""The environment's proxies and certificates: honoured for the endpoint, and named where they are at fault.

No value of these variables is quoted, since a proxy's address may hold a password.
"""

from collections.abc import Callable

import httpx

from afd_study.errors import CERTIFICATES, PROXIES, SpecError, set_variables


def open_client(signed: Callable[[httpx.Request], httpx.Request], timeout: float) -> httpx.Client:
    """Open a client; SpecError that names the variables of proxy and certificates where they are at fault."""
    try:
        return httpx.Client(auth=signed, timeout=timeout, follow_redirects=False)
    except (ValueError, OSError, ImportError, httpx.InvalidURL) as fault:
        kind = type(fault).__name__
        names = set_variables(PROXIES if not isinstance(fault, OSError) else CERTIFICATES)
    raise SpecError(
        f"the environment's {names or 'proxy or certificates'} cannot be used ({kind}): set it to a proxy "
        "such as http://host:port or to a file of certificates (PEM), or unset it"
    )


def blamed(fault: Exception) -> str:
    """Return a hint at the variables that a failed connection may be due to."""
    if isinstance(fault, httpx.ProxyError) and set_variables(PROXIES):
        return f" (by the proxy of {set_variables(PROXIES)})"
    if "CERTIFICATE" in str(fault).upper():
        chosen = set_variables(CERTIFICATES)
        return (
            f" (its certificate is none of {chosen})" if chosen else " (set SSL_CERT_FILE to its authority's)"
        )
    if isinstance(fault, httpx.ConnectError) and set_variables(PROXIES[:3]):
        return f" (the proxy of {set_variables(PROXIES[:3])} may be at fault)"
    return ""
