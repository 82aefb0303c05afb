package vswitch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

var everything = Offload{Csum: true, TSO4: true, TSO6: true, USO: true, ECN: true}

// TestMACs: a routed frame comes from the router's MAC, one to a neighbour from its sender's; nothing else changes.
func TestMACs(t *testing.T) {
	_, a, n, b := guarded(t)
	for name, test := range map[string]struct {
		frame []byte
		to    *stubPort
		src   packet.MAC
	}{
		"routed":     {a.udp(b, 1, 2, "x"), b, RouterMAC},
		"routed6":    {a.tcp6(b, 1, 2, syn), b, RouterMAC},
		"neighbour":  {a.udp(n, 1, 2, "x"), n, a.mac},
		"neighbour6": {a.tcp6(n, 1, 2, syn), n, a.mac},
		"neighbour through the router": {func() []byte {
			f := a.udp(n, 3, 4, "x")
			packet.SetMACs(f, RouterMAC, a.mac)
			return f
		}(), n, RouterMAC},
	} {
		for range 2 { // a miss, and a hit
			a.send(test.frame)
			got := test.to.delivered(1)[0]
			if packet.MAC(got[:6]) != test.to.mac || packet.MAC(got[6:12]) != test.src || !bytes.Equal(got[12:], test.frame[12:]) {
				t.Errorf("%s: %x became %x", name, test.frame[:14], got[:14])
			}
		}
	}
}

// superFrame is one of p's to to, with its metadata.
type superFrame struct {
	name    string
	whole   []byte // complete
	frame   []byte // as handed over
	g       packet.GSO
	offload Offload // the least that takes it whole
	payload int
}

func superFrames(p, to *stubPort, size int) []superFrame {
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(rand.Uint32())
	}
	tcp4, tcp6 := packettest.TCP{}, packettest.TCP{}
	for i, s := range []*packettest.TCP{&tcp4, &tcp6} {
		*s = packettest.TCP{SrcMAC: p.mac, DstMAC: p.hop(to.addr), Flags: packet.ACK | packet.PSH | packet.FIN, Seq: 0xfffffff0, Ack: 9, Options: []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, Payload: payload}
		s.Src, s.Dst = p.end(i == 1, 1000), to.end(i == 1, 80)
	}
	ecn := tcp4
	ecn.Flags |= packet.CWR
	ecn.Src = p.end(false, 1001)
	udp4 := packettest.UDP{SrcMAC: p.mac, DstMAC: p.hop(to.addr), Src: p.end(false, 1000), Dst: to.end(false, 443), Payload: payload}
	udp6 := udp4
	udp6.Src, udp6.Dst = p.end(true, 1000), to.end(true, 443)
	all := []superFrame{
		{name: "tcp4", whole: tcp4.Bytes(), offload: Offload{Csum: true, TSO4: true}},
		{name: "tcp6", whole: tcp6.Bytes(), offload: Offload{Csum: true, TSO6: true}},
		{name: "tcp4 with ECN", whole: ecn.Bytes(), offload: Offload{Csum: true, TSO4: true, ECN: true}},
		{name: "udp4", whole: udp4.Bytes(), offload: Offload{Csum: true, USO: true}},
		{name: "udp6", whole: udp6.Bytes(), offload: Offload{Csum: true, USO: true}},
	}
	for i := range all {
		all[i].frame, all[i].g = packettest.Offload(all[i].whole, 1400)
		all[i].payload = size
	}
	return all
}

func (s superFrame) count() int { return (s.payload + 1399) / 1400 }

// TestSuperFrames pass whole where the port takes them, and split where it lacks anything of what it would need.
func TestSuperFrames(t *testing.T) {
	w, a, _, b := guarded(t)
	for _, s := range superFrames(a, b, 30000) {
		for _, o := range []Offload{{}, {Csum: true}, {TSO4: true, TSO6: true, USO: true}, {Csum: true, TSO4: true}, {Csum: true, TSO6: true}, {Csum: true, USO: true}, everything} {
			t.Run(fmt.Sprintf("%s to %+v", s.name, o), func(t *testing.T) {
				w.t = t
				b.link.offload = o
				before := w.sw.Ports()[2].Counters // b-1
				split := w.sw.Totals().Split
				whole := o.Csum && o.has(s.offload)
				a.sendGSO(s.frame, s.g)
				gso := b.gso
				out := b.take()
				if whole {
					if len(out) != 1 || !bytes.Equal(out[0][12:], s.frame[12:]) || gso[0] != s.g {
						t.Errorf("%d frames with %+v, want the super-frame as it was", len(out), gso)
					}
				} else {
					checkSegments(t, s, out)
					for _, g := range gso {
						if g != (packet.GSO{}) {
							t.Errorf("a segment has metadata %+v", g)
						}
					}
				}
				after := w.sw.Ports()[2].Counters
				_, ip := packet.Segments(parsed(s.frame), s.g)
				if after.SentPackets-before.SentPackets != uint64(s.count()) || after.SentBytes-before.SentBytes != ip {
					t.Errorf("counted %d packets, %d bytes; want %d, %d", after.SentPackets-before.SentPackets, after.SentBytes-before.SentBytes, s.count(), ip)
				}
				if got := w.sw.Totals().Split - split; got != map[bool]uint64{true: 0, false: 1}[whole] {
					t.Errorf("%d super-frames counted as split", got)
				}
				w.balanced()
			})
		}
	}
}

