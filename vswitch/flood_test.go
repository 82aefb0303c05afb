package vswitch_test

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vpclab/vpclab/flowlogs"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vpc"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/conntrack"
	"github.com/vpclab/vpclab/vswitch/port/memory"
)

// flood is two clients that send over many UDP flows to two servers, flat out.
type flood struct {
	*lab
	flows            int
	clients, servers []*node
	bytes            []uint64 // of IP that each client sent; written by its source
	step             int      // frames of the first client after which the clock moves on by 17 s; 0: it stands
}

// newFlood has each flow send rounds datagrams of different sizes. One flow in 16 meets no rule; a server's
// port refuses some frames.
func newFlood(t testing.TB, flows, rounds int, records flowlogs.Config) *flood {
	records.MaxRecords, records.MaxPerInterface = 1<<21, 1<<20
	f := &flood{flows: flows, lab: newLab(t, records, conntrack.Config{MaxHalves: 1 << 19, MaxRejectedShare: 0.5}), bytes: make([]uint64, 2)}
	f.ingress("udp 1000-1999 from client", true)
	for _, a := range []string{"10.0.2.10", "10.0.2.11"} {
		f.servers = append(f.servers, f.node("server", a, func(n *node, c *memory.Config) { c.Sink = n.sink(97) }))
	}
	for i, a := range []string{"10.0.1.10", "10.0.1.11"} {
		f.clients = append(f.clients, f.node("client", a, nil))
		f.clients[i].Port = memory.New(memory.Config{Name: a, Source: f.source(i, rounds)})
	}
	return f
}

// source makes a client's frames: half of all flows, one datagram of each in every round.
func (f *flood) source(client, rounds int) func(int, *vswitch.Batch) bool {
	mine := f.flows / 2
	var frames [2][]byte
	for s, to := range f.servers {
		frames[s] = f.clients[client].udp(to, 0, 0, make([]byte, 200))
	}
	next := 0
	return func(_ int, b *vswitch.Batch) bool {
		some := false
		for next < mine*rounds {
			room := b.Next()
			if room == nil {
				break
			}
			n := fill(room, frames[next&1], next%mine/2, next%101)
			b.Commit(n, packet.GSO{})
			f.bytes[client] += uint64(n - packet.EthernetLen)
			next, some = next+1, true
			if f.step != 0 && client == 0 && next%f.step == 0 {
				f.clock.Advance(17 * time.Second)
			}
		}
		return some
	}
}

// fill makes the frame of a server's i-th flow, with so many bytes of payload. Checksums of UDP are no business of the switch's.
func fill(room, template []byte, i, payload int) int {
	n := 14 + 20 + 8 + payload
	copy(room, template[:n])
	binary.BigEndian.PutUint16(room[34:], uint16(i%2500+1))
	dport := 1000 + i/2500
	if i%16 == 5 {
		dport += 1000 // no rule
	}
	binary.BigEndian.PutUint16(room[36:], uint16(dport))
	binary.BigEndian.PutUint16(room[38:], uint16(8+payload))
	binary.BigEndian.PutUint16(room[16:], uint16(n-14))
	room[24], room[25] = 0, 0
	binary.BigEndian.PutUint16(room[24:], packet.Checksum(room[14:34], 0))
	return n
}

// tally sums records by interface, direction and action.
type tally map[tallied]sums

type tallied struct {
	eni string
	dir vpc.Direction
	act flowlogs.Action
}

type sums struct{ packets, bytes uint64 }

func (a tally) add(rs []flowlogs.Record) {
	for i := range rs {
		r := &rs[i]
		if r.Status != flowlogs.OK {
			continue
		}
		k := tallied{r.Interface.ID, r.Direction, r.Action}
		a[k] = sums{a[k].packets + r.Packets, a[k].bytes + r.Bytes}
	}
}

