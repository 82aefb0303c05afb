// Package afpacket is the kernel's end of a TAP whose descriptor another program holds (QEMU, libvirt, Proxmox),
// as a port of the switch: what that program sends is read, and what the switch sends reaches it, by a packet
// socket with virtio-net headers (packet(7), PACKET_VNET_HDR), so that checksums and segmentation stay undone.
//
// While a port has a device, nothing passes between the device and the host's own stack: see shield_linux.go.
// A device that goes away, joins a bridge or is given an address is let go of, and taken again when it is fit
// again. The package makes no device and gives none an address.
//
// Read afpacket.go first, then port_linux.go. Linux only.
package afpacket
