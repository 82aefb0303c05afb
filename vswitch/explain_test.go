package vswitch

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/sg"
	"github.com/vpclab/vpclab/vpc"
)

func (w *world) explain(q Question) *Explanation {
	w.t.Helper()
	x, err := w.sw.Explain(q)
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

// stages is a trace in short: "STAGE REASON RULE", with what a default deny came nearest to.
func (t *Trace) stages(w *world) (out []string) {
	names := map[string]string{}
	for n, id := range w.names {
		names[id] = n
	}
	for _, s := range t.Steps {
		line := fmt.Sprintf("%s %s %s", s.Stage, names[s.Interface], s.Reason)
		if s.Rule != nil {
			line += " by " + s.Rule.Words
		}
		if s.Tracked {
			line += ", tracked"
		}
		if s.Nearest != nil {
			line += fmt.Sprintf(", nearest %s: %s differs", s.Nearest.Words, s.Differs)
		}
		if s.Route != "" {
			line += fmt.Sprintf(" %s %s", s.Route, s.Target)
		}
		out = append(out, line)
	}
	return out
}

func TestExplain(t *testing.T) {
	w, web, app := pair(t, "tcp 8080 from web", "udp 53 from anywhere", "tcp 22 from 10.9.0.0/16")
	for _, test := range []struct {
		name        string
		q           Question
		reason      Reason
		there, back []string
		code        string
		noReturn    bool
	}{
		{name: "tracked", q: Question{Interface: web.eni, Dst: app.addr, Protocol: 6, DstPort: 8080},
			there: []string{"sg egress web-1 rule by all to anywhere, tracked", "route web-1 none 10.0.0.0/16 local", "sg ingress app-1 rule by tcp 8080 from web, tracked"},
			back:  []string{"sg egress app-1 reply by tcp 8080 from web, tracked", "route app-1 none 10.0.0.0/16 local", "sg ingress web-1 reply by all to anywhere, tracked"}},
		{name: "untracked at the server", q: Question{Interface: web.eni, Dst: app.addr, Protocol: 17, DstPort: 53},
			there: []string{"sg egress web-1 rule by all to anywhere, tracked", "route web-1 none 10.0.0.0/16 local", "sg ingress app-1 rule by udp 53 from anywhere"},
			back:  []string{"sg egress app-1 rule by all to anywhere, tracked", "route app-1 none 10.0.0.0/16 local", "sg ingress web-1 reply by all to anywhere, tracked"}},
		{name: "wrong port", q: Question{Interface: web.eni, Dst: app.addr, Protocol: 6, DstPort: 8081}, reason: ReasonNoRule, noReturn: true, code: "ENI_SG_RULES_MISMATCH",
			there: []string{"sg egress web-1 rule by all to anywhere, tracked", "route web-1 none 10.0.0.0/16 local", "sg ingress app-1 no_rule, nearest tcp 8080 from web: port differs"}},
		{name: "wrong peer", q: Question{Interface: web.eni, Dst: app.addr, Protocol: 6, DstPort: 22}, reason: ReasonNoRule, noReturn: true, code: "ENI_SG_RULES_MISMATCH",
			there: []string{"sg egress web-1 rule by all to anywhere, tracked", "route web-1 none 10.0.0.0/16 local", "sg ingress app-1 no_rule, nearest tcp 22 from 10.9.0.0/16: peer differs"}},
		{name: "no rules at all", q: Question{Interface: app.eni, Dst: web.addr6, Protocol: 6, DstPort: 22}, reason: ReasonNoRule, noReturn: true, code: "ENI_SG_RULES_MISMATCH",
			there: []string{"sg egress app-1 rule by all to anywhere-v6, tracked", "route app-1 none 2001:db8::/56 local", "sg ingress web-1 no_rule"}},
		{name: "nobody there", q: Question{Interface: web.eni, Dst: addr("10.0.2.99"), Protocol: 6, DstPort: 22}, reason: ReasonNoDestination, noReturn: true, code: "NO_ROUTE_TO_DESTINATION",
			there: []string{"sg egress web-1 rule by all to anywhere, tracked", "route web-1 no_destination 10.0.0.0/16 local"}},
		{name: "no route", q: Question{Interface: web.eni, Dst: addr("192.0.2.1"), Protocol: 6, DstPort: 22}, reason: ReasonNoRoute, noReturn: true, code: "NO_ROUTE_TO_DESTINATION",
			there: []string{"sg egress web-1 rule by all to anywhere, tracked", "route web-1 no_route"}},
		{name: "spoofed", q: Question{Interface: web.eni, Src: addr("10.0.1.99"), Dst: app.addr, Protocol: 6, DstPort: 22}, reason: ReasonSpoofedIP, noReturn: true, code: "ENI_SOURCE_DEST_CHECK_RESTRICTION",
			there: []string{"guard web-1 spoofed_ip"}},
		{name: "router", q: Question{Interface: web.eni, Dst: addr("10.0.1.1"), Protocol: 1}, reason: ReasonRouter, noReturn: true,
			there: []string{"guard web-1 router_echo_reply"}},
		{name: "ping", q: Question{Interface: web.eni, Dst: app.addr6, Protocol: 1}, reason: ReasonNoRule, noReturn: true, code: "ENI_SG_RULES_MISMATCH",
			there: []string{"sg egress web-1 rule by all to anywhere-v6, tracked", "route web-1 none 2001:db8::/56 local", "sg ingress app-1 no_rule, nearest tcp 8080 from web: protocol differs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			x := w.explain(test.q)
			if x.Forward.Reason != test.reason {
				t.Errorf("reason %v, want %v", x.Forward.Reason, test.reason)
			}
			if got := x.Forward.stages(w); !slices.Equal(got, test.there) {
				t.Errorf("there:\n got %q\nwant %q", got, test.there)
			}
			if last := x.Forward.Steps[len(x.Forward.Steps)-1]; last.Code() != test.code {
				t.Errorf("code %q, want %q", last.Code(), test.code)
			}
			if (x.Return == nil) != test.noReturn {
				t.Fatalf("return path %v", x.Return)
			}
			if x.Return != nil && !slices.Equal(x.Return.stages(w), test.back) {
				t.Errorf("back:\n got %q\nwant %q", x.Return.stages(w), test.back)
			}
		})
	}
}

// TestExplainPing: the answer is an echo reply with the request's identifier, which needs no rule.
func TestExplainPing(t *testing.T) {
	w, web, app := pair(t, "ping from web", "ping from anywhere-v6")
	w.revoke("app", "all to anywhere")
	w.revoke("app", "all to anywhere-v6")
	for _, dst := range []netip.Addr{app.addr, app.addr6} {
		x := w.explain(Question{Interface: web.eni, Dst: dst, Protocol: packet.ProtoICMP, SrcPort: 7})
		if x.Forward.Reason != ReasonNone || x.Return == nil || x.Return.Reason != ReasonNone || x.Return.Steps[0].Reason != ReasonReply {
			t.Errorf("to %v: %+v, back %+v", dst, x.Forward, x.Return)
		}
	}
}

// TestExplainGroups: a step names the groups asked, and those that the other end is in.
func TestExplainGroups(t *testing.T) {
	w, web, app := pair(t, "tcp 8080 from web")
	x := w.explain(Question{Interface: web.eni, Dst: app.addr, Protocol: 6, DstPort: 1})
	s := x.Forward.Steps[len(x.Forward.Steps)-1]
	if !slices.Equal(s.Groups, []string{w.names["app"]}) || !slices.Equal(s.Remote, []string{w.names["web"]}) || s.Differs != sg.PortDiffers {
		t.Errorf("%+v", s)
	}
	if s.VPC != w.vpcID || s.Subnet != w.names["b"] {
		t.Errorf("step is in %s, %s", s.VPC, s.Subnet)
	}
	if r := x.Forward.Steps[1]; r.RouteTable == "" || r.Subnet != w.names["a"] {
		t.Errorf("route step %+v", r)
	}
}

func TestExplainDetached(t *testing.T) {
	w, web, app := pair(t, "tcp 8080 from web")
	if err := w.sw.Detach(app.eni); err != nil {
		t.Fatal(err)
	}
	delete(w.ports, "app-1")
	x := w.explain(Question{Interface: web.eni, Dst: app.addr, Protocol: 6, DstPort: 8080})
	last := x.Forward.Steps[len(x.Forward.Steps)-1]
	if x.Forward.Reason != ReasonDetached || last.Stage != StageDeliver || last.Interface != app.eni || last.Code() != "BAD_STATE_ATTACHMENT" || x.Return != nil {
		t.Errorf("%+v", x.Forward)
	}
}

func TestExplainErrors(t *testing.T) {
	w, web, app := pair(t)
	only4 := w.interfaceOf("only4-1", vpc.InterfaceSpec{SubnetID: w.names["a"]})
	for want, q := range map[string]Question{
		"network interface eni-0 is not in revision":                   {Interface: "eni-0", Dst: app.addr},
		"has no address of the family of 2001:db8:0:2::10":             {Interface: only4.eni, Dst: app.addr6},
		"has no address of the family of " + app.addr6.Next().String(): {Interface: web.eni, Src: web.addr, Dst: app.addr6.Next()},
		"no destination": {Interface: web.eni},
	} {
		if _, err := w.sw.Explain(q); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", q, err, want)
		}
	}
}