// has tells whether o includes all of least.
func (o Offload) has(least Offload) bool {
	return (o.TSO4 || !least.TSO4) && (o.TSO6 || !least.TSO6) && (o.USO || !least.USO) && (o.ECN || !least.ECN)
}

func parsed(f []byte) *packet.Headers {
	h := new(packet.Headers)
	h.Parse(f)
	return h
}

// checkSegments fails unless the segments are correct and together are the super-frame.
func checkSegments(t *testing.T, s superFrame, out [][]byte) {
	t.Helper()
	if len(out) != s.count() {
		t.Fatalf("%d segments, want %d", len(out), s.count())
	}
	h := parsed(s.whole)
	var data []byte
	for i, f := range out {
		if err := packettest.Check(f); err != nil {
			t.Fatalf("segment %d: %v", i, err)
		}
		g := parsed(f)
		if g.Tuple() != h.Tuple() {
			t.Fatalf("segment %d is of %v", i, g.Tuple())
		}
		if h.Proto == packet.ProtoTCP {
			checkTCPSegment(t, i, len(out), h, g, len(data))
		}
		data = append(data, f[g.Payload:g.End]...)
	}
	if !bytes.Equal(data, s.whole[h.Payload:h.End]) {
		t.Error("the segments' payload is not the super-frame's")
	}
}

func checkTCPSegment(t *testing.T, i, n int, whole, segment *packet.Headers, at int) {
	t.Helper()
	want := whole.TCPFlags
	if i < n-1 {
		want &^= packet.FIN | packet.PSH
	}
	if i > 0 {
		want &^= packet.CWR
	}
	if segment.TCPFlags != want || segment.TCPSeq != whole.TCPSeq+uint32(at) || segment.TCPAck != whole.TCPAck {
		t.Errorf("segment %d: flags %02x seq %d, want %02x %d", i, segment.TCPFlags, segment.TCPSeq, want, whole.TCPSeq+uint32(at))
	}
}

// TestChecksumOffload: an unfinished checksum is passed on to a port that finishes it, else completed.
func TestChecksumOffload(t *testing.T) {
	w, a, _, b := guarded(t)
	for _, whole := range [][]byte{a.tcp(b, 1, 2, syn), a.udp(b, 1, 2, "odd"), a.tcp6(b, 1, 2, syn), a.udp6(b, 1, 2, "odd")} {
		frame, g := packettest.Offload(whole, 0)
		b.link.offload = Offload{}
		a.sendGSO(frame, g)
		if got := b.delivered(1)[0]; !bytes.Equal(got[14:], whole[14:]) { // delivered checks the checksum
			t.Errorf("completed to %x, want %x", got[14:], whole[14:])
		}
		b.link.offload = Offload{Csum: true}
		a.sendGSO(frame, g)
		gso := b.gso
		if got := b.take(); len(got) != 1 || gso[0] != g || !bytes.Equal(got[0][14:], frame[14:]) {
			t.Errorf("a port with offload got %d frames, %+v", len(got), gso)
		}
	}
	w.balanced()
}

