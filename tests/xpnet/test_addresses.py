from __future__ import annotations

import pytest

from xpnet.addresses import check_port, without_credentials
from xpnet.errors import UserError


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:secret@host/x", "rtsp://host/x"),
        ("rtsp://me:sec@ret@host:554/x", "rtsp://host:554/x"),
        ("rtsp://me:sec?ret@host/x", "rtsp://host/x"),
        ("rtsp://me:sec/ret@host/x", "rtsp://host/x"),
        ("rtsp://me:secret@host", "rtsp://host"),
        ("rtsp://host/x?user=a&password=secret", "rtsp://host/x"),
        ("rtsp://host/x?user=a&password=sec@ret", "rtsp://ret"),
        ("rtsp://host:8554/x", "rtsp://host:8554/x"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_no_password_is_shown(address: str, shown: str) -> None:
    assert without_credentials(address) == shown


def test_ports() -> None:
    assert check_port("65535", "x") == 65535
    for wrong in ("0", "65536", "99999", "", "-1", "\u00b2", "8O"):
        with pytest.raises(UserError, match=r"^x: port .*, expected 1 to 65535"):
            check_port(wrong, "x")
