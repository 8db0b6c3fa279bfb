#!/usr/bin/env bash
# The unit is valid, as exposed as it must be and no more, and installed with manual pages that man(1) takes as they are.
set -euo pipefail
cd "$(dirname "$0")/../.."
hyperward=$(realpath "${HYPERWARD:-build/release/src/cli/hyperward}")
max_exposure=34   # tenths; what remains is named in the unit: root, processes, the network, BPF, /tmp

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "test_unit: $*" >&2; exit 1; }

unit=$folder/hyperward.service
sed "s|^ExecStart=hyperward |ExecStart=$hyperward |; /^Documentation=/d" packaging/hyperward.service >"$unit"
said=$(systemd-analyze verify --man=no "$unit" 2>&1) || fail "the unit is not valid: $said"
[[ -z $said ]] || fail "the unit is valid, but: $said"
systemd-analyze security --offline=true --threshold=$max_exposure "$unit" >"$folder/exposure" ||
  fail "too exposed: $(tail -n 1 "$folder/exposure")"

DESTDIR=$folder/root cmake --install "$(dirname "$hyperward")/../.." --prefix /usr >/dev/null
for file in usr/sbin/hyperward usr/lib/systemd/system/hyperward.service usr/share/man/man8/hyperward-guard.8 \
  usr/share/bash-completion/completions/hyperward usr/share/zsh/site-functions/_hyperward \
  usr/share/fish/vendor_completions.d/hyperward.fish etc/hyperward/guests.d; do
  [[ -e $folder/root/$file ]] || fail "not installed: /$file"
done
for page in "$folder"/root/usr/share/man/man8/*.8; do
  said=$(man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null) && [[ -z $said ]] || fail "${page##*/}: $said"
done
echo "the unit: $(tail -n 1 "$folder/exposure")"
