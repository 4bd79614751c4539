#!/bin/busybox sh
# The first and only process of the guest that tests boot. It reports what it found and then obeys, both on the serial
# console. A line `ID COMMAND` is answered by `[ID CODE] OUTPUT`, all of the output in one line.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
stty -echo
for module in $(cat /modules/order); do insmod /modules/$module.ko || echo "MISSING $module"; done

# The first disk that can be written: the seed cannot.
find_disk() {
  for path in /sys/block/vd? /sys/block/sd?; do
    [ "$(cat $path/ro 2>/dev/null)" = 0 ] && basename $path && return
  done
  return 1
}
disk_driver() {
  case $1 in
    vd*) basename $(readlink -f /sys/block/$1/device/driver) ;;
    sd*) head -qn 1 /sys/class/scsi_host/host*/proc_name | head -n 1 ;;
  esac
}

tries=0
until disk=$(find_disk) || [ $tries = 30 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
D=/dev/${disk:-none}

# Writes COUNT MiB from the MiB OFFSET on, each of them different; bootable-image.ts knows the same pattern. It is on the
# host's disk then: without fsync, the disk is never told to write out what it keeps.
write() {
  for mib in $(seq $1 $(($1 + $2 - 1))); do
    yes "MiB $mib of $3 ........................................................................." |
      head -c 1048576 | dd of=$D bs=1M seek=$mib iflag=fullblock conv=notrunc,fsync 2>/dev/null || return 1
  done
}
# The MD5 of COUNT MiB from the MiB OFFSET on, read from the disk and not from memory.
sum() {
  sync
  echo 3 >/proc/sys/vm/drop_caches
  dd if=$D bs=1M skip=$1 count=$2 2>/dev/null | md5sum | head -c 32
}
# What cloud-init would read: the files of the disk with that label, in Base64.
seed() {
  for path in /dev/vd? /dev/sd? /dev/sr0; do
    # Where an ISO 9660 file system has its label.
    [ "$(dd if=$path bs=1 skip=32808 count=6 2>/dev/null | tr A-Z a-z)" = cidata ] || continue
    mount -t iso9660 -o ro $path /seed || return 1
    for file in /seed/*; do echo "$(basename $file)=$(base64 -w 0 $file)"; done
    umount /seed
    return
  done
  return 1
}
# Asks for an address, and answers whoever connects to a port with a text.
net() {
  ip link set lo up
  ip link set $interface up
  udhcpc -i $interface -n -q -t 5 -T 1 -s /udhcpc.sh >/dev/null 2>&1 &&
    ip -4 -o addr show $interface | awk '{print $4}'
}
answer() {
  nc -ll -p $1 -e echo "$2" >/dev/null 2>&1 &
  until netstat -ltn | grep -q ":$1 "; do sleep 0.1; done
}
# Mounts the disk's file system and has it written to without a pause: /disk/last counts what was.
files() {
  mount -t ext4 ${D}2 /disk || return 1
  (while :; do
    count=$((count + 1))
    head -c 65536 /dev/urandom >/disk/file$((count % 100))
    echo $count >/disk/last
  done) >/dev/null 2>&1 &
}
# Starts QEMU's guest agent, and waits until it listens: it goes into the background before that.
agent() {
  port=$(grep -lx org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name) || return 1
  device=/dev/$(basename $(dirname $port))
  qemu-ga -d -t /run -f /run/agent.pid -l /run/agent.log -p $device || return 1
  until ls -l /proc/$(cat /run/agent.pid)/fd 2>/dev/null | grep -q $device; do sleep 0.1; done
}

interface=$(ls /sys/class/net | grep -v '^lo$' | head -n 1)
driver=$(basename "$(readlink -f /sys/class/net/$interface/device/driver 2>/dev/null)")
mac=$(cat /sys/class/net/$interface/address 2>/dev/null)
sectors=$(cat /sys/block/$disk/size 2>/dev/null)
report() {
  echo "REPORT disk=${disk:-none} diskdriver=$(disk_driver ${disk:-none}) sectors=${sectors:-0}" \
    "net=${interface:-none} netdriver=${driver:-none} mac=${mac:-none}"
}
report

# Turns itself off when its power button is pressed, as acpid would.
for input in /sys/class/input/event*; do
  [ "$(cat $input/device/name 2>/dev/null)" = 'Power Button' ] || continue
  # Open before it says that it is ready: what comes before that is lost.
  exec 3</dev/input/$(basename $input)
  (head -c 24 <&3 >/dev/null && sync && poweroff -f) &
done

echo READY
while :; do
  while read -r id command; do
    output=$(eval "$command" 2>&1)
    echo "[$id $?]" $output
  done
  # A console that hung up; the guest goes on.
  sleep 0.2
done
