"""Secrets by form and by value: masked, and told from words that only look like one."""

from __future__ import annotations

import pytest

from tunebook.core.secrets import HIDDEN, find_keys, find_secrets, holds_value, mask, values

# Put together here, so that no scanner takes this file for a leak.
A = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA"
KEYS = {
    "AWS id": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS session": "ASIA" + "IOSFODNN7EXAMPLE",
    "AWS secret": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY",
    "GitHub": "ghp_" + A + "AbCd",
    "GitHub fine": "github_pat_" + A + A,
    "GitLab": "glpat-" + A[:20],
    "Hugging Face": "hf_" + A + "Ab",
    "OpenAI": "sk-" + A,
    "OpenAI project": "sk-proj-" + A + "-" + A[:8] + "_" + A[8:20],
    "OpenAI with hyphens": "sk-svcacct-ab-cd1-" + A[:20],
    "Anthropic": "sk-ant-api03-" + A + "-" + A + "_AA",
    "OpenRouter": "sk-or-v1-" + "0f1e2d3c" * 8,
    "Groq": "gsk_" + A + A[:20],
    "Google": "AIza" + "Sy" + A + "-",
    "Google OAuth": "GOCSPX-" + A[:28],
    "Slack": "xoxb-" + "123456789012-" + A[:24],
    "Slack app": "xapp-1-" + "A0123-456-" + A,
    "Slack hook": "https://hooks.slack.com/services/" + "T0001/B0002/" + A[:24],
    "Stripe": "sk_live_" + A[:24],
    "W&B": "wandb_v1_" + A,
    "npm": "npm_" + A + "AbCd",
    "Azure": "AccountKey=" + A + A + A[:24] + "==",
    "SAS": "https://x.blob.core.windows.net/c?sv=2024&sig=" + A + "%3D",
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n" + A + "\n-----END OPENSSH PRIVATE KEY-----",
    "JWT": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + A,
    "bearer": "Authorization: Bearer " + A,
    "URL": "postgres://me:" + "Hunter2x@db.internal/rows",
    "URL without a name": "redis://:" + "Hunter2x@10.0.0.1:6379",
}
PLAIN = [
    "sk-some-hyphenated-name-of-a-stylesheet",
    "task-" + A,
    "http://127.0.0.1:8000/v1 and user@example.com",
    "https://example.com/a:b@c",
    "s3://bucket/some/where",
    "hf_hub_download is a function",
    "eos_token=<|im_end|> num_virtual_tokens=16 special_tokens.pad_token=<pad>",
    "pad_token=endoftext tokens=[aaaaaaaa]",
    "the secret is: nobody knows",
    "AKIA is a prefix",
    "eyJhbGciOiJIUzI1NiJ9",
    "Bearer of bad news and so on and on",
    "{user}:{password}@host",
    "http://{user}:{password}@host/",
]


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_found_and_masked(name: str) -> None:
    key = KEYS[name]
    for text in (f"before {key} after", f'"{key}"', f"x={key}\n"):
        assert find_keys(text), text
        masked = mask(text)
        assert HIDDEN in masked and not find_keys(masked)
        # Of a key that stands behind a name or in an address, the secret part is gone.
        assert not [part for part in (A[:16], "Hunter2x", "wJalrX", "IOSFODNN") if part in masked]


@pytest.mark.parametrize("text", PLAIN)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert find_secrets(text) == [] and mask(text) == text


def test_options_whose_names_say_so() -> None:
    for text in ("comet_api_key=abcdefgh1", "--set 'x.password: longenough'", "swanlab_lark_secret=abcdefgh"):
        assert find_secrets(text) and HIDDEN in mask(text) and "abcdefgh" not in mask(text)
    assert find_keys("the password: longenough") == [], "people write about passwords"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("MY_TOKEN", True),
        ("DB_PASSWORD", True),
        ("MYSQL_PWD", True),
        ("TUNEBOOK_SERVE_KEY", True),
        ("CLIENT_SECRET", True),
        ("GH_PAT", True),
        ("OPENAI_API_KEY", True),
        ("OPENAI_APIKEY", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("MONKEY", False),
        ("PATH_TO_X", False),
        ("KEYBOARD", False),
    ],
)
def test_values_of_the_environment(name: str, secret: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "plain words 1")
    assert ("plain words 1" in values()) == holds_value("x plain words 1 y") == secret
    assert (mask("x plain words 1 y") == f"x {HIDDEN} y") == secret
    for value in ("short", "/home/me/credentials.json"):
        monkeypatch.setenv(name, value)
        assert value not in values(), "a short value or a path would hide words"
