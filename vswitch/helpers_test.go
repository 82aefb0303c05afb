package vswitch

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

// open is the rules of a group that lets everything in.
var open = []string{"all from anywhere", "all from anywhere-v6"}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// during says by how much the counters of drops, answers and rejects change while fn runs.
func (w *world) during(fn func()) map[string]uint64 {
	before := w.sw.Totals().Reasons
	fn()
	after := w.sw.Totals().Reasons
	for name, n := range before {
		if after[name] -= n; after[name] == 0 {
			delete(after, name)
		}
	}
	return after
}

// expect sends frames as one batch each, and fails unless each is counted once, for the reason alone, and
// reaches nobody.
func (p *stubPort) expect(r Reason, frames ...[]byte) {
	p.w.t.Helper()
	for i, f := range frames {
		got := p.w.during(func() { p.send(f) })
		if len(got) != 1 || got[r.String()] != 1 {
			p.w.t.Errorf("frame %d of %d bytes counts as %v, want one %s", i, len(f), got, r)
		}
		if !r.Answered() {
			p.w.silent()
		}
	}
}

// silent fails if anything was written to any port.
func (w *world) silent() {
	w.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(w.ports)) {
		if out := w.ports[name].take(); len(out) != 0 {
			w.t.Errorf("%s got %d frames, want none", name, len(out))
		}
	}
}

// untouched fails if any flow is kept or recorded.
func (w *world) untouched() {
	w.t.Helper()
	if s := w.sw.TableStats(); s.Halves != 0 {
		w.t.Errorf("%d halves, want none", s.Halves)
	}
	if rs := w.records(); len(rs) != 0 {
		w.t.Errorf("%d records, want none", len(rs))
	}
}

// balanced fails unless every wire packet that came in was dropped or rejected under some name, or written
// to a port; an answered one is written back.
func (w *world) balanced() {
	w.t.Helper()
	c := w.sw.Totals()
	out := c.SentPackets
	for r := Reason(0); r < numReasons; r++ {
		if !r.Answered() {
			out += c.Reasons[r.String()]
		}
	}
	if c.Packets != out {
		w.t.Fatalf("%d packets came in, %d went out or were counted: %+v", c.Packets, out, c)
	}
}

// half is what an interface knows of the flow that a frame of p's belongs to.
func (p *stubPort) half(frame []byte, d vpc.Direction) (HalfState, bool) {
	var h packet.Headers
	h.Parse(frame)
	return p.w.sw.Half(p.eni, h.Tuple(), d)
}

// seg is a TCP segment from p with sequence numbers and payload.
func (p *stubPort) seg(to *stubPort, sport, dport uint16, flags uint8, seq, ack uint32, payload int) []byte {
	return packettest.TCP{
		SrcMAC: p.mac, DstMAC: p.hop(to.addr), Src: netip.AddrPortFrom(p.addr, sport), Dst: netip.AddrPortFrom(to.addr, dport),
		Flags: flags, Seq: seq, Ack: ack, Payload: make([]byte, payload),
	}.Bytes()
}

func (p *stubPort) tcp6(to *stubPort, sport, dport uint16, flags uint8) []byte {
	return packettest.TCP{
		SrcMAC: p.mac, DstMAC: p.hop(to.addr6), Src: netip.AddrPortFrom(p.addr6, sport), Dst: netip.AddrPortFrom(to.addr6, dport), Flags: flags,
	}.Bytes()
}

func (p *stubPort) ping6(to *stubPort, id, seq uint16) []byte {
	m := packettest.Ping(p.addr6, to.addr6, id, seq)
	m.SrcMAC, m.DstMAC = p.mac, p.hop(to.addr6)
	return m.Bytes()
}

func (p *stubPort) pong6(to *stubPort, id, seq uint16) []byte {
	m := packettest.Pong(packettest.Ping(to.addr6, p.addr6, id, seq))
	m.SrcMAC, m.DstMAC = p.mac, p.hop(to.addr6)
	return m.Bytes()
}

