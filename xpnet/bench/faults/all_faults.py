"""All faults of `xpnet bench faults`, in the order of its table."""

from __future__ import annotations

import signal

from xpnet.bench.faults.answer_faults import NOT_A_NUMBER, SLOW, TOO_LARGE
from xpnet.bench.faults.connection_faults import random_messages, unplugged_camera
from xpnet.bench.faults.injection import Fault
from xpnet.bench.faults.machine_faults import (
    cannot_compile,
    cannot_mount,
    clock_set_back,
    corrupt_settings,
    full_disk,
)
from xpnet.bench.faults.server_faults import (
    faulty_answers,
    own_server,
    restarted_server,
    unloaded_model,
)

FAULTS = [
    Fault("server killed", own_server(signal.SIGKILL)),
    Fault("server frozen", own_server(signal.SIGSTOP)),
    Fault("server restarted", restarted_server),
    Fault("model unloaded", unloaded_model),
    Fault("wrong answer", faulty_answers(NOT_A_NUMBER, TOO_LARGE)),
    Fault("slow answer", faulty_answers(SLOW)),
    Fault("source lost", unplugged_camera),
    Fault("disk full", full_disk, cannot_mount),
    Fault("settings file corrupt", corrupt_settings),
    Fault("clock set back", clock_set_back, cannot_compile),
    Fault("random messages", random_messages),
]