// condition is all that an explanation must leave as it is.
type condition struct {
	Totals    Counters
	Ports     []PortStatus
	Table     any
	Halves    []HalfState
	Records   []flowlogs.Record
	Skipped   flowlogs.Stats
	Hits      map[uint32]Hits
	Fragments int
	Written   int
}

func (w *world) condition() condition {
	c := condition{Totals: w.sw.Totals(), Ports: w.sw.Ports(), Table: w.sw.TableStats(), Records: w.records(), Skipped: w.acc.Stats(),
		Hits: maps.Clone(w.sw.hits.by), Fragments: len(w.sw.fragments.via)}
	w.sw.Halves(func(h HalfState) bool { c.Halves = append(c.Halves, h); return true })
	for _, p := range w.ports {
		c.Written += len(p.out)
	}
	return c
}

// TestExplainIsTraffic holds explanations against what frames meet, in random VPCs: the same verdict there and
// back, for the same reason, at the same interface, with the same records; and an explanation changes nothing.
func TestExplainIsTraffic(t *testing.T) {
	seen := map[Reason]int{}
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := randomWorld(t, r)
		for i := range 150 {
			q := w.randomQuestion(r, uint16(2000+i))
			before := w.condition()
			x := w.explain(q)
			if after := w.condition(); !reflect.DeepEqual(before, after) {
				t.Fatalf("an explanation changed\n%+v\nto\n%+v", before, after)
			}
			seen[x.Forward.Reason]++
			w.compare(q, x)
		}
	}
	for _, r := range []Reason{ReasonNone, ReasonNoRule, ReasonRouter, ReasonSpoofedIP, ReasonNoRoute, ReasonNoDestination, ReasonDetached, ReasonMulticast, ReasonLinkLocal, ReasonRouterAddress} {
		if seen[r] == 0 {
			t.Errorf("no packet ended as %v: %v", r, seen)
		}
	}
}

