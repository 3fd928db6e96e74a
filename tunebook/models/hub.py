"""The Hugging Face Hub: its local cache, whether a model can be reached, and its errors in plain words."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from tunebook.core.errors import MachineError, Problem
from tunebook.core.paths import child_environment

if TYPE_CHECKING:  # slow to import
    from huggingface_hub.errors import HfHubHTTPError

PROXIES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
PROBE_SECONDS = 3
PAUSES = (1.0, 5.0)  # seconds before a download is tried again; the client resumes half files
LONGEST_WAIT = 60.0  # seconds that a busy Hub may ask for (Retry-After) before the run ends instead
BUSY = frozenset({429, 500, 502, 503, 504})
T = TypeVar("T")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def cached(base: str, file: str, revision: str | None) -> Path | None:
    """Return `file` of the model `base` in the Hub's local cache, if it is there."""
    wanted = child_environment()
    for name in ("HF_HOME", "HF_UPDATE_DOWNLOAD_COUNTS", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ.setdefault(name, wanted[name])
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(base, file, revision=revision)
    except ValueError:  # not a Hub id: the code that loads the model reports it
        return None
    return Path(path) if isinstance(path, str) else None


def unreachable() -> Exception | None:
    """Return why the Hub cannot be reached, or None if it answers, whatever its answer. The result is cached
    per process, and the timeout is short: without a network, the client's own retries would take half a
    minute."""
    settings = (*PROXIES, *map(str.lower, PROXIES), *CERTIFICATES, *OFFLINE, "HF_ENDPOINT")
    return _probe(tuple(os.environ.get(name) for name in settings))


@lru_cache
def _probe(settings: tuple[str | None, ...]) -> Exception | None:
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import get_session

    if is_switched_off():
        return OfflineModeIsEnabled("switched off")
    try:
        get_session().head(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception as error:  # errors of the connection, a proxy, a certificate
        return error
    return None


def reach_hub(base: str, revision: str | None) -> None:
    """Raise MachineError unless `base` can be reached on the Hub or is in the Hub's cache."""
    from huggingface_hub import model_info

    if cached(base, "config.json", revision):
        return
    try:
        if error := unreachable():
            raise error
        model_info(base, revision=revision, timeout=15)
    except Exception as error:  # the Hub client lets through many kinds of connection errors
        raise hub_error("base_model", repr(base), error) from None


def use_cache_only(base: str, revision: str | None) -> bool:
    """Return whether the Hub's client must not use the network for `base`: it is a folder, or it is in the
    cache and the Hub cannot be reached, so that the client would fail."""
    if Path(base).is_dir():
        return True
    return cached(base, "config.json", revision) is not None and unreachable() is not None


def cache_only() -> None:
    """Keep the Hub's clients in this process off the network if the Hub cannot be reached: they then use the
    cache or fail at once, without retries."""
    from huggingface_hub import constants

    import datasets

    if unreachable():
        constants.HF_HUB_OFFLINE = True
        datasets.config.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


def hub_error(key: str, what: str, error: Exception, instead: str = "use a local folder") -> MachineError:
    """Return the error to show when a model or dataset could not be read from the Hub.

    Args:
        key: the option or key that names the model or dataset.
        what: its name for the message.
        instead: what can be done without the Hub.
    """
    refused = _answer(error)
    if refused is not None:
        return MachineError(_refusal(key, what, refused))
    # datasets drops the Hub's answer, and says what it was.
    if type(error).__name__ == "DatasetNotFoundError" and unreachable() is None:
        said = str(error).splitlines()[0].rstrip(".")
        do = "for the account of HF_TOKEN" if _token() else "and set HF_TOKEN"
        text = f"{place()} does not give {what}: {said}. Request access on its page {do}, or "
        return MachineError(Problem(f"{text}{instead}.", key=key, code="hub.refused"))
    why = _reason(error)
    if why:
        return MachineError(Problem(f"{what} is not in the local cache. {why}", key=key, code="hub.settings"))
    if _broke_off(error):
        text = (
            f"the download of {what} from {place()} broke off ({type(error).__name__}). What has arrived is "
            "kept: run the same command again to get the rest."
        )
        return MachineError(Problem(text, key=key, code="hub.broke_off"))
    text = f"{what} is not in the local cache and {place()} cannot be reached ({type(error).__name__}). "
    return MachineError(
        Problem(f"{text}Connect this machine, or {instead}.", key=key, code="hub.unreachable")
    )


def _refusal(key: str, what: str, error: HfHubHTTPError) -> Problem:
    """Return the problem behind an answer of the Hub that is an error."""
    status, hub = error.response.status_code, place()
    answered = f"{hub} answered {status} for {what}"
    if status in BUSY:
        seconds = _retry_after(error)
        when = "later" if seconds is None else f"in {seconds:.0f} seconds, as it says"
        why = "too many requests" if status == 429 else "an error of its own"
        more = "; with HF_TOKEN the limit is higher" if status == 429 and not _token() else ""
        return Problem(
            f"{answered}: {why}. Run the same command again {when}{more}.", key=key, code="hub.busy"
        )
    code = error.response.headers.get("x-error-code")
    if code == "RevisionNotFound":
        named = re.search(r"/(?:revision|resolve|tree|paths-info)/([^/?]+)", str(error.response.url))
        revision = f" {unquote(named[1])!r}" if named else ""
        text = f"{hub} has {what}, but not the revision{revision}. Correct the revision."
        return Problem(text, key=key, code="hub.no_revision")
    if code == "GatedRepo":
        do = (
            "The account of HF_TOKEN has no access to it: request it on its page."
            if _token()
            else "It is gated: request access on its page, and set HF_TOKEN."
        )
        return Problem(f"{answered}. {do}", key=key, code="hub.refused")
    do = "Check the name, and set HF_TOKEN if the repository is gated."
    if _token() and status in (401, 403):
        do = "HF_TOKEN is set: check the name, and that the token is valid and has access to this repository."
    return Problem(f"{answered}. {do}", key=key, code="hub.refused")


def patiently(work: Callable[[], T], say: Callable[[str], None] = lambda text: None) -> T:
    """Return what `work` returns; where the Hub is busy or breaks the connection, try again after a pause.

    Args:
        work: something that reads from the Hub, and may be repeated.
        say: receives a line for the user before each pause.
    """
    for pause in PAUSES:
        try:
            return work()
        except Exception as error:  # the Hub client lets through many kinds of connection errors
            answer = _answer(error)
            busy = answer is not None and answer.response.status_code in BUSY
            seconds = _retry_after(answer) if answer is not None and busy else None
            if not (busy or (answer is None and _broke_off(error))) or (seconds or 0) > LONGEST_WAIT:
                raise
            wait = pause if seconds is None else seconds
            what = f"answered {answer.response.status_code}" if answer is not None else "broke the connection"
            say(f"{place()} {what}; trying again in {wait:.0f} s")
            time.sleep(wait)
    return work()


def _token() -> str | None:
    return os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that it was raised from, the newest first."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    return chain


def _answer(error: BaseException) -> HfHubHTTPError | None:
    """Return the Hub's answer behind an error, if it has answered: the client may hide it behind one that
    says that the file is not on this machine. That a file which it only looked for is missing explains
    nothing else."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    for one in _chain(error):
        if isinstance(one, HfHubHTTPError) and (one is error or not isinstance(one, EntryNotFoundError)):
            return one
    return None


def _broke_off(error: BaseException) -> bool:
    """Return whether a connection that was there has ended too early, or too little has come through it."""
    import httpx

    ended = (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout, httpx.WriteError)
    return any(isinstance(one, ended) or "Consistency check failed" in str(one) for one in _chain(error))


def _retry_after(error: HfHubHTTPError) -> float | None:
    """Return the seconds that a busy Hub asks for; a date, which is also allowed, counts as nothing said."""
    text = error.response.headers.get("retry-after", "")
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def place() -> str:
    """Return the Hub's name, with its address if the environment sets another one."""
    endpoint = os.environ.get("HF_ENDPOINT")
    return f"the Hub at HF_ENDPOINT={endpoint}" if endpoint else "the Hub"


def _reason(error: BaseException) -> str | None:
    """Return which setting of the environment keeps the Hub from being reached, and what to do about it, if
    any."""
    chain = _chain(error)
    messages = " ".join(f"{type(one).__name__} {one}" for one in chain)
    proxy = next((n for name in PROXIES for n in (name, name.lower()) if os.environ.get(n)), None)
    shown = f"{proxy}={hide_password(os.environ[proxy])}" if proxy else ""
    offline = next((name for name in OFFLINE if is_on(os.environ.get(name))), None)
    if offline and "OfflineModeIsEnabled" in messages:
        return f"{offline}={os.environ[offline]} keeps this machine off the Hub. Unset it."
    if "socksio" in messages or "SOCKS" in messages:
        return (
            f"The proxy {shown} is a SOCKS proxy, for which the package socksio is missing. Install it: "
            ".venv/bin/uv pip install socksio; or name an http proxy, or unset it."
        )
    if "CERTIFICATE_VERIFY_FAILED" in messages or "certificate" in messages.lower():
        file = next((n for n in CERTIFICATES if os.environ.get(n)), None)
        named = f"{file}={os.environ[file]}" if file else "SSL_CERT_FILE is not set"
        return f"Its certificate is not trusted ({named}). Set SSL_CERT_FILE to your network's certificates."
    missing = next((n for n in CERTIFICATES if os.environ.get(n) and not Path(os.environ[n]).exists()), None)
    if missing and any(isinstance(one, OSError) for one in chain):
        return f"{missing}={os.environ[missing]} is not a file. Correct or unset it."
    if "header value" in messages.lower():
        return "HF_TOKEN contains a character that no token has, such as a line break. Set it again."
    if proxy and (
        "proxy" in messages.lower() or "InvalidURL" in messages or "UnsupportedProtocol" in messages
    ):
        return f"The proxy {shown} does not work ({type(error).__name__}). Correct or unset it."
    if os.environ.get("HF_ENDPOINT") and ("UnsupportedProtocol" in messages or "InvalidURL" in messages):
        return f"HF_ENDPOINT={os.environ['HF_ENDPOINT']} is not an address such as https://host. Correct it."
    return None


def is_switched_off() -> bool:
    """Return whether the environment keeps this machine off the Hub."""
    return any(is_on(os.environ.get(name)) for name in OFFLINE)


def is_on(value: str | None) -> bool:
    """Return whether a switch is on, by the rules of the Hub's client."""
    return (value or "").upper() in ("1", "ON", "YES", "TRUE")


def hide_password(address: str) -> str:
    """Return an address without the user name and password before its host."""
    before, at, host = address.rpartition("@")
    return f"{before.partition('://')[0]}://...@{host}" if at else address
