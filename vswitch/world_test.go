package vswitch

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

// world is a VPC on a manual clock with ports that a test feeds by hand: a frame sent is through the
// pipeline when send returns.
type world struct {
	t     testing.TB
	clock *ManualClock
	store *vpc.MemoryStore
	acc   *flowlogs.Aggregator
	sw    *Switch
	vpcID string
	names map[string]string // of subnets, groups and interfaces to ids
	ports map[string]*stubPort
}

var testStart = time.Unix(1_700_000_040, 0) // the beginning of a window

// newWorld makes a VPC 10.0.0.0/16 and 2001:db8::/56 with subnets a (10.0.1.0/24) and b (10.0.2.0/24).
func newWorld(t testing.TB) *world {
	w := &world{t: t, clock: NewManualClock(testStart), names: map[string]string{}, ports: map[string]*stubPort{}}
	w.store = vpc.NewMemoryStore(vpc.Config{Seed: 1, Now: func() time.Time { return time.Unix(0, w.clock.Wall()) }})
	w.acc = flowlogs.NewAggregator(flowlogs.Config{Start: testStart.UnixNano()})
	sw, err := New(Config{Clock: w.clock, Records: w.acc})
	if err != nil {
		t.Fatal(err)
	}
	w.sw = sw
	t.Cleanup(func() { sw.Close() })
	w.update(func(tx *vpc.Tx) error {
		v, err := tx.CreateVpc(vpc.CreateVpcInput{CIDR: netip.MustParsePrefix("10.0.0.0/16"), CIDR6: netip.MustParsePrefix("2001:db8::/56")})
		if err != nil {
			return err
		}
		w.vpcID = v.ID
		for name, n := range map[string]string{"a": "1", "b": "2"} {
			s, err := tx.CreateSubnet(vpc.CreateSubnetInput{
				VPCID: v.ID, CIDR: netip.MustParsePrefix("10.0." + n + ".0/24"), CIDR6: netip.MustParsePrefix("2001:db8:0:" + n + "::/64"),
			})
			if err != nil {
				return err
			}
			w.names[name] = s.ID
		}
		w.names["default"] = v.DefaultSecurityGroup
		return nil
	})
	return w
}

// update changes the model and applies it.
func (w *world) update(fn func(*vpc.Tx) error) {
	w.t.Helper()
	if _, err := w.store.Update(context.Background(), fn); err != nil {
		w.t.Fatal(err)
	}
	w.sw.Apply(w.store.View())
}

// group makes a security group whose egress is AWS's default, all, unless rules say otherwise.
func (w *world) group(name string, rules ...string) {
	w.t.Helper()
	w.update(func(tx *vpc.Tx) error {
		g, err := tx.CreateSecurityGroup(vpc.CreateSecurityGroupInput{GroupName: name, Description: name, VPCID: w.vpcID})
		if err == nil {
			w.names[name] = g.ID
		}
		return err
	})
	for _, r := range rules {
		w.authorize(name, r)
	}
}

func (w *world) parse(rule string) (vpc.Direction, []vpc.Permission) {
	w.t.Helper()
	d := vpc.Ingress
	if strings.Contains(rule, " to ") {
		d = vpc.Egress
	}
	ps, err := vpc.ParseRule(rule, d, func(n string) (string, bool) { id, ok := w.names[n]; return id, ok })
	if err != nil {
		w.t.Fatal(err)
	}
	return d, ps
}

func (w *world) authorize(group, rule string) {
	w.t.Helper()
	d, ps := w.parse(rule)
	in := vpc.AuthorizeSecurityGroupInput{GroupID: w.names[group]}
	for _, p := range ps {
		in.Rules = append(in.Rules, vpc.RuleSpec{Permission: p, Words: rule})
	}
	w.update(func(tx *vpc.Tx) (err error) {
		if d == vpc.Egress {
			_, err = tx.AuthorizeSecurityGroupEgress(in)
		} else {
			_, err = tx.AuthorizeSecurityGroupIngress(in)
		}
		return err
	})
}

func (w *world) revoke(group, rule string) {
	w.t.Helper()
	d, ps := w.parse(rule)
	in := vpc.RevokeSecurityGroupInput{GroupID: w.names[group], Permissions: ps}
	w.update(func(tx *vpc.Tx) (err error) {
		if d == vpc.Egress {
			_, err = tx.RevokeSecurityGroupEgress(in)
		} else {
			_, err = tx.RevokeSecurityGroupIngress(in)
		}
		return err
	})
}

// instance makes an interface and plugs a port in. addr is IPv4; the IPv6 address ends in the same number.
func (w *world) instance(name, subnet, addr string, groups ...string) *stubPort {
	w.t.Helper()
	a := netip.MustParseAddr(addr)
	b := netip.MustParseAddr("2001:db8:0:" + map[string]string{"a": "1", "b": "2"}[subnet] + "::" + addr[strings.LastIndex(addr, ".")+1:])
	spec := vpc.InterfaceSpec{SubnetID: w.names[subnet], Addresses: []netip.Addr{a}, Addresses6: []netip.Addr{b}}
	for _, g := range groups {
		spec.Groups = append(spec.Groups, w.names[g])
	}
	var ni *vpc.NetworkInterface
	w.update(func(tx *vpc.Tx) (err error) {
		ni, err = tx.CreateNetworkInterface(vpc.CreateNetworkInterfaceInput{InterfaceSpec: spec})
		return err
	})
	w.names[name] = ni.ID
	return w.plug(name, ni)
}

