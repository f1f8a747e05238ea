"""A controller on pymodbus: the whole handshake as docs/plc.md asks for it.

controller.py PORT PARTS prints one line per part: its ID, verdict and reason.
"""

import sys
import time

from pymodbus.client import ModbusTcpClient

port, parts = int(sys.argv[1]), int(sys.argv[2])
client = ModbusTcpClient("127.0.0.1", port=port, timeout=5)
assert client.connect()

ONLINE, READY, TRIGGER_ACK, BUSY, VALID, MISSED, OVERRUN, HEARTBEAT, PASS, REJECT = range(10)
TRIGGER, ACK, CLEAR, RESTART = range(4)


def good(response):
    assert not response.isError(), response
    return response


def status():
    return good(client.read_discrete_inputs(0, count=12, device_id=1)).bits


def wait(bit, level):
    end = time.monotonic() + 10
    while status()[bit] != level:
        assert time.monotonic() < end, f"input {bit} never became {level}: {status()}"


def name(text):
    raw = text.encode().ljust(64, b"\0")
    return [raw[i] << 8 | raw[i + 1] for i in range(0, 64, 2)]


def text(registers):
    return b"".join(bytes((r >> 8, r & 255)) for r in registers).rstrip(b"\0").decode()


def refused(response, code):
    assert response.isError() and response.exception_code == code, response


good(client.write_coil(RESTART, True))
good(client.write_coil(RESTART, False))
assert status()[REJECT] and not status()[PASS]

# Every function code, and what is refused.
good(client.write_registers(16, name("abc")))
assert text(good(client.read_holding_registers(16, count=32)).registers) == "abc"
good(client.write_register(16, 0x7878))
assert text(good(client.read_holding_registers(16, count=32)).registers) == "xxc"
good(client.write_coils(0, [False, False, True, False]))
assert good(client.read_coils(0, count=4)).bits[:4] == [False, False, True, False]
good(client.write_coils(0, [False] * 4))
both = good(client.readwrite_registers(read_address=16, read_count=2, address=16, values=name("rw")))
assert both.registers == [0x7277, 0]
first = good(client.read_input_registers(0, count=81)).registers
assert first[7] == first[80]
mirror = good(client.read_holding_registers(1000, count=81)).registers
assert mirror[5] == first[5] == 2
refused(client.read_input_registers(80, count=2), 2)
refused(client.read_holding_registers(79, count=2), 2)
refused(client.read_discrete_inputs(10, count=7), 2)
refused(client.write_register(1000, 1), 2)
refused(client.write_register(1, 3), 3)
refused(client.write_register(16, 0x0141), 3)
refused(client.read_exception_status(), 1)

# The recipe and its echo.
good(client.write_register(1, 2))
end = time.monotonic() + 10
while good(client.read_input_registers(4, count=1)).registers != [2]:
    assert time.monotonic() < end

words = {0: "NONE", 1: "PASS", 2: "FAIL"}
for n in range(parts):
    wait(READY, True)
    good(client.write_registers(0, [1 << TRIGGER, 2] + [0] * 14 + name(f"t{n}") + name(f"p{n}")))
    wait(TRIGGER_ACK, True)
    number = good(client.read_input_registers(6, count=1)).registers[0]
    good(client.write_coil(TRIGGER, False))
    wait(VALID, True)
    wait(TRIGGER_ACK, False)
    r = good(client.read_input_registers(0, count=81)).registers
    assert r[7] == r[80] and r[10] == number and r[11] == 1 and r[12] == 2, r
    assert bool(r[0] & 1 << PASS) == (r[8] == 1) != bool(r[0] & 1 << REJECT)
    print(text(r[16:48]), text(r[48:80]), words[r[8]], r[9])
    good(client.write_coil(ACK, True))
    wait(VALID, False)
    assert status()[REJECT]
    good(client.write_coil(ACK, False))

beat = good(client.read_input_registers(1, count=1)).registers
end = time.monotonic() + 10
while good(client.read_input_registers(1, count=1)).registers == beat:
    assert time.monotonic() < end
client.close()
