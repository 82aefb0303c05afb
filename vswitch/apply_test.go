package vswitch_test

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/conntrack"
	"github.com/vpclab/vpclab/vswitch/port/memory"
)

// busy is a client whose port is kept full by a goroutine of its own.
type busy struct {
	*node
	mu sync.Mutex // held while it injects
}

func (c *busy) run(frames []*vswitch.Frame, stop *atomic.Bool) {
	for !stop.Load() {
		c.mu.Lock()
		c.Inject(0, frames...)
		c.mu.Unlock()
		runtime.Gosched()
	}
}

// mark puts frames of one round in, among the others, and waits until they are through.
func (c *busy) mark(l *lab, frames []*vswitch.Frame) {
	for len(frames) > 0 {
		frames = frames[c.Inject(0, frames...):]
		runtime.Gosched() // the queue is full of other traffic
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.settle(c.node)
}

// TestApplyHoldsForTheNextFrame changes a rule under traffic: no frame put in after Apply returned is judged
// by the rules of before, neither of flows known to the table nor of new ones; and what came in earlier and was
// judged by them is through by then.
func TestApplyHoldsForTheNextFrame(t *testing.T) {
	const rule, rounds, clients, marked = "udp 53 from anywhere", 200, 3, 20
	l := newLab(t, flowlogs.Config{}, conntrack.Config{})
	var perRound [rounds + 1]atomic.Uint64
	server := l.node("server", "10.0.2.10", func(_ *node, c *memory.Config) {
		c.Sink = func(_ int, fs []*vswitch.Frame) int {
			time.Sleep(10 * time.Microsecond) // makes it likely that a change meets workers within a batch
			for _, f := range fs {
				perRound[binary.BigEndian.Uint16(f.Buf[42:])].Add(1)
			}
			return len(fs)
		}
	})
	l.attach(server)
	var all []*busy
	var traffic sync.WaitGroup
	var stop atomic.Bool
	for i := range clients {
		c := &busy{node: l.node("client", "10.0.1.1"+string(rune('0'+i)), nil)}
		l.attach(c.node)
		all = append(all, c)
		frames := c.frames(server, 0, 1, marked)
		traffic.Go(func() { c.run(frames, &stop) })
	}
	defer func() { stop.Store(true); traffic.Wait() }()
	for round := 1; round <= rounds; round++ {
		admitted := round%2 == 1
		l.ingress(rule, admitted)
		others := perRound[0].Load()
		for _, c := range all {
			known, fresh := c.frames(server, round, 1, marked), c.frames(server, round, 1000+round*marked, marked)
			c.mark(l, append(known, fresh...))
		}
		want := uint64(0)
		if admitted {
			want = 2 * marked * clients
		}
		if got := perRound[round].Load(); got != want {
			t.Fatalf("round %d: %d frames arrived, want %d", round, got, want)
		}
		if n := perRound[0].Load() - others; n != 0 && !admitted {
			t.Fatalf("round %d: %d frames that were judged by the old rules arrived after the change", round, n)
		}
	}
	if perRound[0].Load() == 0 {
		t.Error("no other traffic arrived: nothing was tried")
	}
}

// frames are datagrams with the round in their payload, from several source ports.
func (c *busy) frames(to *node, round, sport, n int) (out []*vswitch.Frame) {
	payload := binary.BigEndian.AppendUint16(nil, uint16(round))
	for i := range n {
		out = append(out, &vswitch.Frame{Buf: c.udp(to, uint16(sport+i), 53, payload), GSO: packet.GSO{}})
	}
	return out
}

// TestInterfacesComeAndGo: attaching, detaching and deleting under traffic loses nothing without a name.
func TestInterfacesComeAndGo(t *testing.T) {
	l := newLab(t, flowlogs.Config{}, conntrack.Config{})
	l.ingress("udp 53 from anywhere", true)
	c := &busy{node: l.node("client", "10.0.1.10", nil)}
	server := l.node("server", "10.0.2.10", func(n *node, cfg *memory.Config) { cfg.Sink = n.sink(0) })
	l.attach(c.node)
	var stop atomic.Bool
	var traffic sync.WaitGroup
	frames := c.frames(server, 0, 1, 64)
	traffic.Go(func() { c.run(frames, &stop) })
	for range 30 {
		server.Port = memory.New(memory.Config{Sink: server.sink(0)})
		l.attach(server)
		c.mark(l, frames)
		if err := l.sw.Detach(server.id); err != nil {
			t.Fatal(err)
		}
		c.mark(l, frames)
	}
	stop.Store(true)
	traffic.Wait()
	l.settle(c.node)
	total := l.sw.Totals()
	if sent := c.Stats().Injected; total.Packets != sent || total.SentPackets != server.got.Load() || sent != server.got.Load()+total.Reasons["detached"]+total.Reasons["port_full"] {
		t.Errorf("%d sent, %d delivered, counted %+v", sent, server.got.Load(), total)
	}
	if server.got.Load() == 0 || total.Reasons["detached"] == 0 {
		t.Errorf("%d delivered, %v", server.got.Load(), total.Reasons)
	}
}
