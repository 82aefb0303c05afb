package afpacket

import (
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/porttest"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// wire is a virtual machine and a host at the two ends of a TAP: the machine's stack is a namespace of its own, joined to
// the descriptor of the TAP; the port is joined to the host.
type wire struct {
	machine, middle, host *room
	port                  *Port
	inside, outside       *porttest.Cable // machine to TAP, port to host
}

func newWire(t testing.TB, machine, holder, host tap.Config) *wire {
	w := &wire{machine: newRoom(t), middle: newRoom(t), host: newRoom(t)}
	held := w.middle.hold("vnet0", holder)
	w.port = w.middle.attach(Config{Device: "vnet0"})
	ready(t, w.port)
	w.inside = porttest.Connect(t, w.machine.host(machine, "10.9.0.1/24", "fd00:9::1/64"), held)
	w.outside = porttest.Connect(t, w.port, w.host.host(host, "10.9.0.2/24", "fd00:9::2/64"))
	return w
}

// watchFrames checks all that the port reads: super-frames are counted, and checksums must be right or left to be filled in.
type watchFrames struct {
	super, bad, checked [2]atomic.Uint64 // read from the port, written to it
}

func (c *watchFrames) filter(port vswitch.Port) porttest.Filter {
	return func(from vswitch.Port, f *vswitch.Frame) bool {
		way := 1
		if from == port {
			way = 0
		}
		if f.GSO.Type != packet.GSONone {
			c.super[way].Add(1)
			return true
		}
		if c.checked[way].Add(1) > 1000 {
			return true
		}
		var h packet.Headers
		if h.Parse(f.Buf); h.Kind != packet.IPv4 && h.Kind != packet.IPv6 {
			return true
		}
		whole := append([]byte(nil), f.Buf...)
		if f.GSO.NeedsCsum && !packet.CompleteChecksum(whole, f.GSO) || packettest.Check(whole) != nil {
			c.bad[way].Add(1)
		}
		return true
	}
}

// TestTransfer sends TCP streams through the TAP in both directions, with offloads on and off at either end of it.
func TestTransfer(t *testing.T) {
	needsRoot(t)
	size := int64(32 << 20)
	if testing.Short() {
		size = 4 << 20
	}
	on, off := tap.Config{}, tap.Config{NoOffload: true}
	for _, c := range []struct {
		name                  string
		machine, holder, host tap.Config
		super                 [2]bool // read from the port, written to it
		finished              bool    // the holder gets finished wire frames only
		addr                  string
	}{
		{"all offloads", on, on, on, [2]bool{true, true}, false, "10.9.0."},
		{"IPv6", on, on, on, [2]bool{true, true}, false, "fd00:9::"},
		{"jumbo", tap.Config{MTU: 9001}, tap.Config{MTU: 9001}, tap.Config{MTU: 9001}, [2]bool{true, true}, false, "10.9.0."},
		{"machine without", off, on, on, [2]bool{false, true}, false, "10.9.0."},
		{"TAP without", off, off, on, [2]bool{false, true}, true, "10.9.0."},
		{"TAP without, IPv6", off, off, on, [2]bool{false, true}, true, "fd00:9::"},
		{"host without", off, on, off, [2]bool{false, false}, false, "10.9.0."},
		{"none", off, off, off, [2]bool{false, false}, true, "10.9.0."},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t, c.machine, c.holder, c.host)
			var outer watchFrames
			if c.host.NoOffload { // what a port without offload needs, the switch does; here the test does it
				w.outside.SetFilter(finish(t, w.port, &outer))
			} else {
				w.outside.SetFilter(outer.filter(w.port))
			}
			var unfinished atomic.Uint64
			w.inside.SetFilter(func(from vswitch.Port, f *vswitch.Frame) bool {
				var h packet.Headers
				if h.Parse(f.Buf); from == w.inside.A() || !c.finished || h.Kind == packet.ARP {
					return true
				}
				if f.GSO.NeedsCsum || f.GSO.Type != packet.GSONone || packettest.Check(f.Buf) != nil {
					unfinished.Add(1)
				}
				return true
			})
			if c.machine.NoOffload || !c.host.NoOffload { // nobody splits super-frames here
				transfer(t, w.machine, w.host, c.addr+"2", size)
			}
			transfer(t, w.host, w.machine, c.addr+"1", size)
			for way, name := range []string{"read from", "written to"} {
				if n := outer.super[way].Load(); (n > 0) != c.super[way] {
					t.Errorf("%d super-frames %s the port", n, name)
				}
				if n := outer.bad[way].Load(); n > 0 {
					t.Errorf("%d frames %s the port with a wrong checksum", n, name)
				}
			}
			if n := unfinished.Load(); n > 0 {
				t.Errorf("%d unfinished frames for a holder that takes none", n)
			}
			if s := w.port.Stats(); s.BadHeader+s.Truncated+s.VLAN+s.Refused+s.TooLarge > 0 {
				t.Errorf("%+v", s)
			}
			t.Logf("%d super-frames read, %d written; %v", outer.super[0].Load(), outer.super[1].Load(), w.port.Stats().Named())
		})
	}
}

// finish lets checksums be filled in of what the port reads; there must be no super-frames.
func finish(t testing.TB, port vswitch.Port, c *watchFrames) porttest.Filter {
	watch := c.filter(port)
	return func(from vswitch.Port, f *vswitch.Frame) bool {
		watch(from, f)
		if from == port && f.GSO.NeedsCsum && f.GSO.Type == packet.GSONone {
			packet.CompleteChecksum(f.Buf, f.GSO)
			f.GSO = packet.GSO{}
		}
		return true
	}
}

// transfer sends size bytes by TCP and fails if they do not arrive as they were.
func transfer(t testing.TB, from, to *room, addr string, size int64) {
	t.Helper()
	var l net.Listener
	to.do(func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(addr, "0")); return err })
	defer l.Close()
	result := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			result <- err.Error()
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(3 * time.Minute))
		h := newHash()
		n, err := io.Copy(h, c)
		result <- fmt.Sprintf("%d %x %v", n, h.Sum(nil), err)
	}()
	var c net.Conn
	from.do(func() (err error) { c, err = net.DialTimeout("tcp", l.Addr().String(), patience); return err })
	c.SetDeadline(time.Now().Add(3 * time.Minute))
	h := newHash()
	start := time.Now()
	n, err := io.Copy(io.MultiWriter(c, h), io.LimitReader(&pattern{}, size))
	if err = errors.Join(err, c.Close()); err != nil || n != size {
		t.Fatalf("sent %d: %v", n, err)
	}
	want := fmt.Sprintf("%d %x %v", size, h.Sum(nil), nil)
	if got := <-result; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	t.Logf("%d MiB in %v: %.1f Gbit/s", size>>20, time.Since(start).Round(time.Millisecond), float64(size)*8/1e9/time.Since(start).Seconds())
}

func newHash() hash.Hash64 { return crc64.New(crc64.MakeTable(crc64.ECMA)) }

// pattern is bytes that do not repeat soon.
type pattern struct{ x uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		p.x = p.x*6364136223846793005 + 1442695040888963407
		b[i] = byte(p.x >> 56)
	}
	return len(b), nil
}
