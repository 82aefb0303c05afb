package conntrack_test

import (
	"sync"
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

func TestCountDrain(t *testing.T) {
	const ms = int64(time.Millisecond)
	w := newWorld(t, conntrack.Config{})
	for _, start := range []int64{0, int64(40 * 24 * time.Hour), -int64(time.Hour), 1432917027 * int64(time.Second)} {
		w.now = start
		k := key(1, 6, 1)
		h := w.insert(k, conntrack.Init{})
		h.Count(conntrack.Out, 2, 3000, packet.ACK, start+5*ms)
		h.Count(conntrack.Out, 45, 65000, packet.PSH|packet.ACK, start+7*ms)
		h.Count(conntrack.In, 1, 40, packet.FIN|packet.ACK, start+9*ms)
		if got, want := h.Drain(conntrack.Out), (conntrack.Counters{Packets: 47, Bytes: 68000, First: start + 5*ms, Last: start + 7*ms}); got != want {
			t.Errorf("out: %+v, want %+v", got, want)
		}
		if got, want := h.Drain(conntrack.In), (conntrack.Counters{Packets: 1, Bytes: 40, TCPFlags: packet.FIN, First: start + 9*ms, Last: start + 9*ms}); got != want {
			t.Errorf("in: %+v, want %+v", got, want)
		}
		if got := h.Drain(conntrack.Out); got != (conntrack.Counters{}) {
			t.Errorf("drained twice: %+v", got)
		}
		h.Count(conntrack.Out, 1, 40, 0, start+int64(time.Minute))
		if got := h.Drain(conntrack.Out); got.First != start+int64(time.Minute) || got.Last != got.First {
			t.Errorf("the next window begins at %v", time.Duration(got.First-start))
		}
		w.Remove(h)
	}
}

// TestFlowLogFlags are AWS's rules: FIN 1, SYN 2, RST 4, SYN-ACK 18, others not on their own; OR over
// the packets of the window.
func TestFlowLogFlags(t *testing.T) {
	w := newWorld(t, conntrack.Config{})
	h := w.insert(key(1, 6, 1), conntrack.Init{})
	for _, test := range []struct {
		flags []uint8
		want  uint8
	}{
		{[]uint8{packet.SYN}, 2},
		{[]uint8{packet.SYN | packet.ACK}, 18},
		{[]uint8{packet.ACK}, 0},
		{[]uint8{packet.PSH | packet.ACK | packet.URG}, 0},
		{[]uint8{packet.SYN | packet.ECE | packet.CWR}, 2},
		{[]uint8{packet.FIN | packet.ACK}, 1},
		{[]uint8{packet.RST | packet.ACK}, 4},
		{[]uint8{packet.SYN, packet.ACK, packet.FIN | packet.ACK}, 3},
		{[]uint8{packet.SYN | packet.ACK, packet.FIN | packet.ACK}, 19},
		{[]uint8{packet.SYN, packet.FIN | packet.ACK, packet.RST}, 7},
		{[]uint8{packet.SYN, packet.SYN | packet.ACK, packet.SYN}, 18},
	} {
		for _, f := range test.flags {
			h.Count(conntrack.Out, 1, 1<<40, f, 0)
		}
		got := h.Drain(conntrack.Out)
		if got.TCPFlags != test.want || got.Bytes != uint64(len(test.flags))<<40 {
			t.Errorf("%v: %+v, want flags %d", test.flags, got, test.want)
		}
	}
}

// TestDrainExact counts and drains at once from several goroutines: nothing is lost, nothing doubled.
func TestDrainExact(t *testing.T) {
	tab := conntrack.New(conntrack.Config{})
	defer tab.Close()
	fill(t, tab, 0, 1)
	k := flowKey(0)
	h := tab.Lookup(&k, tab.Hash(&k))
	const counters, drainers, each = 3, 2, 300_000
	var counting, draining sync.WaitGroup
	done := make(chan struct{})
	for g := range counters {
		counting.Go(func() {
			for i := range each {
				h.Count(conntrack.Out, 3, 1000, packet.SYN, int64(i)*1e6+int64(g))
			}
		})
	}
	var sums [drainers]conntrack.Counters
	for g := range drainers {
		draining.Go(func() {
			for {
				c := h.Drain(conntrack.Out)
				sums[g].Packets += c.Packets
				sums[g].Bytes += c.Bytes
				if c.Packets > 0 && (c.Last < c.First || c.First < 0 || c.Last > each*1e6) {
					t.Errorf("times %d to %d", c.First, c.Last)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	counting.Wait()
	close(done)
	draining.Wait()
	rest := h.Drain(conntrack.Out)
	packets, bytes := rest.Packets, rest.Bytes
	for _, s := range sums {
		packets += s.Packets
		bytes += s.Bytes
	}
	if packets != counters*each*3 || bytes != counters*each*1000 {
		t.Errorf("drained %d packets, %d bytes", packets, bytes)
	}
}
