package vswitch

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vpc"
)

// datagram is a UDP datagram of p's to port 53, cut in three.
func (p *stubPort) datagram(to *stubPort, id uint16) [][]byte {
	return packettest.Fragments(packettest.UDP{
		SrcMAC: p.mac, DstMAC: p.hop(to.addr), Src: netip.AddrPortFrom(p.addr, 5000), Dst: netip.AddrPortFrom(to.addr, 53),
		IP: packettest.IP{ID: id}, Payload: make([]byte, 3000),
	}.Bytes(), 1200, uint32(id))
}

func (p *stubPort) datagram6(to *stubPort, id uint32) [][]byte {
	return packettest.Fragments(p.udp6(to, 5000, 53, string(make([]byte, 3000))), 1200, id)
}

// TestFragmentsFollowTheFirst in any order of the later ones, and are counted with it.
func TestFragmentsFollowTheFirst(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	for _, f := range [][][]byte{web.datagram(app, 1), web.datagram6(app, 1)} {
		web.send(f[0])
		web.send(f[2], f[1])
		got := app.take()
		if len(got) != 3 {
			t.Fatalf("%d of 3 fragments arrived", len(got))
		}
		for i, want := range [][]byte{f[0], f[2], f[1]} {
			var h packet.Headers
			h.Parse(got[i])
			if string(got[i][14:]) != string(want[14:]) || h.DstMAC != app.mac || h.SrcMAC != RouterMAC {
				t.Errorf("fragment %d was changed, or goes to %v", i, h.DstMAC)
			}
		}
	}
	web.send(web.datagram(app, 2)...) // all in one batch
	if n := len(app.take()); n != 3 {
		t.Errorf("%d of 3 fragments of a batch arrived", n)
	}
	if n := w.sw.TableStats().Halves; n != 4 {
		t.Errorf("%d halves, want 4: two of each family's flow", n)
	}
	w.wantLog(
		"web-1 egress ACCEPT 17 5000 53 6 6136", "app-1 ingress ACCEPT 17 5000 53 6 6136", // 2 x (3008 + 3 x 20)
		"web-1 egress ACCEPT 17 5000 53 3 3152", "app-1 ingress ACCEPT 17 5000 53 3 3152") // 3008 + 3 x 48
	w.balanced()
}

// TestFragmentsWithoutFirst are dropped, as are those of a datagram that differs in anything.
func TestFragmentsWithoutFirst(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	other := w.instance("web-2", "a", "10.0.1.11", "web")
	web.expect(ReasonFragment, web.datagram(app, 1)[1:]...)
	web.expect(ReasonFragment, web.datagram6(app, 1)[1:]...)
	web.passes2(app, web.datagram(app, 2)[0])
	web.expect(ReasonFragment, web.datagram(app, 3)[1:]...)
	other.expect(ReasonFragment, other.datagram(app, 2)[1:]...)
	web.expect(ReasonFragment, web.datagram(other, 2)[1:]...)
	web.expect(ReasonFragment, web.datagram6(app, 2)[1:]...)
	protocol := web.datagram(app, 2)[1]
	protocol[14+9] = 47
	fixHeader(protocol)
	web.expect(ReasonFragment, protocol)
	elsewhere := web.datagram(app, 2)[1]
	packet.SetMACs(elsewhere, other.mac, web.mac)
	web.expect(ReasonSourceDestCheck, elsewhere) // by another next hop than the first
	packet.SetMACs(elsewhere, packet.MAC{2, 9}, web.mac)
	web.expect(ReasonUnknownMAC, elsewhere)
	web.passes2(app, web.datagram(app, 2)[1])
	w.wantLog("web-1 egress ACCEPT 17 5000 53 2 2440", "app-1 ingress ACCEPT 17 5000 53 2 2440")
	w.balanced()
}

// passes2 is passes for fragments, whose checksums say nothing.
func (p *stubPort) passes2(to *stubPort, frame []byte) {
	p.w.t.Helper()
	p.send(frame)
	if out := to.take(); len(out) != 1 {
		p.w.t.Fatalf("%s got %d frames, want 1; counters %v", to.name, len(out), p.w.sw.Totals().Reasons)
	}
	p.w.silent()
}

// fixHeader recomputes an IPv4 header's checksum.
func fixHeader(f []byte) {
	f[24], f[25] = 0, 0
	c := packet.Checksum(f[14:34], 0)
	f[24], f[25] = byte(c>>8), byte(c)
}

