package conntrack_test

import (
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

const tick = 100 * time.Millisecond // more than "last seen" may lag

// TestTimeouts takes halves to each state and holds that they live as long as the table says, by Track
// and by Sweep alike.
func TestTimeouts(t *testing.T) {
	const out, in = conntrack.Out, conntrack.In
	type step struct {
		d     conntrack.Dir
		flags uint8
	}
	syn, synAck, ack := step{out, packet.SYN}, step{in, packet.SYN | packet.ACK}, step{out, packet.ACK}
	fin, finAck, last := step{out, packet.FIN | packet.ACK}, step{in, packet.FIN | packet.ACK}, step{out, packet.ACK}
	tests := []struct {
		name  string
		proto uint8
		steps []step
		want  time.Duration
	}{
		{"TCP SYN", 6, []step{syn}, 120 * time.Second},
		{"TCP SYN ACK", 6, []step{syn, synAck}, 120 * time.Second},
		{"TCP established", 6, []step{syn, synAck, ack}, 432000 * time.Second},
		{"TCP picked up", 6, []step{ack}, 120 * time.Second},
		{"TCP picked up, answered", 6, []step{ack, {in, packet.ACK}}, 432000 * time.Second},
		{"TCP one FIN", 6, []step{syn, synAck, ack, fin}, 120 * time.Second},
		{"TCP both FINs", 6, []step{syn, synAck, ack, fin, finAck}, 120 * time.Second},
		{"TCP closed", 6, []step{syn, synAck, ack, fin, finAck, last}, 120 * time.Second},
		{"TCP reset", 6, []step{syn, synAck, ack, {in, packet.RST}}, 10 * time.Second},
		{"UDP one direction", 17, []step{{out, 0}, {out, 0}, {out, 0}}, 30 * time.Second},
		{"UDP request-response", 17, []step{{out, 0}, {in, 0}}, 30 * time.Second},
		{"UDP request, two responses", 17, []step{{out, 0}, {in, 0}, {in, 0}}, 30 * time.Second},
		{"UDP request, many responses", 17, []step{{out, 0}, {in, 0}, {in, 0}, {in, 0}, {in, 0}}, 30 * time.Second},
		{"UDP another request", 17, []step{{out, 0}, {in, 0}, {out, 0}, {out, 0}}, 30 * time.Second},
		{"UDP two request-responses", 17, []step{{out, 0}, {in, 0}, {out, 0}, {in, 0}}, 180 * time.Second},
		{"UDP stream", 17, []step{{out, 0}, {in, 0}, {out, 0}, {in, 0}, {in, 0}, {out, 0}}, 180 * time.Second},
		{"UDP opened from outside", 17, []step{{in, 0}, {out, 0}, {in, 0}, {out, 0}}, 180 * time.Second},
		{"ICMP", 1, []step{{out, 0}, {in, 0}}, 30 * time.Second},
		{"ICMPv6", 58, []step{{out, 0}, {in, 0}}, 30 * time.Second},
		{"GRE", 47, []step{{out, 0}}, 600 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, conntrack.Config{})
			w.now = int64(time.Hour)
			open := func() *conntrack.Half {
				h := w.insert(key(1, test.proto, 1), conntrack.Init{Opener: test.steps[0].d, TCPFlags: test.steps[0].flags})
				for _, s := range test.steps[1:] {
					w.now += int64(time.Second)
					if got := h.Track(s.d, s.flags, w.now); got != conntrack.Pass {
						t.Fatalf("%+v: %v", s, got)
					}
				}
				return h
			}
			h := open()
			if got := h.ExpiresIn(w.now); got != test.want {
				t.Fatalf("expires in %v, want %v", got, test.want)
			}
			if got := h.Track(in, packet.RST, w.now+int64(test.want-tick)); got != conntrack.Pass {
				t.Errorf("a little before: %v", got)
			}
			w.Remove(h)
			h = open()
			if got := h.Track(in, packet.RST, w.now+int64(test.want+tick)); got != conntrack.Expired {
				t.Errorf("a little after: %v", got)
			}
			if n := w.sweep(test.want - tick); n != 0 {
				t.Errorf("a little before: swept")
			}
			if n := w.sweep(2 * tick); n != 1 || w.Stats().Halves != 0 || w.Stats().Expired != 1 {
				t.Errorf("a little after: %d swept, %+v", n, w.Stats())
			}
		})
	}
}