// other is a packet of a protocol without ports.
func (p *stubPort) other(to *stubPort, proto uint8, payload int) []byte {
	return packettest.Other{SrcMAC: p.mac, DstMAC: p.hop(to.addr), Src: p.addr, Dst: to.addr, Proto: proto, Payload: make([]byte, payload)}.Bytes()
}

// passes sends a frame of p's and fails unless it alone reaches to.
func (p *stubPort) passes(to *stubPort, frame []byte) {
	p.w.t.Helper()
	p.send(frame)
	to.delivered(1)
	p.w.silent()
}

// rejected sends a frame of p's and fails unless it is rejected for the reason.
func (p *stubPort) rejected(r Reason, frame []byte) {
	p.w.t.Helper()
	p.expect(r, frame)
}

// modify changes an interface.
func (w *world) modify(name string, fn func(*vpc.ModifyNetworkInterfaceInput)) {
	w.t.Helper()
	in := vpc.ModifyNetworkInterfaceInput{ID: w.names[name]}
	fn(&in)
	w.update(func(tx *vpc.Tx) error {
		_, err := tx.ModifyNetworkInterface(in)
		return err
	})
}

// sourceDestCheck sets that of an interface.
func (w *world) sourceDestCheck(name string, on bool) {
	w.t.Helper()
	w.modify(name, func(in *vpc.ModifyNetworkInterfaceInput) { in.SourceDestCheck = &on })
}

// groups replaces the groups of an interface.
func (w *world) groups(name string, groups ...string) {
	w.t.Helper()
	w.modify(name, func(in *vpc.ModifyNetworkInterfaceInput) {
		for _, g := range groups {
			in.Groups = append(in.Groups, w.names[g])
		}
	})
}

// remove deletes an interface, and unplugs its port.
func (w *world) remove(name string) {
	w.t.Helper()
	if err := w.sw.Detach(w.names[name]); err != nil {
		w.t.Fatal(err)
	}
	w.update(func(tx *vpc.Tx) error { return tx.DeleteNetworkInterface(w.names[name]) })
	delete(w.ports, name)
}

// log lists the open window as "INTERFACE DIRECTION ACTION PROTO SPORT DPORT PACKETS BYTES", sorted.
func (w *world) log() []string {
	names := map[string]string{}
	for n, id := range w.names {
		names[id] = n
	}
	var out []string
	for _, r := range w.records() {
		out = append(out, fmt.Sprintf("%s %s %s %d %d %d %d %d", names[r.Interface.ID], r.Direction, r.Action,
			r.Tuple.Proto, r.Tuple.SrcPort, r.Tuple.DstPort, r.Packets, r.Bytes))
	}
	slices.Sort(out)
	return out
}

// wantLog fails unless the open window holds exactly these.
func (w *world) wantLog(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.log(); !slices.Equal(got, want) {
		w.t.Errorf("records:\n got %q\nwant %q", got, want)
	}
}

// total sums records of one interface, direction and action.
func total(rs []flowlogs.Record, eni string, d vpc.Direction, a flowlogs.Action) (packets, bytes uint64) {
	for _, r := range rs {
		if r.Interface.ID == eni && r.Direction == d && r.Action == a {
			packets += r.Packets
			bytes += r.Bytes
		}
	}
	return packets, bytes
}

// pair is a world with two interfaces in different subnets: web-1 in group web, app-1 in group app.
func pair(t testing.TB, appRules ...string) (w *world, web, app *stubPort) {
	w = newWorld(t)
	w.group("web")
	w.group("app", appRules...)
	return w, w.instance("web-1", "a", "10.0.1.10", "web"), w.instance("app-1", "b", "10.0.2.10", "app")
}

// end is p's address of a family with a port.
func (p *stubPort) end(v6 bool, port uint16) netip.AddrPort {
	if v6 {
		return netip.AddrPortFrom(p.addr6, port)
	}
	return netip.AddrPortFrom(p.addr, port)
}