// check fails unless all that was sent is accounted for: by the ports, the named drops and the records.
func (f *flood) check(got tally) {
	f.t.Helper()
	c := f.sw.Totals()
	var sent, sentBytes, delivered, deliveredBytes, refused uint64
	for i, n := range f.clients {
		sent += n.Stats().Injected
		sentBytes += f.bytes[i]
	}
	var in, rejected, out sums
	for _, n := range f.servers {
		delivered, deliveredBytes, refused = delivered+n.got.Load(), deliveredBytes+n.gotBytes.Load(), refused+n.refused.Load()
		in, rejected = in.plus(got[tallied{n.id, vpc.Ingress, flowlogs.Accept}]), rejected.plus(got[tallied{n.id, vpc.Ingress, flowlogs.Reject}])
	}
	for _, n := range f.clients {
		out = out.plus(got[tallied{n.id, vpc.Egress, flowlogs.Accept}])
	}
	full := c.Reasons["conntrack_allowance_exceeded"]
	if c.Packets != sent || c.Bytes != sentBytes {
		f.t.Errorf("the switch read %d packets, %d bytes; %d, %d were sent", c.Packets, c.Bytes, sent, sentBytes)
	}
	if sent != delivered+c.Reasons["no_rule"]+c.Reasons["port_full"]+full || c.Reasons["port_full"] != refused || len(c.Reasons) > 3 {
		f.t.Errorf("%d sent, %d delivered, %d refused, counted %v", sent, delivered, refused, c.Reasons)
	}
	if in.packets != delivered+refused || rejected.packets != c.Reasons["no_rule"] || out.packets != sent-full {
		f.t.Errorf("recorded %d in, %d rejected, %d out; sent %d, delivered %d, counted %v", in.packets, rejected.packets, out.packets, sent, delivered, c.Reasons)
	}
	if out.bytes != sentBytes && full == 0 || in.bytes+rejected.bytes != out.bytes || c.SentBytes != deliveredBytes || in.bytes < deliveredBytes {
		f.t.Errorf("recorded %d bytes in, %d rejected, %d out; sent %d, delivered %d", in.bytes, rejected.bytes, out.bytes, sentBytes, deliveredBytes)
	}
	if delivered == 0 || refused == 0 || rejected.packets == 0 || c.SentPackets != delivered {
		f.t.Errorf("%d delivered, %d refused, %d rejected, %d sent to ports", delivered, refused, rejected.packets, c.SentPackets)
	}
	if s := f.acc.Stats(); s.Skipped.Packets != 0 || s.Unknown.Packets != 0 {
		f.t.Errorf("records were lost: %+v", s)
	}
}

func (s sums) plus(o sums) sums { return sums{s.packets + o.packets, s.bytes + o.bytes} }

// TestFlood: 100,000 concurrent flows; nothing is lost without a name, and the records add up to the byte.
func TestFlood(t *testing.T) {
	const flows = 100_000
	f := newFlood(t, flows, 3, flowlogs.Config{})
	f.attach(f.servers...)
	f.attach(f.clients...)
	f.settle(f.clients...)
	if s := f.sw.TableStats(); s.Halves != 2*flows {
		t.Errorf("%d halves, want %d: %+v", s.Halves, 2*flows, s)
	}
	got := tally{}
	f.sw.DrainRecords()
	rs := f.acc.Finish(f.clock.Wall())
	got.add(rs)
	if n := len(rs); n != 2*flows {
		t.Errorf("%d records, want one a flow and interface, %d", n, 2*flows)
	}
	f.check(got)
}

// TestFloodWithExpiry has the clock run on meanwhile, by 42 s a round: flows time out and their tuples are used
// again, within windows and over their ends, while housekeeping drains, sweeps and seals.
func TestFloodWithExpiry(t *testing.T) {
	f := newFlood(t, 10_000, 12, flowlogs.Config{Bounds: flowlogs.Aligned(600), RecentRecords: -1})
	f.step = 2000
	f.attach(f.servers...)
	got := tally{}
	stop := make(chan struct{})
	var house sync.WaitGroup
	house.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				got.add(f.sw.Tick())
			}
		}
	})
	f.attach(f.clients...)
	f.settle(f.clients...)
	close(stop)
	house.Wait()
	f.sw.DrainRecords()
	got.add(f.acc.Finish(f.clock.Wall()))
	f.check(got)
	if ran := time.Duration(f.clock.Mono()); ran < 500*time.Second {
		t.Errorf("the clock ran only %v", ran)
	}
}

// TestFlatOutWithoutAllocation: on hits, memory ports and workers included.
func TestFlatOutWithoutAllocation(t *testing.T) {
	l := newLab(t, flowlogs.Config{}, conntrack.Config{})
	l.ingress("udp 53 from client", true)
	server := l.node("server", "10.0.2.10", func(n *node, c *memory.Config) { c.Sink = n.sink(0) })
	client := l.node("client", "10.0.1.10", nil)
	var frames []vswitch.Frame
	for i := range uint16(64) {
		frames = append(frames, vswitch.Frame{Buf: client.udp(server, 1+i, 53, []byte("payload"))})
	}
	const n = 200_000
	repeat := memory.Repeat(1, frames, n)
	var before runtime.MemStats
	seen := 0
	client.Port = memory.New(memory.Config{Source: func(q int, b *vswitch.Batch) bool {
		if seen++; seen == 100 { // warm
			runtime.ReadMemStats(&before)
		}
		return repeat(q, b)
	}})
	l.attach(server, client)
	l.settle(client)
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if got := server.got.Load(); got != n {
		t.Errorf("%d of %d delivered", got, n)
	}
	if allocs := after.Mallocs - before.Mallocs; allocs > n/1000 { // the runtime's own
		t.Errorf("%d allocations for %d frames", allocs, n)
	}
}
