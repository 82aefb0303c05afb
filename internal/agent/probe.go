package agent

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/lab"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// maxProbes bounds the packets of one request.
const maxProbes = 1000

// Probe sends real packets and says what came of them.
func (n *node) Probe(ctx context.Context, r *api.ProbeRequest) (*api.ProbeResult, error) {
	if r.Count < 0 || r.Count > maxProbes {
		return nil, &api.Error{Code: api.CodeBadRequest, Field: "count", Message: fmt.Sprintf("%d is not from 1 to %d", r.Count, maxProbes)}
	}
	view := n.store.View()
	from, err := n.runningNamed(view, r.Lab, r.From)
	if err != nil {
		return nil, err
	}
	i, _ := view.Instance(from.id)
	dst, err := n.reach(view, i, r.Lab, r.To.Host)
	if err != nil {
		return nil, err
	}
	proto, err := targetProtocol(r.To)
	if err != nil {
		return nil, err
	}
	if proto != packet.ProtoTCP && proto != packet.ProtoUDP && proto != packet.ProtoICMP && proto != packet.ProtoICMPv6 {
		return nil, &api.Error{Code: api.CodeUnsupported, Field: "to", Message: fmt.Sprintf("a probe speaks tcp, udp and icmp, not %s; ask `explain`", r.To.Protocol)}
	}
	return n.probe(ctx, from, netip.AddrPortFrom(dst, uint16(r.To.Port)), proto, r)
}

// probe makes as many attempts as asked; each is a flow of its own. The last one's verdicts are told.
func (n *node) probe(ctx context.Context, from *running, dst netip.AddrPort, proto uint8, r *api.ProbeRequest) (*api.ProbeResult, error) {
	res := &api.ProbeResult{Protocol: protocolWord(proto), Records: []api.RecordRef{}}
	if proto == packet.ProtoICMPv6 {
		proto = packet.ProtoICMP
	}
	for range max(r.Count, 1) {
		f, err := n.newFlight(from, 0, dst, proto)
		if err != nil {
			return nil, err
		}
		if r.Timeout > 0 {
			f.timeout = r.Timeout.Duration()
		}
		s, err := f.watch(ctx, f.once)
		if err != nil {
			return nil, err
		}
		n.report(res, f, s)
	}
	return res, nil
}

// report puts a flight's sighting into a result.
func (n *node) report(res *api.ProbeResult, f *flight, s *sighting) {
	view := n.store.View()
	t := f.tuple
	res.Source = endpoint(view, f.vpcID, f.src.Addr(), int(f.src.Port()), t.Proto)
	res.Destination = endpoint(view, f.vpcID, f.dst.Addr(), int(f.dst.Port()), t.Proto)
	res.Outcome, res.Reason = string(s.outcome), s.detail
	res.Verdict, res.Rule = f.decision(view)
	if s.outcome == lab.Dropped {
		res.Verdict = api.Drop
	}
	if s.outcome == lab.Rejected {
		res.Reason = rejectedBy(res.Rule) + f.nearest(view)
	}
	res.Attempts = append(res.Attempts, api.Attempt{Outcome: string(s.outcome), RTT: api.SecondsOf(s.rtt)})
	for _, line := range recordLines(view, f, s.records) {
		ref := api.RecordRef{At: line.Instance, Direction: line.Direction.String(), Action: api.Reject}
		if line.Accept {
			ref.Action = api.Accept
		}
		res.Records = appendNew(res.Records, ref)
	}
}

func appendNew(list []api.RecordRef, r api.RecordRef) []api.RecordRef {
	for _, have := range list {
		if have == r {
			return list
		}
	}
	return append(list, r)
}

func rejectedBy(r api.RuleRef) string {
	return strings.TrimSpace(fmt.Sprintf("no %s rule of %s admits it", r.Direction, r.Group))
}

// nearest says which rule came closest, as explain does; "" if rules have changed meanwhile.
func (f *flight) nearest(view *vpc.View) string {
	x, err := f.n.sw.Explain(vswitch.Question{
		Interface: f.from.eni, Dst: f.dst.Addr(), Protocol: f.tuple.Proto, SrcPort: f.tuple.SrcPort, DstPort: f.tuple.DstPort,
	})
	if err != nil {
		return ""
	}
	e := explainer{view: view, vpcID: f.vpcID, x: x}
	for _, s := range e.steps(x.Forward.Steps) {
		if s.Nearest != nil {
			return fmt.Sprintf("; nearest is %s: %s", s.Nearest.Rule.Words, s.Nearest.Why)
		}
	}
	return ""
}

// decision is the verdict that stands, and what decided it: the first reject, else the last rule on the way there.
func (f *flight) decision(view *vpc.View) (string, api.RuleRef) {
	verdict, ref := "", api.RuleRef{}
	for _, v := range f.verdicts() {
		if v.Reason.Rejected() {
			return api.Reject, denied(view, v)
		}
		if v.Reason == vswitch.ReasonRule && v.Rule != nil && v.dir == f.forward(v.eni) {
			verdict, ref = api.Accept, ruleInfoRef(v.Rule)
		}
	}
	return verdict, ref
}

// forward is the direction that the flight's own packets have at an interface.
func (f *flight) forward(eni string) vpc.Direction {
	if eni == f.from.eni {
		return vpc.Egress
	}
	return vpc.Ingress
}

// denied names the groups that had no rule for a packet.
func denied(view *vpc.View, v verdict) api.RuleRef {
	ref := api.RuleRef{Direction: v.dir.String(), Words: "no rule"}
	if ni, ok := view.NetworkInterface(v.eni); ok {
		ref.Group = strings.Join(groupNames(view, ni.Groups), ", ")
	}
	return ref
}
