"""Modules in processes of their own: they see a real guest, and judge as they do in the daemon."""

import ipaddress
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import guest as guests
import hyperward

TREE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = TREE / "build/asan/src/filter/filter_test"
MODULES = hyperward.binary().parents[2] / "modules"

NEW_FLOW, OUT = 1, 1  # include/hyperward/module.h
HOW = ["credentials", "wait queue", "index", "walk", "listener", "socket", "unknown"]
PROTOCOLS = {"tcp": 6, "udp": 17}


class ModuleProcess(unittest.TestCase):
    def test_it_sees_a_real_guest(self):
        if not PROGRAM.exists():
            why = f"{PROGRAM.relative_to(TREE)} is not built"
            print(f"SKIPPED modules that see a real guest: {why}; tools/test unit does that")
            self.skipTest(why)
        with guests.Guest("6.1", memory="memfd", ram_mib=256) as guest:
            words = [PROGRAM, "--gtest_filter=*ModuleProcessWithGuest.*"]
            environment = os.environ | {"HYPERWARD_TEST_GUEST": str(guest.pid)}
            done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        told = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, told)
        self.assertIn("PASSED", told)
        self.assertNotIn("SKIPPED", told)


def endpoint(text: str) -> tuple[str, int]:
    """The address in hex as a module sees it, IPv4 mapped into IPv6; and the port."""
    host, port = text.rsplit(":", 1)
    address = ipaddress.ip_address(host.strip("[]"))
    packed = address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
    return packed.hex(), int(port)


def question(flow: dict, owner: dict, time_ns: int) -> dict:
    """A line of a recording: the first packet of a flow, and whose it was found to be."""
    (local, local_port), (remote, remote_port) = endpoint(flow["local"]), endpoint(flow["remote"])
    process, evidence = owner["process"] or {}, owner["evidence"]
    known = (owner["uid"] is not None) | (owner["gid"] is not None) << 1 | bool(process) << 2
    packet = {"direction": OUT, "why": NEW_FLOW, "protocol": PROTOCOLS[flow["protocol"]], "tcp_flags": 2}
    packet |= {"local_address": local, "local_port": local_port, "remote_address": remote, "remote_port": remote_port}
    packet |= {"vlan": 0, "icmp_type": 0, "icmp_code": 0, "time_ns": time_ns, "frame_bytes": 66}
    who = {"how": HOW.index(owner["how"]), "reason": 0, "known": known}
    who |= {"uid": owner["uid"] or 0, "gid": owner["gid"] or 0, "pid": process.get("pid", 0)}
    who |= {"fd": evidence["fd"], "start_time_ns": process.get("start_time_ns", 0), "inode": evidence["inode"]}
    who |= {name: int(evidence[name], 16) for name in ("task", "file", "socket")}
    who |= {"network_namespace": evidence["netns"], "comm": process.get("comm", "").encode().ljust(16, b"\0").hex()}
    return {"packet": packet, "owner": who, "frame": "00" * 66}


class BothPlaces(unittest.TestCase):
    """The flows of a real guest, recorded, put to a module in this process and to the same one in its own."""

    # What each says must depend on the flow, or to agree would mean little.
    SETTINGS = {
        "deny_process": {"processes": ["nc"]},
        "connection_rate": {"per_second": 40, "burst": 5},
        "allowed_executables": {"executables": ["/bin/serve", "/bin/load"]},
    }
    FLOWS, ROUNDS, BETWEEN_NS = 24, 3, 4_000_000

    @classmethod
    def setUpClass(cls):
        cls.guest = cls.enterClassContext(guests.Guest("6.1", memory="memfd", ram_mib=256))
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="hyperward-")))
        cls.guest.must("serve -p 7000 echo >/dev/null & load -s 60 -p 12 >/dev/null & sleep 4")
        cls.guest.must("for i in 1 2 3 4 5 6; do sleep 100 | nc 127.0.0.1 7000 >/dev/null & done; sleep 1")
        cls.recording = cls.record()

    @classmethod
    def record(cls) -> pathlib.Path:
        sockets = hyperward.ask("ss", "--pid", cls.guest.pid)
        talking = [socket for socket in sockets if socket["state"] == "ESTAB" and socket["protocol"] == "tcp"]
        by_program = {comm: [] for comm in ("nc", "serve", "load")}
        for socket in talking:
            for comm in {holder["comm"] for holder in socket["processes"]} & by_program.keys():
                by_program[comm].append(socket)
        flows = [flow for some in by_program.values() for flow in some[: cls.FLOWS // len(by_program)]]
        lines = [json.dumps({"recording": 1, "module": "test", "version": "1", "settings": "{}"})]
        owners = [
            hyperward.ask("owner", "--pid", cls.guest.pid, flow["protocol"], flow["local"], flow["remote"])
            for flow in flows
        ]
        for number, (flow, owner) in enumerate(list(zip(flows, owners)) * cls.ROUNDS):
            lines.append(json.dumps(question(flow, owner, 10**9 + number * cls.BETWEEN_NS)))
        file = cls.folder / "traffic.jsonl"
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    def replay(self, module: str, access: str, *place: str) -> list[dict]:
        words = ["module", "replay", self.recording, "--module", MODULES / f"{module}.so", "--pid", self.guest.pid]
        words += ["--access", access, "--settings", json.dumps(self.SETTINGS[module]), "--json", *place]
        done = hyperward.run(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_the_example_modules_say_the_same_packet_by_packet(self):
        for module in self.SETTINGS:
            here = self.replay(module, "mapped")
            self.assertGreaterEqual(len(here), self.ROUNDS * self.FLOWS // 2, "the guest has too few flows")
            self.assertEqual({said.get("verdict") for said in here}, {"allow", "deny"}, module)
            for access in ("mapped", "readv"):
                with self.subTest(module=module, access=access):
                    self.assertEqual(self.replay(module, access, "--process"), here)


if __name__ == "__main__":
    unittest.main()
