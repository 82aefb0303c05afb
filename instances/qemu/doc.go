// Package qemu is the instance driver for virtual machines: each instance is a QEMU process that this package starts,
// watches and ends, with one virtio network card whose frames come and go over a socket (vswitch/port/stream), so
// that no privilege is needed.
//
// It makes no images and looks into no guest: programs in a virtual machine are reached over the network of the
// lab, or by its console. QEMU is spoken to by QMP only (docs/interop/qmp-spec in QEMU's sources).
//
// Read qemu.go first, then command.go for the command line and instance.go for a machine's life.
package qemu
