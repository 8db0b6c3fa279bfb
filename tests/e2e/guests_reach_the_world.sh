#!/usr/bin/env bash
# The test network itself: without hyperward every packet passes, over IPv4 and IPv6.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

make_world
start_in_world serve -u mail smtp
boot_guest server

claim "the guest delivers mail over IPv4" in_guest server 'deliver -u mail -n 3 -i 10 10.78.3.4 >/dev/null'
claim "the guest delivers mail over IPv6" in_guest server 'deliver -u mail -n 3 -i 10 fd78::5 >/dev/null'
claim "a scan reaches every host" in_guest server 'scan -u alice -r 0 -n 300 10.78.0.1 300 | grep -q "connected 300 "'
in_guest server 'serve -u www-data web >/dev/null 2>&1 &'
claim "the world reaches the guest" in_world wget -q -T 10 -t 3 -O /dev/null http://10.77.0.11/
claim "the host reaches the guest" wget -q -T 10 -t 3 -O /dev/null 'http://[fd77::11]/'