func TestRejectedTimeout(t *testing.T) {
	w := newWorld(t, conntrack.Config{})
	h := w.insert(key(1, 6, 1), conntrack.Init{Opener: conntrack.In, Rejected: true, TCPFlags: packet.SYN})
	for range 3 { // a retransmitted SYN meets the remembered verdict
		w.now += int64(9 * time.Second)
		if got := h.Track(conntrack.In, packet.SYN, w.now); got != conntrack.Pass || !h.Rejected() {
			t.Fatalf("%v, %v", got, h.State())
		}
	}
	if n := w.sweep(11 * time.Second); n != 1 {
		t.Errorf("%d swept", n)
	}
}

// TestTimeoutsOfInterface holds that each half has its own, that zero is the default, and that a
// changed set counts for new halves.
func TestTimeoutsOfInterface(t *testing.T) {
	w := newWorld(t, conntrack.Config{})
	tm := &conntrack.Timeouts{UDP: 60 * time.Second, Other: 1000 * 24 * time.Hour}
	udp := w.insert(key(1, 17, 1), conntrack.Init{Timeouts: tm})
	if got := udp.ExpiresIn(0); got != 60*time.Second {
		t.Errorf("own: %v", got)
	}
	if got := w.insert(key(1, 1, 1), conntrack.Init{Timeouts: tm}).ExpiresIn(0); got != 30*time.Second {
		t.Errorf("default: %v", got)
	}
	if got := w.insert(key(1, 47, 1), conntrack.Init{Timeouts: tm}).ExpiresIn(0); got != 20*24*time.Hour {
		t.Errorf("too long: %v", got)
	}
	if got := w.insert(key(2, 17, 1), conntrack.Init{}).ExpiresIn(0); got != 30*time.Second {
		t.Errorf("of another interface: %v", got)
	}
	tm.UDP = 45 * time.Second
	if got := w.insert(key(1, 17, 2), conntrack.Init{Timeouts: tm}).ExpiresIn(0); got != 45*time.Second {
		t.Errorf("changed: %v", got)
	}
	if got := udp.ExpiresIn(0); got != 60*time.Second {
		t.Errorf("the older half changed with it: %v", got)
	}
	udp.Reset(conntrack.Init{Timeouts: tm}, 0)
	if got := udp.ExpiresIn(0); got != 45*time.Second {
		t.Errorf("after a reset: %v", got)
	}
}

// TestClockDisorder holds that workers whose clocks differ a little do no harm.
func TestClockDisorder(t *testing.T) {
	w := newWorld(t, conntrack.Config{})
	w.now = int64(time.Hour)
	h := w.insert(key(1, 17, 1), conntrack.Init{})
	if got := h.Track(conntrack.In, 0, w.now-int64(time.Minute)); got != conntrack.Pass {
		t.Errorf("a packet of an earlier clock: %v", got)
	}
	if got := h.LastSeen(w.now); got != w.now {
		t.Errorf("last seen went back to %v", time.Duration(got))
	}
	if w.Sweep(w.now-int64(time.Minute), 100) != 0 {
		t.Error("swept by an earlier clock")
	}
}

// TestBoundedSweep holds that a sweep looks at no more than it was told, and that sweeps go round.
func TestBoundedSweep(t *testing.T) {
	w := newWorld(t, conntrack.Config{Shards: 2})
	const n = 5000
	for i := range n {
		w.insert(key(1, 17, i), conntrack.Init{})
	}
	w.batch()
	w.now = int64(time.Minute)
	total, sweeps := 0, 0
	for ; total < n && sweeps < 1000; sweeps++ {
		got := w.Sweep(w.now, 100)
		if got > 128 {
			t.Fatalf("%d removed with a budget of 100", got)
		}
		total += got
	}
	if total != n || sweeps < n/128 {
		t.Errorf("%d removed in %d sweeps", total, sweeps)
	}
	w.batch()
	if w.Sweep(w.now, 0); len(w.freed) != n || w.Stats().Limbo != 0 {
		t.Errorf("%d freed, %+v", len(w.freed), w.Stats())
	}
}
