"""A secret does not print, whatever is done with it (P23)."""

import copy
import json
import logging
import pickle
import traceback
from dataclasses import asdict, dataclass

import pytest

from authsome.model.connection import Client, Connection, Credential
from authsome.model.secret import MASK, Secret

CANARY = "canary-1f9a7c55-of-test-secret"


@pytest.fixture
def secret() -> Secret:
    return Secret(CANARY)


def test_only_reveal_opens_it(secret: Secret) -> None:
    assert secret.reveal() == CANARY


def test_no_way_of_formatting_shows_it(secret: Secret) -> None:
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r} {secret!s} {secret!a} {secret:>60}",
        "{0} {0!r}".format(secret),  # noqa: UP032
        "%s %r" % (secret, secret),  # noqa: UP031
        format(secret, "^40"),
        ascii(secret),
        str([secret]) + str({"a": secret}) + str((secret,)),
    ]
    assert all(CANARY not in text for text in shown)
    assert all(MASK in text for text in shown)


def test_what_holds_it_does_not_show_it(secret: Secret) -> None:
    connection = Connection(
        provider="p", name="n", flow="api_key", credential=Credential(access_token=secret, refresh_token=secret)
    )
    client = Client(issuer="i", redirect_uri="r", client_id="c", client_secret=secret, registration_token=secret)
    assert CANARY not in f"{connection!r} {connection} {client!r}"


def test_json_refuses_it(secret: Secret) -> None:
    with pytest.raises(TypeError) as refused:
        json.dumps({"token": secret})
    assert CANARY not in str(refused.value)
    assert CANARY not in json.dumps({"token": secret}, default=str)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_refuses_it(secret: Secret, protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(secret, protocol)


def test_it_is_not_copied_into_plain_structures(secret: Secret) -> None:
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
    with pytest.raises(TypeError):
        asdict(Credential(api_key=secret))


def test_it_has_no_dictionary_no_length_and_no_order(secret: Secret) -> None:
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        len(secret)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        secret < Secret("x")  # type: ignore[operator]  # noqa: B015
    with pytest.raises(TypeError):
        "a" in secret  # type: ignore[operator]  # noqa: B015


def test_a_traceback_with_local_variables_does_not_show_it(secret: Secret) -> None:
    @dataclass
    class Holder:
        token: Secret

    def fail(held: Holder) -> None:
        raise RuntimeError(f"cannot use {held.token} of {held}")

    try:
        fail(Holder(secret))
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert MASK in shown
    assert CANARY not in shown


def test_a_log_record_does_not_show_it(secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("token %s in %r", secret, [secret])
    assert MASK in caplog.text
    assert CANARY not in caplog.text


def test_equal_values_are_equal_secrets(secret: Secret) -> None:
    assert secret == Secret(CANARY)
    assert hash(secret) == hash(Secret(CANARY))
    assert secret != Secret("other")


def test_a_secret_never_equals_its_text(secret: Secret) -> None:
    assert secret != CANARY
