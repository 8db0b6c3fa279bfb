"""drgn on a dump: loads it, lists the tasks, lists the TCP sockets. Prints milliseconds as JSON.

Debian's drgn belongs to Debian's own Python: /usr/bin/python3 drgn_peer.py DUMP VMLINUX
"""

import json
import sys
import time

import drgn
from drgn.helpers.linux.list_nulls import hlist_nulls_for_each_entry
from drgn.helpers.linux.pid import for_each_task

dump, vmlinux = sys.argv[1:]


def ms_of(action):
    start = time.perf_counter()
    result = action()
    return round((time.perf_counter() - start) * 1000, 3), result


def load():
    program = drgn.Program()
    program.set_core_dump(dump)
    program.load_debug_info([vmlinux])
    return program


def tasks(program):
    return [(task.pid.value_(), task.comm.string_(), task.cred.uid.val.value_()) for task in for_each_task(program)]


def sockets(program):
    table = program["tcp_hashinfo"]
    found = []
    for bucket in range(table.ehash_mask.value_() + 1):
        chain = table.ehash[bucket].chain
        for sock in hlist_nulls_for_each_entry("struct sock", chain, "__sk_common.skc_nulls_node"):
            common = sock.member_("__sk_common")  # Python would mangle the name
            found.append((common.skc_num.value_(), common.skc_dport.value_(), common.skc_state.value_()))
    return found


attach_ms, program = ms_of(load)
processes_ms, seen_tasks = ms_of(lambda: tasks(program))
sockets_ms, seen_sockets = ms_of(lambda: sockets(program))
assert seen_tasks and seen_sockets
print(json.dumps({"attach_ms": attach_ms, "processes_ms": processes_ms, "sockets_ms": sockets_ms}))
