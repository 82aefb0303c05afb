// Package porttest joins ports without a switch, for tests of ports and instances. It owns no port and
// judges no frame: what one end sends, the other gets, unless a test's filter says otherwise.
//
// Read this file first; there is no other.
package porttest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// Cable joins two ports.
type Cable struct {
	a, b   vswitch.Port
	filter atomic.Pointer[Filter]
	wg     sync.WaitGroup

	Frames, Super, Lost atomic.Uint64 // frames that passed; super-frames among them; frames not taken
}

// Filter says whether a frame may pass. It may change the frame in place.
type Filter func(from vswitch.Port, f *vswitch.Frame) bool

// Connect joins a and b until the test ends; the test's clean-up closes both.
func Connect(t testing.TB, a, b vswitch.Port) *Cable {
	t.Helper()
	c := &Cable{a: a, b: b}
	for _, pair := range [][2]vswitch.Port{{a, b}, {b, a}} {
		for q := range pair[0].Queues() {
			c.wg.Go(func() { c.carry(t, pair[0], pair[1], q) })
		}
	}
	t.Cleanup(c.Close)
	return c
}

// SetFilter replaces the filter; nil lets all pass.
func (c *Cable) SetFilter(f Filter) { c.filter.Store(&f) }

// Close closes both ports and waits until nothing is under way.
func (c *Cable) Close() {
	c.a.Close()
	c.b.Close()
	c.wg.Wait()
}

func (c *Cable) carry(t testing.TB, from, to vswitch.Port, q int) {
	var b vswitch.Batch
	frames := make([]*vswitch.Frame, 0, vswitch.BatchSize)
	for {
		if err := from.Read(q, &b); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("read %s: %v", from.Name(), err)
			}
			return
		}
		frames = frames[:0]
		for i := range b.Len() {
			f := b.Frame(i)
			if filter := c.filter.Load(); filter == nil || *filter == nil || (*filter)(from, f) {
				frames = append(frames, f)
				if f.GSO.Type != packet.GSONone {
					c.Super.Add(1)
				}
			}
		}
		taken := to.Write(q, frames)
		c.Frames.Add(uint64(taken))
		c.Lost.Add(uint64(len(frames) - taken))
		b.Release()
	}
}

// A is the port that was given first.
func (c *Cable) A() vswitch.Port { return c.a }
