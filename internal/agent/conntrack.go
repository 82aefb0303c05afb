package agent

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// Conntrack lists the flow table, the halves of one flow next to each other.
func (n *node) Conntrack(_ context.Context, r *api.ConntrackRequest) ([]api.ConntrackRow, error) {
	view := n.store.View()
	match, err := n.conntrackFilter(view, r)
	if err != nil {
		return nil, err
	}
	rows := []api.ConntrackRow{}
	n.sw.Halves(func(h vswitch.HalfState) bool {
		if match(&h) {
			rows = append(rows, conntrackRow(view, &h))
		}
		return true
	})
	slices.SortFunc(rows, func(a, b api.ConntrackRow) int { return b.LastSeen.Compare(a.LastSeen) })
	if r.Last > 0 && len(rows) > r.Last {
		rows = rows[:r.Last]
	}
	slices.SortStableFunc(rows, compareHalves)
	return rows, nil
}

// conntrackFilter makes one test of a request.
func (n *node) conntrackFilter(view *vpc.View, r *api.ConntrackRequest) (func(*vswitch.HalfState) bool, error) {
	f, err := n.flowFilter(view, &api.FlowsRequest{Lab: r.Lab, Instance: r.Instance, Address: r.Address, Port: r.Port, Protocol: r.Protocol})
	if err != nil {
		return nil, err
	}
	return func(h *vswitch.HalfState) bool {
		ni, ok := view.NetworkInterface(h.Interface)
		end := func(p netip.Prefix) bool { return p.Contains(h.Inside.Netip()) || p.Contains(h.Outside.Netip()) }
		port := func(p uint16) bool { return p == h.InsidePort || p == h.OutsidePort }
		return ok && (r.Rejected || !h.Rejected) &&
			(f.Interfaces == nil || slices.Contains(f.Interfaces, h.Interface)) &&
			(f.VPCIDs == nil || slices.Contains(f.VPCIDs, ni.VPCID)) &&
			(f.Addresses == nil || slices.ContainsFunc(f.Addresses, end)) &&
			(f.Ports == nil || slices.ContainsFunc(f.Ports, port)) &&
			(f.Protocols == nil || slices.Contains(f.Protocols, h.Protocol))
	}, nil
}

func conntrackRow(view *vpc.View, h *vswitch.HalfState) api.ConntrackRow {
	ni, _ := view.NetworkInterface(h.Interface)
	now := time.Now()
	row := api.ConntrackRow{
		At: instanceAt(view, h.Interface), InterfaceID: h.Interface, Lab: ni.Lab, Protocol: protocolWord(h.Protocol),
		Inside:  endpoint(view, ni.VPCID, h.Inside.Netip(), int(h.InsidePort), h.Protocol),
		Outside: endpoint(view, ni.VPCID, h.Outside.Netip(), int(h.OutsidePort), h.Protocol),
		Opener:  h.Opener.String(), Tracked: h.Tracked, Action: api.Accept,
		Opened: now.Add(-h.Age), LastSeen: now.Add(-h.Idle), ExpiresIn: api.SecondsOf(h.ExpiresIn),
	}
	if i, ok := view.Instance(ni.InstanceID); ok {
		row.Lab = i.Lab
	}
	if h.Protocol == packet.ProtoTCP {
		row.State = h.State
	}
	opener := h.In
	if h.Opener == vpc.Egress {
		opener = h.Out
	}
	if h.Rejected || opener.Reason.Rejected() {
		row.Action = api.Reject
		row.Rule = denied(view, verdict{eni: h.Interface, dir: h.Opener})
	} else if opener.Rule != nil {
		row.Rule = ruleInfoRef(opener.Rule)
	}
	return row
}

// compareHalves puts the halves of one flow next to each other, the opener's first.
func compareHalves(a, b api.ConntrackRow) int {
	return cmp.Or(cmp.Compare(flowName(&a), flowName(&b)), cmp.Compare(openerFirst(&a), openerFirst(&b)))
}

// flowName is the same for both halves of a flow: requester, responder.
func flowName(r *api.ConntrackRow) string {
	from, to := r.Inside, r.Outside
	if r.Opener == api.Ingress {
		from, to = to, from
	}
	return r.Protocol + " " + netip.AddrPortFrom(from.Address, uint16(from.Port)).String() + " " + netip.AddrPortFrom(to.Address, uint16(to.Port)).String()
}

func openerFirst(r *api.ConntrackRow) int {
	if r.Opener == api.Egress {
		return 0
	}
	return 1
}
