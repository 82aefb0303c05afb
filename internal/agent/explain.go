package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	api "github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/sg"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
)

// Explain runs the pipeline with its trace on.
func (n *node) Explain(_ context.Context, r *api.ExplainRequest) (*api.Explanation, error) {
	view := n.store.View()
	from, err := n.instanceNamed(view, r.Lab, r.From)
	if err != nil {
		return nil, err
	}
	q, vpcID, err := n.question(view, from, r)
	if err != nil {
		return nil, err
	}
	x, err := n.sw.Explain(q)
	if err != nil {
		return nil, err
	}
	e := explainer{view: view, vpcID: vpcID, x: x}
	return e.explanation(), nil
}

// question puts a request into the switch's words.
func (n *node) question(view *vpc.View, from *vpc.Instance, r *api.ExplainRequest) (q vswitch.Question, vpcID string, err error) {
	if len(from.InterfaceIDs) == 0 {
		return q, "", fmt.Errorf("instance %s has no network interface", from.Name)
	}
	proto, err := targetProtocol(r.To)
	if err != nil {
		return q, "", err
	}
	dst, err := n.reach(view, from, r.Lab, r.To.Host)
	if err != nil {
		return q, "", err
	}
	q = vswitch.Question{Interface: from.InterfaceIDs[0], Dst: dst, Protocol: proto, SrcPort: uint16(r.SourcePort), DstPort: uint16(r.To.Port)}
	return q, from.VPCID, nil
}

// targetProtocol gives the number of a target's protocol; without a port it is a ping.
func targetProtocol(t api.Target) (uint8, error) {
	if t.Protocol == "" && t.Port == 0 {
		return packet.ProtoICMP, nil
	}
	if t.Protocol == "" {
		return packet.ProtoTCP, nil
	}
	p, err := vpc.ParseProtocol(t.Protocol)
	if err != nil || p < 0 {
		return 0, &api.Error{Code: api.CodeBadRequest, Field: "to", Message: fmt.Sprintf("%q is no protocol; write tcp, udp, icmp or a number", t.Protocol)}
	}
	return uint8(p), nil
}

// reach gives the address that a sender's word for the far end means. A bare name is looked for in the sender's own lab
// first; an instance of another VPC is refused, since its address means something else in the sender's.
func (n *node) reach(view *vpc.View, from *vpc.Instance, labName, host string) (netip.Addr, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return n.targetAddress(view, labName, host)
	}
	if labName == "" && len(view.Find(from.Lab, vpc.KindInstance, host)) > 0 {
		labName = from.Lab
	}
	if o, err := named(view, vpc.KindInstance, labName, host); err == nil {
		if to := o.(*vpc.Instance); to.VPCID != from.VPCID {
			return netip.Addr{}, &api.Error{Code: api.CodeUnsupported, Field: "to", Message: fmt.Sprintf("%s is in VPC %s and %s in VPC %s: no route leads from the one to the other",
				host, objectWord(view, to.VPCID), from.Name, objectWord(view, from.VPCID)), Fix: "name an instance of the same VPC, or an address to see what becomes of a packet to it"}
		}
	}
	return n.targetAddress(view, labName, host)
}

// targetAddress gives the address that a person's word means: an address, or an instance's primary one.
func (n *node) targetAddress(view *vpc.View, labName, host string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a, nil
	}
	if ni, ok := view.NetworkInterface(host); ok && len(ni.Addresses) > 0 {
		return ni.Addresses[0], nil
	}
	i, err := n.instanceNamed(view, labName, host)
	if err != nil {
		return netip.Addr{}, err
	}
	return primaryAddress(view, i)
}

// explainer gives a trace its names.
type explainer struct {
	view  *vpc.View
	vpcID string
	x     *vswitch.Explanation
}

func (e *explainer) explanation() *api.Explanation {
	t := e.x.Tuple
	out := &api.Explanation{
		Verdict: reasonVerdict(e.x.Forward.Reason), Protocol: protocolWord(t.Proto),
		Source:      endpoint(e.view, e.vpcID, t.Src.Netip(), int(t.SrcPort), t.Proto),
		Destination: endpoint(e.view, e.vpcID, t.Dst.Netip(), int(t.DstPort), t.Proto),
		Steps:       e.steps(e.x.Forward.Steps),
		Records:     e.records(e.x.Forward.Records),
		Return:      api.ReturnPath{Text: "not reached"},
	}
	if back := e.x.Return; back != nil {
		out.Return = e.returnPath(back)
		out.Records = append(out.Records, e.records(back.Records)...)
	}
	return out
}

func (e *explainer) returnPath(t *vswitch.Trace) api.ReturnPath {
	r := api.ReturnPath{Verdict: reasonVerdict(t.Reason)}
	tracked := true
	for i := range t.Steps {
		s := &t.Steps[i]
		tracked = tracked && (s.Stage == vswitch.StageRoute || s.Reason == vswitch.ReasonReply)
	}
	if tracked && t.Reason == vswitch.ReasonNone {
		r.Text = "reply, tracked: passes without a rule"
		return r
	}
	r.Text = "judged by rules: the connection is untracked"
	r.Steps = e.steps(t.Steps)
	return r
}

