package packet

import "encoding/binary"

// Lengths of struct virtio_net_hdr and virtio_net_hdr_mrg_rxbuf (linux/virtio_net.h).
const (
	VnetLen    = 10
	VnetMrgLen = 12
)

// Flags and GSO types of virtio_net_hdr.
const (
	vnetNeedsCsum = 1
	vnetDataValid = 2

	vnetGSONone  = 0
	vnetGSOTCP4  = 1
	vnetGSOTCP6  = 4
	vnetGSOUDPL4 = 5
	vnetGSOECN   = 0x80
)

// DecodeVnet reads the virtio-net header at the start of b, in the little-endian form of virtio 1.0
// (a TAP needs TUNSETVNETLE on big-endian machines). It reports false where b is too short, the GSO
// type is none of GSOType's (as UFO and tunnels), or a super-frame has no segment size. Fields that
// mean nothing without their flag come back as zero. Whether the rest fits the frame, GSO.Valid says.
func DecodeVnet(b []byte) (GSO, bool) {
	if len(b) < VnetLen {
		return GSO{}, false
	}
	g := GSO{
		NeedsCsum: b[0]&vnetNeedsCsum != 0,
		DataValid: b[0]&vnetDataValid != 0,
		ECN:       b[1]&vnetGSOECN != 0,
	}
	switch b[1] &^ vnetGSOECN {
	case vnetGSONone:
	case vnetGSOTCP4:
		g.Type = GSOTCP4
	case vnetGSOTCP6:
		g.Type = GSOTCP6
	case vnetGSOUDPL4:
		g.Type = GSOUDP
	default:
		return GSO{}, false
	}
	if g.ECN && g.Type != GSOTCP4 && g.Type != GSOTCP6 {
		return GSO{}, false
	}
	if g.Type != GSONone {
		g.HdrLen = binary.LittleEndian.Uint16(b[2:])
		g.SegSize = binary.LittleEndian.Uint16(b[4:])
		if g.SegSize == 0 {
			return GSO{}, false
		}
	}
	if g.NeedsCsum {
		g.CsumStart = binary.LittleEndian.Uint16(b[6:])
		g.CsumOffset = binary.LittleEndian.Uint16(b[8:])
	}
	return g, true
}

var vnetTypes = [...]byte{GSONone: vnetGSONone, GSOTCP4: vnetGSOTCP4, GSOTCP6: vnetGSOTCP6, GSOUDP: vnetGSOUDPL4}

// EncodeVnet writes g as virtio-net header into all of b, which is VnetLen or VnetMrgLen bytes long;
// num_buffers of the longer form is 0, as a driver sends it. It reports false, and writes nothing, if
// b has another length or g.Type is none that is known.
func EncodeVnet(b []byte, g GSO) bool {
	if len(b) != VnetLen && len(b) != VnetMrgLen || int(g.Type) >= len(vnetTypes) {
		return false
	}
	clear(b)
	if g.NeedsCsum {
		b[0] = vnetNeedsCsum
		binary.LittleEndian.PutUint16(b[6:], g.CsumStart)
		binary.LittleEndian.PutUint16(b[8:], g.CsumOffset)
	}
	if g.DataValid {
		b[0] |= vnetDataValid
	}
	if g.Type != GSONone {
		b[1] = vnetTypes[g.Type]
		if g.ECN && g.Type != GSOUDP {
			b[1] |= vnetGSOECN
		}
		binary.LittleEndian.PutUint16(b[2:], g.HdrLen)
		binary.LittleEndian.PutUint16(b[4:], g.SegSize)
	}
	return true
}
