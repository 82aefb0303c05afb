package flowlogs

import (
	"net/netip"
	"strconv"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
)

// Append appends the record's line, without a newline. It allocates only if dst has no room; MaxLine
// bytes are enough.
func (f *Format) Append(dst []byte, r *Record) []byte {
	for i, x := range f.fields {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = f.appendField(dst, x, r)
	}
	return dst
}

// appendField writes the fields that every record has, also one that stands for no flow.
func (f *Format) appendField(dst []byte, x field, r *Record) []byte {
	switch x {
	case fieldVersion:
		return strconv.AppendUint(dst, uint64(f.version), 10)
	case fieldAccountID:
		return appendText(dst, r.Interface.AccountID)
	case fieldInterfaceID:
		return appendText(dst, r.Interface.ID)
	case fieldStart:
		return strconv.AppendInt(dst, r.Start, 10)
	case fieldEnd:
		return strconv.AppendInt(dst, r.End, 10)
	case fieldLogStatus:
		return append(dst, r.Status.String()...)
	}
	if r.Status != OK {
		return append(dst, '-')
	}
	return appendFlowField(dst, x, r)
}

func appendFlowField(dst []byte, x field, r *Record) []byte {
	switch x {
	case fieldSrcAddr:
		return appendAddr(dst, r.SrcAddr())
	case fieldDstAddr:
		return appendAddr(dst, r.DstAddr())
	case fieldPktSrcAddr:
		return appendAddr(dst, r.Tuple.Src.Netip())
	case fieldPktDstAddr:
		return appendAddr(dst, r.Tuple.Dst.Netip())
	case fieldSrcPort:
		return strconv.AppendUint(dst, uint64(recordTuple(r.Tuple).SrcPort), 10)
	case fieldDstPort:
		return strconv.AppendUint(dst, uint64(recordTuple(r.Tuple).DstPort), 10)
	case fieldProtocol:
		return strconv.AppendUint(dst, uint64(r.Tuple.Proto), 10)
	case fieldPackets:
		return strconv.AppendUint(dst, r.Packets, 10)
	case fieldBytes:
		return strconv.AppendUint(dst, r.Bytes, 10)
	case fieldTCPFlags:
		return strconv.AppendUint(dst, uint64(recordFlags(r.Tuple.Proto, r.TCPFlags)), 10)
	}
	return appendDetail(dst, x, r)
}

func appendDetail(dst []byte, x field, r *Record) []byte {
	switch x {
	case fieldAction:
		return append(dst, r.Action.String()...)
	case fieldVPCID:
		return appendText(dst, r.Interface.VPCID)
	case fieldSubnetID:
		return appendText(dst, r.Interface.SubnetID)
	case fieldInstanceID:
		return appendText(dst, r.Interface.InstanceID)
	case fieldType:
		return append(dst, family(r.Tuple.Src)...)
	case fieldRegion:
		return appendText(dst, r.Interface.Region)
	case fieldZoneID:
		return appendText(dst, r.Interface.ZoneID)
	case fieldDirection:
		return append(dst, r.Direction.String()...)
	case fieldTrafficPath:
		if r.Direction == vpc.Egress && r.TrafficPath != 0 {
			return strconv.AppendUint(dst, uint64(r.TrafficPath), 10)
		}
	}
	return append(dst, '-')
}

func family(a packet.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func appendText(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '-')
	}
	return append(dst, s...)
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(dst, '-')
	}
	return a.AppendTo(dst)
}