// TestSmallerMTU: segments that fit are split for the port; frames and segments that do not are counted there.
func TestSmallerMTU(t *testing.T) {
	w, a, _, b := guarded(t)
	for _, o := range []Offload{{}, everything} {
		b.link.offload = o
		for _, s := range superFrames(a, b, 30000) {
			whole := parsed(s.whole)
			for mtu, fits := range map[int]bool{
				9001: true, 1400 + int(whole.Payload-whole.L3): true, 1400 + int(whole.Payload-whole.L3) - 1: false,
			} {
				b.link.mtu = mtu
				before := b.reason(ReasonOversize)
				a.sendGSO(s.frame, s.g)
				out, lost := b.take(), b.reason(ReasonOversize)-before
				if fits && lost != 0 || !fits && lost != uint64(s.count()-1) { // the last segment is a short one
					t.Errorf("%s, offload %v, MTU %d: %d frames, %d lost", s.name, o.Csum, mtu, len(out), lost)
				}
				for _, f := range out {
					if g := parsed(f); int(g.End-g.L3) > mtu && !o.Csum {
						t.Errorf("a packet of %d bytes at MTU %d", g.End-g.L3, mtu)
					}
				}
				w.balanced()
			}
		}
		b.link.mtu = 1500
		before := b.reason(ReasonOversize)
		a.send(a.udp(b, 1, 2, string(make([]byte, 1472))), a.udp(b, 1, 2, string(make([]byte, 1473))), a.udp(b, 1, 2, "small"))
		if n := b.reason(ReasonOversize) - before; n != 1 || len(b.take()) != 2 {
			t.Errorf("%d frames are counted as oversize, want 1", n)
		}
		w.balanced()
	}
}

// TestOrderIsKept when some frames of a batch pass whole and others are split.
func TestOrderIsKept(t *testing.T) {
	_, a, _, b := guarded(t)
	f, g := packettest.Offload(a.seg(b, 1, 80, ack, 1, 1, 4000), 1400)
	a.batch.Reset()
	a.batch.Commit(copy(a.batch.Next(), a.udp(b, 1, 2, "first")), packet.GSO{})
	a.batch.Commit(copy(a.batch.Next(), f), g)
	a.batch.Commit(copy(a.batch.Next(), a.udp(b, 1, 2, "last!")), packet.GSO{})
	a.link.workers[0].run(&a.batch)
	var got []int
	for _, f := range b.take() {
		got = append(got, len(f))
	}
	if want := []int{47, 1454, 1454, 1254, 47}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lengths %v, want %v", got, want)
	}
}

// TestPortFull: what a port takes no more of is lost and counted there, and nowhere else.
func TestPortFull(t *testing.T) {
	w, a, n, b := guarded(t)
	b.full = true
	f, g := packettest.Offload(a.seg(b, 1, 80, ack, 1, 1, 4000), 1400)
	a.send(a.udp(b, 1, 2, "lost"), a.udp(n, 1, 2, "kept"), a.udp(b, 1, 2, "lost"))
	a.sendGSO(f, g)
	b.link.offload = everything
	a.sendGSO(f, g)
	n.delivered(1)
	w.silent()
	for _, p := range w.sw.Ports() {
		want := map[string]uint64{"a-1": 0, "a-2": 0, "b-1": 2 + 3 + 3}[p.Port]
		if p.Reasons["port_full"] != want {
			t.Errorf("%s counts %d packets as port_full, want %d", p.Port, p.Reasons["port_full"], want)
		}
		if p.Port == "b-1" && (p.Sent != 0 || p.SentPackets != 0 || p.SentBytes != 0) {
			t.Errorf("b-1 counts as sent what it did not take: %+v", p.Counters)
		}
	}
	if got, _ := total(w.records(), b.eni, 0, 1); got != 8 {
		t.Errorf("%d packets recorded at b-1, want 8: they were admitted, and lost behind it", got)
	}
	b.full = false
	b.take()
	a.passes(b, a.udp(b, 1, 2, "again"))
	w.balanced()
}

// TestFanOut sends a full batch to many ports, and answers among them, in one batch.
func TestFanOut(t *testing.T) {
	w := newWorld(t)
	w.group("g", open...)
	a := w.instance("a-1", "a", "10.0.1.10", "g")
	var others []*stubPort
	for i := range BatchSize {
		others = append(others, w.instance(fmt.Sprintf("b-%d", i), "b", fmt.Sprintf("10.0.2.%d", 10+i), "g"))
	}
	var frames [][]byte
	for i, o := range others {
		frames = append(frames, a.udp(o, uint16(i), 9, "x"))
	}
	a.send(frames...)
	for _, o := range others {
		o.delivered(1)
	}
	pings := make([][]byte, BatchSize)
	for i := range pings {
		pings[i] = routerPing(a, a.addr, "10.0.1.1")
	}
	a.send(pings...)
	a.delivered(BatchSize)
	arp := packettest.ARP{SenderMAC: a.mac, Sender: a.addr, Target: addr("10.0.1.1")}.Bytes()
	a.send(append(frames[:BatchSize-1], arp)...)
	if n := len(a.take()); n != 1 {
		t.Errorf("%d answers", n)
	}
	for _, o := range others[:BatchSize-1] {
		o.delivered(1)
	}
	w.silent()
	w.balanced()
}
