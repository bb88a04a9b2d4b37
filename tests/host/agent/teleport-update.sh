#!/bin/sh
# The stand-in for teleport-update, as far as Teleport's packages need it: lib/autoupdate/agent/installer.go and updater.go.
set -eu

bin=/opt/teleport/system/bin
links=/usr/local/bin
packaged=/opt/teleport/system/lib/systemd/system/teleport.service
unit=/lib/systemd/system/teleport.service

# Does nothing where no systemd runs, as in an image that is being made.
reload_units() {
    if test -d /run/systemd/system; then systemctl daemon-reload; fi
}

link() {
    if grep -qs '^  *enabled: *true' /opt/teleport/default/update.yaml; then
        echo "automatic updates are enabled: not linking the package"
        return
    fi
    mkdir -p "$links" "${unit%/*}"
    # All of them are looked at before the first one is linked.
    for program in "$bin"/*; do
        link="$links/${program##*/}"
        if test -L "$link"; then
            test "$(readlink "$link")" = "$program" || { echo "$link belongs to another installation: not linking"; return; }
        elif test -e "$link"; then
            echo "refusing to replace file at $link" >&2
            exit 1
        fi
    done
    for program in "$bin"/*; do
        link="$links/${program##*/}"
        test -L "$link" || ln -s "$program" "$link"
    done
    if ! cmp -s "$packaged" "$unit"; then
        cp "$packaged" "${unit%/*}/.teleport.service.new"
        chmod 644 "${unit%/*}/.teleport.service.new"
        mv -f "${unit%/*}/.teleport.service.new" "$unit"
    fi
    reload_units
}

unlink_() {
    unlinked=no
    for program in "$bin"/*; do
        link="$links/${program##*/}"
        # A file of another package is left alone, and so is another installation's link.
        if test -L "$link" && test "$(readlink "$link")" = "$program"; then
            rm -f "$link"
            case $link in */teleport) unlinked=yes ;; esac
        fi
    done
    # The unit goes with the agent, unless someone has changed it.
    if test $unlinked = yes && cmp -s "$packaged" "$unit"; then rm -f "$unit"; fi
    reload_units
}

case ${1-} in
link-package) link ;;
unlink-package) unlink_ ;;
version) echo "stand-in" ;;
*) echo "usage: teleport-update link-package | unlink-package | version" >&2; exit 2 ;;
esac
