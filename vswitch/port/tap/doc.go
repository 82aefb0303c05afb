// Package tap owns a TAP device as a port of the switch: created through water, on Linux attached
// again with virtio-net headers so that checksums and segmentation can stay undone.
//
// It never configures the kernel's end of the device (addresses, routes, link state): that is
// whoever's the instance is. It looks into no packet.
//
// Read tap.go first, then tap_linux.go.
package tap
