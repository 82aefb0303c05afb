package vswitch

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

var gather = Offload{Csum: true, TSO4: true, TSO6: true, USO: true, ECN: true, Gather: true}

// data is a segment of a stream from p.
func (p *stubPort) data(to *stubPort, sport uint16, seq uint32, fill byte) []byte {
	return packettest.TCP{
		SrcMAC: p.mac, DstMAC: p.hop(to.addr), Src: netip.AddrPortFrom(p.addr, sport), Dst: netip.AddrPortFrom(to.addr, 80),
		Flags: packet.ACK, Seq: seq, Payload: bytes.Repeat([]byte{fill}, 1000), IP: packettest.IP{DontFragment: true},
	}.Bytes()
}

// TestMergeAcrossTheBatch: frames of two flows that take turns become one super-frame each, for a port that
// takes them; the flow log counts what a wire would have carried.
func TestMergeAcrossTheBatch(t *testing.T) {
	w := newWorld(t)
	w.group("g", "all from anywhere")
	a, b := w.instance("a", "a", "10.0.1.10", "g"), w.instance("b", "b", "10.0.2.10", "g")
	b.link.offload = gather
	var batch [][]byte
	for i := range 6 {
		batch = append(batch, a.data(b, 40000, uint32(1000*i), 1), a.data(b, 40001, uint32(1000*i), 2))
	}
	a.send(batch...)
	b.mu.Lock()
	gso := b.gso
	b.mu.Unlock()
	out := b.take()
	if len(out) != 2 {
		t.Fatalf("%d frames, want 2 super-frames", len(out))
	}
	for i, f := range out {
		var h packet.Headers
		h.Parse(f)
		n, size := packet.Segments(&h, gso[i])
		if n != 6 || size != 6*1040 || gso[i].Type != packet.GSOTCP4 || h.DstMAC != b.mac {
			t.Errorf("super-frame %d: %d segments, %d bytes, %+v to %v", i, n, size, gso[i], h.DstMAC)
		}
		if want := bytes.Repeat([]byte{byte(i + 1)}, 6000); !bytes.Equal(f[h.Payload:h.End], want) {
			t.Errorf("super-frame %d has other bytes", i)
		}
	}
	var packets uint64
	for _, r := range w.records() {
		if r.Interface.ID == w.names["b"] {
			packets += r.Packets
		}
	}
	c := w.sw.Totals()
	if packets != 12 || c.Merged != 10 || c.Sent != 2 || c.SentPackets != 12 || c.SentBytes != 12*1040 {
		t.Errorf("%d packets recorded; counters %+v", packets, c)
	}
}

// TestMergeKeepsOrder: what may not join its flow's run comes after it, and what follows comes after that.
func TestMergeKeepsOrder(t *testing.T) {
	w := newWorld(t)
	w.group("g", "all from anywhere")
	a, b := w.instance("a", "a", "10.0.1.10", "g"), w.instance("b", "b", "10.0.2.10", "g")
	b.link.offload = gather
	a.send(a.data(b, 40000, 0, 1), a.data(b, 40000, 1000, 1), a.tcp(b, 40000, 80, packet.ACK), a.data(b, 40000, 2000, 1), a.data(b, 40000, 3000, 1))
	var got []string
	for _, f := range b.take() {
		var h packet.Headers
		h.Parse(f)
		got = append(got, fmt.Sprint(h.TCPSeq, "+", h.End-h.Payload))
	}
	if want := "[0+2000 0+0 2000+2000]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestMergeOnlyWhereItPays: a port without offload, or one that takes no pieces, gets the frames as they are.
func TestMergeOnlyWhereItPays(t *testing.T) {
	for name, o := range map[string]Offload{"none": {}, "no pieces": {Csum: true, TSO4: true}, "no TSO": {Csum: true, USO: true, Gather: true}} {
		w := newWorld(t)
		w.group("g", "all from anywhere")
		a, b := w.instance("a", "a", "10.0.1.10", "g"), w.instance("b", "b", "10.0.2.10", "g")
		b.link.offload = o
		a.send(a.data(b, 40000, 0, 1), a.data(b, 40000, 1000, 1))
		if n := len(b.take()); n != 2 {
			t.Errorf("%s: %d frames, want 2", name, n)
		}
	}
}

// TestMergeNeverAcrossVerdicts: a rejected flow's frames do not ride on an admitted one's.
func TestMergeNeverAcrossVerdicts(t *testing.T) {
	w := newWorld(t)
	w.group("g", "tcp 80 from anywhere")
	a, b := w.instance("a", "a", "10.0.1.10", "g"), w.instance("b", "b", "10.0.2.10", "g")
	b.link.offload = gather
	a.send(a.data(b, 40000, 0, 1), a.udp(b, 40000, 80, "no"), a.data(b, 40000, 1000, 1), a.udp(b, 40000, 80, "no"))
	if n := len(b.take()); n != 1 {
		t.Errorf("%d frames, want one super-frame", n)
	}
	var rejected uint64
	for _, r := range w.records() {
		if r.Action == flowlogs.Reject {
			rejected += r.Packets
		}
	}
	if rejected != 2 {
		t.Errorf("%d rejected, want 2", rejected)
	}
}
