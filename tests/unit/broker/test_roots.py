"""What is taken from a file of CA certificates: those, and nothing that stands around them; nothing of what is huge."""

import os
from pathlib import Path

import pytest

from authsome.broker.roots import MOST_BYTES, certificates
from authsome.errors import UsageError


def block(label: str, content: str = "TUlJQg==\n") -> str:
    return f"-----BEGIN {label}-----\n{content}-----END {label}-----\n"


@pytest.mark.parametrize(
    "around",
    [
        "auth-pass CANARY\n",
        block("PRIVATE KEY", "CANARY\n"),
        block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nCANARY\n"),
        block("OpenVPN Static key V1", "CANARY\n"),
        block("CERTIFICATE REQUEST", "CANARY\n"),
        block("CERTIFICATE", "password: CANARY\n"),
        "-----BEGIN CERTIFICATE-----\nCANARY\n",
        "CANARY\n-----END CERTIFICATE-----\n",
        "  -----BEGIN CERTIFICATE-----\n  CANARY\n  -----END CERTIFICATE-----\n",
    ],
)
def test_what_stands_around_a_certificate_is_never_copied(tmp_path: Path, around: str) -> None:
    """An OpenVPN configuration holds its CA beside a password and a key."""
    path = tmp_path / "own.pem"
    path.write_text(
        f"<ca>\n{around}{block('CERTIFICATE')}</ca> CANARY\n{around}{block('CERTIFICATE', 'TUlJQw==' + chr(10))}"
    )
    assert certificates(str(path)).decode() == block("CERTIFICATE") + block("CERTIFICATE", "TUlJQw==\n")
    path.write_text(around)
    assert certificates(str(path)) == b""


@pytest.mark.parametrize("label", ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_every_label_that_openssl_reads_is_taken(tmp_path: Path, label: str) -> None:
    path = tmp_path / "own.pem"
    for ends in ("\n", "\r\n"):
        path.write_text(block(label), newline=ends)
        assert certificates(str(path)) == block(label).replace("\n", ends).encode().rstrip() + b"\n"


def test_a_huge_file_is_refused_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.pem"
    path.write_text(block("CERTIFICATE"))
    os.truncate(path, MOST_BYTES)
    assert certificates(str(path)).decode() == block("CERTIFICATE")
    os.truncate(path, MOST_BYTES + 1)
    with pytest.raises(UsageError, match="may have 8 MiB, and this has more"):
        certificates(str(path))


def test_only_regular_files_are_read_and_none_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UsageError, match="no regular file"):
            certificates(str(path))


@pytest.mark.parametrize("path", ["/nowhere", "/", "/proc/self/mem", "a\0b", "\udfff\ud800"])
def test_what_cannot_be_read_holds_none(path: str) -> None:
    assert certificates(path) == b""


def test_a_file_that_begins_with_a_mark_of_its_encoding_counted_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    path.write_bytes(b"\xef\xbb\xbf" + block("CERTIFICATE").encode())
    assert certificates(str(path)).decode() == block("CERTIFICATE")