func (e *explainer) steps(steps []vswitch.Step) []api.Step {
	out := make([]api.Step, 0, len(steps))
	for i := range steps {
		out = append(out, e.step(&steps[i]))
	}
	return out
}

func (e *explainer) step(s *vswitch.Step) api.Step {
	out := api.Step{At: instanceAt(e.view, s.Interface), Stage: string(s.Stage), Result: reasonVerdict(s.Reason), Code: s.Code()}
	switch s.Stage {
	case vswitch.StageRoute:
		out.At = e.vpcName(s.VPC)
		e.route(&out, s)
	case vswitch.StageSGEgress, vswitch.StageSGIngress:
		e.rule(&out, s)
	default:
		out.Detail = describeDrop(s.Reason)
	}
	return out
}

// reasonVerdict is the word for what became of a packet.
func reasonVerdict(r vswitch.Reason) string {
	switch {
	case r.Rejected():
		return api.Reject
	case r.Dropped():
		return api.Drop
	}
	return api.Accept
}

func (e *explainer) route(out *api.Step, s *vswitch.Step) {
	out.Detail = s.Route
	if s.Reason == vswitch.ReasonNone {
		out.Result = s.Target
		return
	}
	out.Detail = strings.TrimSpace(s.Route + " " + describeDrop(s.Reason))
}

// rule names the rule that decided, or that none did and which came closest.
func (e *explainer) rule(out *api.Step, s *vswitch.Step) {
	groups := strings.Join(groupNames(e.view, s.Groups), ", ")
	switch {
	case s.Reason == vswitch.ReasonReply:
		out.Detail = "reply, tracked"
		return
	case s.Rule != nil:
		r := ruleInfoRef(s.Rule)
		out.Rule, out.Where = &r, r.Where
		out.Detail = r.Group + ": " + r.Words
		if r.Default {
			out.Detail += " (default)"
		}
		return
	}
	out.Detail = groups + ": no rule"
	if s.Nearest != nil {
		out.Nearest = &api.Nearest{Rule: ruleInfoRef(s.Nearest), Differs: s.Differs.String(), Why: e.why(s)}
	}
}

// why says in what the nearest rule differs from the packet.
func (e *explainer) why(s *vswitch.Step) string {
	var parts []string
	t := e.x.Tuple
	if s.Differs&sg.ProtocolDiffers != 0 {
		parts = append(parts, fmt.Sprintf("the protocol is %s", protocolWord(t.Proto)))
	}
	if s.Differs&sg.PortDiffers != 0 {
		parts = append(parts, e.portWhy())
	}
	if s.Differs&sg.PeerDiffers != 0 {
		parts = append(parts, e.peerWhy(s))
	}
	return strings.Join(parts, ", ")
}

func (e *explainer) portWhy() string {
	t := e.x.Tuple
	if t.Proto == packet.ProtoTCP || t.Proto == packet.ProtoUDP {
		return fmt.Sprintf("the port is %d", t.DstPort)
	}
	return "the ICMP type is echo request"
}

// peerWhy names the groups or the address that the rule does not mean: "web-1 is in web, not app".
func (e *explainer) peerWhy(s *vswitch.Step) string {
	remote := e.x.Tuple.Src
	if s.Stage == vswitch.StageSGEgress {
		remote = e.x.Tuple.Dst
	}
	who := endpoint(e.view, e.vpcID, remote.Netip(), 0, 0)
	name := who.Name
	if name == "" {
		name = who.Address.String()
	}
	if g := s.Nearest.Permission.GroupID; g != "" {
		in := strings.Join(groupNames(e.view, s.Remote), ", ")
		if in == "" {
			in = "no security group"
		}
		return fmt.Sprintf("%s is in %s, not %s", name, in, groupName(e.view, g))
	}
	if p := s.Nearest.Permission.CIDR; p.IsValid() {
		return fmt.Sprintf("%s is not in %s", who.Address, p)
	}
	return fmt.Sprintf("%s is not in %s", who.Address, groupName(e.view, s.Nearest.Permission.PrefixListID))
}

func (e *explainer) vpcName(id string) string {
	if v, ok := e.view.VPC(id); ok && v.Name != "" {
		return v.Name
	}
	return id
}

func (e *explainer) records(list []vswitch.TraceRecord) []api.RecordRef {
	out := make([]api.RecordRef, 0, len(list))
	for _, r := range slices.Backward(list) { // the ingress leg is counted first
		out = append(out, api.RecordRef{At: instanceAt(e.view, r.Interface), Direction: r.Direction.String(), Action: r.Action.String()})
	}
	return out
}

func ruleInfoRef(i *sg.RuleInfo) api.RuleRef {
	return api.RuleRef{
		ID: i.ID, GroupID: i.GroupID, Group: i.GroupName, Direction: i.Direction.String(), Words: i.Words, Where: i.Where, Default: i.Default,
	}
}

// protocolWord names a protocol as records do in words: "tcp", "icmp", or its number.
func protocolWord(proto uint8) string { return vpc.ProtocolName(int(proto)) }