var randomRules = []string{
	"tcp 80 from g0", "tcp 80-90 from anywhere", "udp 53 from 10.0.1.0/24", "udp 53 from anywhere", "ping from anywhere", "ping from g1",
	"47 from anywhere", "all from g2", "all from anywhere-v6", "tcp 443 from 2001:db8::/56", "icmpv6 from g0", "all from 10.0.2.0/25", "all from anywhere",
	"tcp 80 to g1", "udp 53 to anywhere", "all to g2", "tcp 443 to anywhere-v6", "all icmp to 10.0.0.0/16",
}

// randomWorld has four groups of random rules and eight interfaces, some of them unplugged, some that forward.
func randomWorld(t *testing.T, r *rand.Rand) *world {
	w := newWorld(t)
	groups := []string{"g0", "g1", "g2", "g3"}
	for _, g := range groups {
		w.group(g)
	}
	for _, g := range groups {
		if r.IntN(2) == 0 {
			w.revoke(g, "all to anywhere")
			w.revoke(g, "all to anywhere-v6")
		}
		for _, i := range r.Perm(len(randomRules))[:r.IntN(6)] {
			w.authorize(g, randomRules[i])
		}
	}
	for i := range 8 {
		subnet, name := []string{"a", "b"}[i%2], fmt.Sprintf("i-%d", i)
		w.instance(name, subnet, fmt.Sprintf("10.0.%d.%d", 1+i%2, 10+i*20), groups[r.IntN(4)], groups[r.IntN(4)])
		if r.IntN(4) == 0 {
			w.sourceDestCheck(name, false)
		}
		if i > 4 && r.IntN(2) == 0 {
			if err := w.sw.Detach(w.names[name]); err != nil {
				t.Fatal(err)
			}
			delete(w.ports, name)
		}
	}
	return w
}

