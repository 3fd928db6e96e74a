"""Find secrets by their form or by their value: that of an environment variable whose name says so.

A secret keeps a text from being uploaded or written into launch files, causes a warning in rows, and is
masked in logs and messages. The forms are those documented by the issuers.
"""

from __future__ import annotations

import os
import re

FORMS = {
    "AWS": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "AWS secret key": (
        r"(?i:aws_?secret(?:_?access)?(?:_?key)?)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"
    ),
    "GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{50,})",
    "GitLab": r"\bglpat-[\w-]{20,}",
    "Hugging Face": r"\b(?:hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{30,})",
    # OpenAI, Anthropic and those who copied their form; the digit distinguishes a key from hyphenated words.
    "OpenAI or Anthropic": r"\bsk-(?=[\w-]{0,200}\d)[A-Za-z0-9][\w-]{18,}[A-Za-z0-9]",
    "Groq, xAI, NVIDIA or Replicate": r"\b(?:gsk_\w{40,}|xai-\w{60,}|nvapi-[\w-]{50,}|r8_\w{37,})",
    "Google": r"\b(?:AIza[\w-]{35}|GOCSPX-[\w-]{24,}|ya29\.[\w-]{20,})",
    "Slack": r"\bxox[abeoprs]-[\w-]{10,}|\bxapp-\d-[\w-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w+",
    "Stripe": r"\b[rs]k_(?:live|test)_\w{20,}",
    "Weights & Biases": r"\bwandb_v\d_\w{20,}",
    "RunPod, DigitalOcean, npm, PyPI or SendGrid": (
        r"\b(?:rpa_\w{40,}|dop_v1_[a-f0-9]{64}|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,}|SG\.[\w-]{22}\.[\w-]{43})"
    ),
    "Azure": r"AccountKey=[A-Za-z0-9+/]{80,}={0,2}|[?&]sig=[A-Za-z0-9%+/]{30,}",
    "private key": (
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:[\s\S]*?-----END [A-Z0-9 ]+-----)?"
    ),
    "JWT": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    "bearer token": r"(?i:\bbearer)\s+(?=[\w.~+/-]*\d)[\w.~+/-]{20,}=*",
    "URL with a password": r"\b[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s/:@\"'<>]*:[^\s/@\"'<>{}$]+@(?=[\w\[])",
}
PATTERN = re.compile("|".join(f"(?P<f{number}>{form})" for number, form in enumerate(FORMS.values())))
# Every form contains one of these: a text without any, as most are, is not searched further.
HINTS = (
    "sk-|hf_|api_org_|ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|glpat-|AKIA|ASIA|ABIA|ACCA|aws|AWS|Aws|gsk_|xai-|nvapi-"
    "|r8_|AIza|GOCSPX-|ya29.|xox|xapp-|hooks.slack|k_live_|k_test_|wandb_v|rpa_|dop_v1_|npm_|pypi-AgE|SG.|AccountKey="
    "|sig=|PRIVATE KEY|eyJ|earer|EARER|://"
).split("|")
# Options whose names say so. What a model calls a token (eos_token) is no secret.
NAMED = re.compile(
    r"(?i)(?<![\w.-])(?:[\w.-]*[_.-])?(?<!eos_)(?<!bos_)(?<!pad_)(?<!unk_)(?<!eot_)(?<!sep_)(?<!cls_)(?<!mask_)"
    r"(?:token|secret|password|passwd|api_?key|access_?key)([\"']?\s*[=:]\s*[\"']?)(?![<\[{])[^\s'\"]{8,}"
)
# TOKENIZERS_PARALLELISM is no secret.
VARIABLE = re.compile(
    r"(?i)token(?!iz)|secret|passw|passphrase|credential|apikey|(?:^|_)(?:key|pat|pwd)(?:_|$)"
)
SHORTEST = 8  # minimum length in characters; a shorter value would mask ordinary words
HIDDEN = "[secret]"
# A key's lines up to its end, or to the first that is none: a message may show the first line only.
KEY_LINES = re.compile(r"\A(?:[ \t]*[A-Za-z0-9+/=]+[ \t]*(?:[\r\n]+|\Z))*(?:-----END [A-Z0-9 ]+-----)?")
BASE64_TO_END = r"\s*(?:[A-Za-z0-9+/=]+\s+)*[A-Za-z0-9+/=]*\Z"
CUT_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----" + BASE64_TO_END)
CUT_MASKED = re.compile(re.escape(HIDDEN) + BASE64_TO_END)


def find_secrets(text: str) -> list[str]:
    """Return everything in `text` that has the form of a secret."""
    return find_keys(text) + [match[0] for match in NAMED.finditer(text)]


def find_keys(text: str) -> list[str]:
    """Return what has the form of an issuer's key. Unlike `find_secrets`, ignore `password: ...` and the
    like: people write about passwords in rows."""
    if not any(hint in text for hint in HINTS):
        return []
    return [match[0] for match in PATTERN.finditer(text)]


def values() -> list[str]:
    """Return the values of variables whose names say that they are secrets, longest first."""
    found = {value for name, value in os.environ.items() if VARIABLE.search(name)}
    # A path or an address says where something is, as in GOOGLE_APPLICATION_CREDENTIALS and PWD.
    return sorted(
        (one for one in found if len(one) >= SHORTEST and one[0] not in "/~."), key=len, reverse=True
    )


def holds_value(text: str) -> bool:
    """Return whether `text` contains the value of such a variable."""
    return any(value in text for value in values())


def mask(text: str) -> str:
    """Return `text` with every secret replaced by `[secret]`: for logs and command lines."""
    return NAMED.sub(_keep_name, mask_known(text))


def mask_known(text: str) -> str:
    """Return `text` without secrets known by value or by an issuer's form: for messages, whose own words
    (`token: required`) must stay."""
    for value in values():
        text = text.replace(value, HIDDEN)
    if any(hint in text for hint in HINTS):
        text = PATTERN.sub(HIDDEN, text)
    return text


class Masker:
    """Masks a text that comes in pieces of whole lines, so that a private key may be cut in two."""

    def __init__(self) -> None:
        self.in_key = False

    def __call__(self, text: str) -> str:
        if self.in_key:
            text = KEY_LINES.sub("", text, count=1)
            self.in_key = not text
        masked = mask(text)
        if CUT_KEY.search(text):
            self.in_key = True
            # Its first line is masked by now; what else of it is in this piece follows.
            masked = CUT_MASKED.sub(HIDDEN, masked)
        return masked


def _keep_name(match: re.Match[str]) -> str:
    name = match[0][: match.end(1) - match.start()]
    return f"{name}{HIDDEN}"