func (w *world) plug(name string, ni *vpc.NetworkInterface) *stubPort {
	w.t.Helper()
	p := &stubPort{w: w, name: name, mtu: 9001, closed: make(chan struct{}), eni: ni.ID}
	p.mac, _ = packet.ParseMAC(ni.MAC)
	if len(ni.Addresses) > 0 {
		p.addr = ni.Addresses[0]
	}
	if len(ni.Addresses6) > 0 {
		p.addr6 = ni.Addresses6[0]
	}
	if err := w.sw.Attach(ni.ID, p); err != nil {
		w.t.Fatal(err)
	}
	p.link = w.sw.links[ni.ID]
	w.ports[name] = p
	return p
}

// stubPort keeps what the switch writes.
type stubPort struct {
	w           *world
	name, eni   string
	mac         packet.MAC
	addr, addr6 netip.Addr
	mtu         int
	offload     Offload
	link        *link
	batch       Batch
	full        bool
	discard     bool // takes everything and keeps nothing

	mu     sync.Mutex
	out    [][]byte
	gso    []packet.GSO
	once   sync.Once
	closed chan struct{}
}

func (p *stubPort) Name() string     { return p.name }
func (p *stubPort) MTU() int         { return p.mtu }
func (p *stubPort) Offload() Offload { return p.offload }
func (p *stubPort) Queues() int      { return 1 }
func (p *stubPort) Read(int, *Batch) error {
	<-p.closed
	return net.ErrClosed
}

func (p *stubPort) Write(_ int, frames []*Frame) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return 0
	}
	if p.discard {
		return len(frames)
	}
	for _, f := range frames {
		p.out = append(p.out, bytes.Join(append([][]byte{f.Buf}, f.Tail...), nil))
		p.gso = append(p.gso, f.GSO)
	}
	return len(frames)
}

func (p *stubPort) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// send runs frames through the pipeline as one batch.
func (p *stubPort) send(frames ...[]byte) {
	p.batch.Reset()
	for _, f := range frames {
		p.batch.Commit(copy(p.batch.Next(), f), packet.GSO{})
	}
	p.link.workers[0].run(&p.batch)
}

// sendGSO runs one super-frame through the pipeline.
func (p *stubPort) sendGSO(frame []byte, g packet.GSO) {
	p.batch.Reset()
	p.batch.Commit(copy(p.batch.Next(), frame), g)
	p.link.workers[0].run(&p.batch)
}

// take returns what was written to the port since the last call.
func (p *stubPort) take() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.out
	p.out, p.gso = nil, nil
	return out
}

// reason is the counter's change since the last call of count.
func (p *stubPort) reason(r Reason) uint64 { return p.link.counts.reasons[r].Load() }

// hop is the MAC that p's own address resolution gives for a destination.
func (p *stubPort) hop(dst netip.Addr) packet.MAC {
	return p.w.sw.snap.Load().byID[p.eni].nextHopMAC(packet.AddrFrom(dst))
}

// tcp is a segment from p.
func (p *stubPort) tcp(to *stubPort, sport, dport uint16, flags uint8) []byte {
	return packettest.TCP{
		SrcMAC: p.mac, DstMAC: p.hop(to.addr), Src: netip.AddrPortFrom(p.addr, sport), Dst: netip.AddrPortFrom(to.addr, dport), Flags: flags,
	}.Bytes()
}

func (p *stubPort) udp(to *stubPort, sport, dport uint16, payload string) []byte {
	return packettest.UDP{
		SrcMAC: p.mac, DstMAC: p.hop(to.addr), Src: netip.AddrPortFrom(p.addr, sport), Dst: netip.AddrPortFrom(to.addr, dport), Payload: []byte(payload),
	}.Bytes()
}

func (p *stubPort) udp6(to *stubPort, sport, dport uint16, payload string) []byte {
	return packettest.UDP{
		SrcMAC: p.mac, DstMAC: p.hop(to.addr6), Src: netip.AddrPortFrom(p.addr6, sport), Dst: netip.AddrPortFrom(to.addr6, dport), Payload: []byte(payload),
	}.Bytes()
}

func (p *stubPort) ping(to *stubPort, id, seq uint16) []byte {
	m := packettest.Ping(p.addr, to.addr, id, seq)
	m.SrcMAC, m.DstMAC = p.mac, p.hop(to.addr)
	return m.Bytes()
}

func (p *stubPort) pong(to *stubPort, id, seq uint16) []byte {
	m := packettest.Ping(p.addr, to.addr, id, seq)
	m.Type, m.SrcMAC, m.DstMAC = packet.ICMPEchoReply, p.mac, p.hop(to.addr)
	return m.Bytes()
}

// records drains the table and lists the open window as "NAME DIRECTION ACTION proto sport dport packets bytes flags".
func (w *world) records() []flowlogs.Record {
	w.sw.DrainRecords()
	return w.acc.Open(flowlogs.Filter{})
}

// delivered fails unless exactly n frames reached p, and returns them.
func (p *stubPort) delivered(n int) [][]byte {
	p.w.t.Helper()
	out := p.take()
	if len(out) != n {
		p.w.t.Fatalf("%s got %d frames, want %d; counters %v", p.name, len(out), n, p.w.sw.Totals().Reasons)
	}
	for i, f := range out {
		if err := packettest.Check(f); err != nil {
			p.w.t.Errorf("%s: frame %d: %v", p.name, i, err)
		}
	}
	return out
}
