"""Errors of the Hub name the setting that causes them."""

from __future__ import annotations

import importlib
import ssl
from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from tunebook.core.errors import MachineError
from tunebook.models import hub
from tunebook.models.hub import hub_error, use_cache_only

SETTINGS = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy", "HF_ENDPOINT")
SETTINGS += ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", *hub.CERTIFICATES)


def answered(status: int) -> HfHubHTTPError:
    request = httpx.Request("GET", "https://huggingface.co")
    return HfHubHTTPError("no", response=httpx.Response(status, request=request))


SOCKS = "Using SOCKS proxy, but the 'socksio' package is not installed."
UNTRUSTED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
CASES: list[tuple[Exception, dict[str, str], str, list[str]]] = [
    (ImportError(SOCKS), {"ALL_PROXY": "socks5://u:pw@h:1"}, "hub.settings", ["ALL_PROXY", "socksio"]),
    (ImportError(SOCKS), {"https_proxy": "socks5://h:1"}, "hub.settings", ["https_proxy=socks5://h:1"]),
    (OfflineModeIsEnabled("off"), {"HF_HUB_OFFLINE": "1"}, "hub.settings", ["HF_HUB_OFFLINE=1", "Unset"]),
    (OfflineModeIsEnabled("off"), {"TRANSFORMERS_OFFLINE": "true"}, "hub.settings", ["TRANSFORMERS_OFFLINE"]),
    (httpx.ConnectError(UNTRUSTED), {}, "hub.settings", ["SSL_CERT_FILE"]),
    (httpx.ConnectError(UNTRUSTED), {"SSL_CERT_FILE": "/x.pem"}, "hub.settings", ["SSL_CERT_FILE=/x.pem"]),
    (FileNotFoundError(2, "No such file"), {"SSL_CERT_FILE": "/nowhere"}, "hub.settings", ["not a file"]),
    (ssl.SSLError("certificate has expired"), {}, "hub.settings", ["certificate"]),
    (httpx.ProxyError("403 Forbidden"), {"HTTPS_PROXY": "http://h:1"}, "hub.settings", ["HTTPS_PROXY"]),
    (ValueError("Unknown scheme for proxy URL"), {"HTTPS_PROXY": "h:1"}, "hub.settings", ["HTTPS_PROXY=h:1"]),
    (httpx.UnsupportedProtocol("x"), {"HF_ENDPOINT": "mirror"}, "hub.settings", ["HF_ENDPOINT=mirror"]),
    (httpx.LocalProtocolError("Illegal header value"), {"HF_TOKEN": "a\n"}, "hub.settings", ["HF_TOKEN"]),
    (httpx.ConnectError("refused"), {"HF_ENDPOINT": "http://m"}, "hub.unreachable", ["HF_ENDPOINT=http://m"]),
    (httpx.ConnectTimeout("slow"), {}, "hub.unreachable", ["ConnectTimeout", "local folder"]),
    (answered(401), {}, "hub.refused", ["401", "set HF_TOKEN"]),
    (answered(401), {"HF_TOKEN": "hf_x"}, "hub.refused", ["401", "HF_TOKEN is set"]),
    (answered(404), {"HF_TOKEN": "hf_x"}, "hub.refused", ["404", "Check the name"]),
]


@pytest.mark.parametrize(
    ("error", "variables", "code", "said"), CASES, ids=[f"{type(c[0]).__name__} {[*c[1]]}" for c in CASES]
)
def test_the_setting_is_named(
    error: Exception,
    variables: dict[str, str],
    code: str,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = hub_error("base_model", "'a/b'", error)
    assert (shown.code, shown.exit_code, shown.problems[0].key) == (code, 4, "base_model")
    assert all(part in str(shown) for part in said), str(shown)
    assert "pw" not in str(shown) and "hf_x" not in str(shown)


@pytest.mark.parametrize(
    ("here", "error", "only"),
    [
        (True, httpx.ConnectError("refused"), True),
        (True, None, False),
        (False, httpx.ConnectError("refused"), False),
    ],
)
def test_a_cached_base_is_used_where_the_hub_cannot_be_reached(
    here: bool, error: Exception | None, only: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "cached", lambda *_: tmp_path if here else None)
    monkeypatch.setattr(hub, "unreachable", lambda: error)
    assert use_cache_only("a/b", None) is only
    assert use_cache_only(str(tmp_path), None)


def test_the_hub_is_asked_once_and_not_at_all_when_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Session:
        def head(self, address: str, timeout: float) -> None:
            asked.append((address, timeout))
            raise httpx.ConnectError("refused")

    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    # what is imported while the name is replaced would keep the replacement
    importlib.import_module("huggingface_hub.hf_api")
    importlib.import_module("huggingface_hub.file_download")
    importlib.import_module("huggingface_hub.hf_file_system")
    importlib.import_module("huggingface_hub._snapshot_download")
    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    hub._probe.cache_clear()
    assert isinstance(hub.unreachable(), httpx.ConnectError)
    with pytest.raises(MachineError) as caught:
        hub.reach_hub("nobody/nothing", None)
    assert caught.value.code == "hub.unreachable"
    assert asked == [("http://hub.invalid", hub.PROBE_SECONDS)]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MachineError) as caught:
        hub.reach_hub("nobody/nothing", None)
    assert caught.value.code == "hub.settings" and len(asked) == 1


def test_a_dataset_that_the_hub_does_not_give_is_refused_and_not_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """datasets raises its own error, without the Hub's answer."""
    monkeypatch.setattr(hub, "unreachable", lambda: None)
    kind = type("DatasetNotFoundError", (FileNotFoundError,), {})
    for token, do in (
        ("", "on its page and set HF_TOKEN"),
        ("hf_a", "on its page for the account of HF_TOKEN"),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        shown = hub.hub_error(
            "retention", "the data of mmlu", kind("Dataset 'a/b' is gated."), "leave it out"
        )
        assert shown.code == "hub.refused"
        said = "does not give the data of mmlu: Dataset 'a/b' is gated. Request access"
        assert f"{said} {do}, or leave it out." in str(shown)
    monkeypatch.setattr(hub, "unreachable", lambda: OSError("no route"))
    assert hub.hub_error("retention", "it", kind("Dataset 'a/b' is gated.")).code == "hub.unreachable"