// TestFragmentsOfRejected: the first is rejected and recorded, later ones are dropped and are not.
func TestFragmentsOfRejected(t *testing.T) {
	w, web, app := pair(t)
	f := web.datagram(app, 1)
	web.rejected(ReasonNoRule, f[0])
	web.expect(ReasonFragment, f[1:]...)
	w.wantLog("web-1 egress ACCEPT 17 5000 53 1 1220", "app-1 ingress REJECT 17 5000 53 1 1220")
	w.authorize("app", "udp 53 from web")
	web.expect(ReasonFragment, f[1])
	web.passes2(app, f[0])
	web.passes2(app, f[1])
	w.balanced()
}

func TestFragmentsExpire(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	f := web.datagram(app, 1)
	web.passes2(app, f[0])
	w.clock.Advance(fragmentTimeout - time.Second)
	web.passes2(app, f[1])
	w.clock.Advance(time.Second)
	web.expect(ReasonFragment, f[2])
	web.passes2(app, web.datagram(app, 2)[0]) // makes the table forget
	if n := len(w.sw.fragments.via); n != 1 {
		t.Errorf("%d datagrams are remembered, want the last", n)
	}
}

// TestFragmentTableIsBounded: what finds no room is dropped, what is in it goes on, and room comes back.
func TestFragmentTableIsBounded(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	const extra = 100
	for i := range maxFragments + extra {
		f := packettest.Fragments(packettest.UDP{
			SrcMAC: web.mac, DstMAC: RouterMAC, Src: netip.AddrPortFrom(web.addr, uint16(i)), Dst: netip.AddrPortFrom(app.addr, 53),
			IP: packettest.IP{ID: uint16(i)}, Payload: make([]byte, 100),
		}.Bytes(), 56, 0)
		web.send(f[0])
		app.take()
		if n := len(w.sw.fragments.via); n > maxFragments {
			t.Fatalf("%d datagrams remembered", n)
		}
	}
	later := func(id uint16) []byte {
		f := web.datagram(app, id)[1]
		return f
	}
	web.passes2(app, later(maxFragments-1))
	web.expect(ReasonFragment, later(maxFragments+1))
	w.clock.Advance(fragmentTimeout)
	web.passes2(app, web.datagram(app, 60000)[0])
	web.passes2(app, later(60000))
	if n := len(w.sw.fragments.via); n != 1 {
		t.Errorf("%d datagrams remembered after all but one ran out", n)
	}
	w.balanced()
}

// TestFragmentsAndRules: what is left of a datagram is cut with its rule, unless its flow is tracked.
func TestFragmentsAndRules(t *testing.T) {
	for _, test := range []struct {
		name, rule, reevaluate string
		follows                bool
	}{
		{"tracked", "udp 53 from web", "", true},
		{"untracked", "udp 53 from anywhere", "", false},
		{"reevaluated", "udp 53 from web", "reevaluate", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, web, app := pair(t, test.rule)
			w.tag(test.reevaluate)
			f := web.datagram(app, 1)
			web.passes2(app, f[0])
			w.authorize("app", "tcp 9 from web") // another rule of the same group
			w.revoke("app", test.rule)
			if test.follows {
				web.passes2(app, f[1])
			} else {
				web.expect(ReasonFragment, f[1])
			}
			w.balanced()
		})
	}
}

// tag sets the VPC's tag of what tracked connections do on a change of rules.
func (w *world) tag(value string) {
	w.t.Helper()
	in := vpc.SetTagsInput{ResourceID: w.vpcID, Remove: []string{TagOnRuleChange}}
	if value != "" {
		in = vpc.SetTagsInput{ResourceID: w.vpcID, Set: map[string]string{TagOnRuleChange: value}}
	}
	w.update(func(tx *vpc.Tx) error { return tx.SetTags(in) })
}

// TestFragmentsAndInterfaces: the rest of a datagram does not reach an interface that the first would not.
func TestFragmentsAndInterfaces(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	f := web.datagram(app, 1)
	web.passes2(app, f[0])
	w.remove("app-1")
	web.expect(ReasonNoDestination, f[1])
	app = w.instance("app-2", "b", "10.0.2.10", "app") // the same address on another interface
	web.expect(ReasonFragment, f[1])
	web.passes2(app, f[0])
	web.passes2(app, f[1])
	if err := w.sw.Detach(app.eni); err != nil {
		t.Fatal(err)
	}
	web.expect(ReasonDetached, f[2])
	w.balanced()
}

// TestFragmentsOutliveTheHalf: if the flow's halves were given up meanwhile the rest is still recorded.
func TestFragmentsOutliveTheHalf(t *testing.T) {
	w, web, app := pair(t, "udp 53 from web")
	f := web.datagram(app, 1)
	web.passes2(app, f[0])
	w.sw.table.RemoveENI(w.sw.snap.Load().byID[app.eni].num)
	web.passes2(app, f[1])
	w.wantLog("web-1 egress ACCEPT 17 5000 53 2 2440", "app-1 ingress ACCEPT 17 5000 53 2 2440")
	w.balanced()
}
