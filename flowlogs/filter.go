package flowlogs

import (
	"net/netip"
	"slices"
)

// Filter chooses records. The zero value takes all; every field that is set narrows the choice.
type Filter struct {
	Interfaces []string       // any of these network interface ids
	VPCIDs     []string       // any of these VPC ids
	Addresses  []netip.Prefix // source or destination lies in any of these, in the packet or as shown
	Ports      []uint16       // source or destination port is any of these
	Protocols  []uint8
	Action     Action // 0: any
	Since      int64  // Unix nanoseconds: the last packet, or a window without flows, is not before
	FlowsOnly  bool   // no NODATA and no SKIPDATA
	Limit      int    // at most so many, the newest; 0: no limit
}

// Match says whether f takes the record; Limit plays no part.
// A filter on address, port, protocol or action takes flows only.
func (f *Filter) Match(r *Record) bool {
	if !f.matchInterface(r.Interface) {
		return false
	}
	if r.Status != OK {
		return !f.flowsOnly() && r.Window.End*nanos > f.Since
	}
	return f.matchFlow(r)
}

func (f *Filter) matchInterface(i *Interface) bool {
	return (len(f.Interfaces) == 0 || slices.Contains(f.Interfaces, i.ID)) &&
		(len(f.VPCIDs) == 0 || slices.Contains(f.VPCIDs, i.VPCID))
}

func (f *Filter) flowsOnly() bool {
	return f.FlowsOnly || f.Action != 0 || len(f.Addresses)+len(f.Ports)+len(f.Protocols) > 0
}

func (f *Filter) matchFlow(r *Record) bool {
	if r.Last < f.Since || f.Action != 0 && f.Action != r.Action {
		return false
	}
	t := &r.Tuple
	if len(f.Protocols) > 0 && !slices.Contains(f.Protocols, t.Proto) {
		return false
	}
	if len(f.Ports) > 0 && !slices.Contains(f.Ports, t.SrcPort) && !slices.Contains(f.Ports, t.DstPort) {
		return false
	}
	return len(f.Addresses) == 0 || f.matchAddress(t.Src.Netip()) || f.matchAddress(t.Dst.Netip()) ||
		f.matchAddress(r.SrcAddr()) || f.matchAddress(r.DstAddr())
}

func (f *Filter) matchAddress(a netip.Addr) bool {
	return slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

// limit keeps the newest records.
func (f *Filter) limit(records []Record) []Record {
	if f.Limit > 0 && len(records) > f.Limit {
		return records[len(records)-f.Limit:]
	}
	return records
}