func (w *world) randomQuestion(r *rand.Rand, port uint16) Question {
	ports := slices.Sorted(maps.Keys(w.ports))
	from := w.ports[ports[r.IntN(len(ports))]]
	var dst []netip.Addr
	for _, e := range w.store.View().NetworkInterfaces(w.vpcID) {
		dst = append(dst, e.Addresses[0], e.Addresses[0], e.Addresses6[0])
	}
	for _, a := range []string{"10.0.1.1", "10.0.2.1", "2001:db8:0:1::1", "fe80:ec2::1", "10.0.1.99", "2001:db8:0:2::99", "192.0.2.1", "2001:db8:9::1", "224.0.0.1", "ff02::1", "169.254.169.254"} {
		dst = append(dst, addr(a))
	}
	q := Question{
		Interface: from.eni, Dst: dst[r.IntN(len(dst))], Protocol: []uint8{1, 6, 17, 47}[r.IntN(4)],
		SrcPort: port, DstPort: []uint16{53, 80, 81, 443, 0}[r.IntN(5)],
	}
	if r.IntN(8) == 0 {
		q.Src = from.addrLike(q.Dst.String()).Next()
	}
	return q
}

// compare sends the packet that was explained, and then its answer.
func (w *world) compare(q Question, x *Explanation) {
	w.t.Helper()
	from := w.sw.snap.Load().byID[q.Interface]
	if err := q.complete(from); err != nil {
		w.t.Fatal(err)
	}
	for _, e := range w.sw.snap.Load().byID {
		w.sw.table.RemoveENI(e.num) // an explained packet opens a new connection
	}
	w.meets(&x.Forward, from, q.frame(from))
	if x.Return != nil {
		w.meets(x.Return, x.Forward.delivered, q.answer(x.Tuple, x.Forward.delivered))
	}
}

// meets fails unless the frame ends as the trace says.
func (w *world) meets(x *Trace, from *eni, frame []byte) {
	w.t.Helper()
	known := w.tallied()
	got := w.during(func() { w.portOf(from).send(frame) })
	tuple := parsed(frame).Tuple()
	var to *stubPort
	for _, p := range w.ports {
		if n := len(p.take()); n == 1 && !x.Reason.Answered() {
			to = p
		}
	}
	if x.Reason == ReasonNone {
		if to == nil || to.eni != x.delivered.id || len(got) != 0 {
			w.t.Errorf("%v: delivered to %v, counted %v; explained as delivered to %s", tuple, to, got, x.delivered.id)
		}
	} else if got[x.Reason.String()] != 1 || to != nil {
		w.t.Errorf("%v counts as %v, explained as %v", tuple, got, x.Reason)
	}
	want := map[TraceRecord]uint64{}
	for _, r := range x.Records {
		want[r]++
	}
	recorded := w.tallied()
	for r, n := range known {
		if recorded[r] -= n; recorded[r] == 0 {
			delete(recorded, r)
		}
	}
	if !maps.Equal(recorded, want) {
		w.t.Errorf("%v: recorded %v, explained as %v", tuple, recorded, want)
	}
}

// tallied counts recorded packets by interface, direction and action.
func (w *world) tallied() map[TraceRecord]uint64 {
	out := map[TraceRecord]uint64{}
	for _, r := range w.records() {
		out[TraceRecord{r.Interface.ID, r.Direction, r.Action}] += r.Packets
	}
	return out
}

func (w *world) portOf(e *eni) *stubPort {
	for _, p := range w.ports {
		if p.eni == e.id {
			return p
		}
	}
	w.t.Fatalf("%s has no port", e.id)
	return nil
}
