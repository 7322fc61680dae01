"""Does the server in this container answer? Exit 0 if it does, else 1. For HEALTHCHECK, so it needs nothing but Python.

Arguments:
    URL     http://127.0.0.1:8750/healthz where it is not given; https where the server has a certificate of its own,
            which is not checked here: it is for another name.
"""

import ssl
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 3


def answers(url: str) -> bool:
    """True where the server answers as it should; the environment's proxies are not for this address."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked)
    )
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError) as error:
        sys.stderr.write(f"{url}: {error}\n")  # kept by `docker inspect`
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(*(sys.argv[1:] or ["http://127.0.0.1:8750/healthz"])) else 1)
