package afpacket

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// loop is a port with frames under way in both directions.
type loop struct {
	held   *tap.Port
	port   *Port
	frames []*vswitch.Frame
	in     vswitch.Batch
}

func newLoop(t testing.TB, n, size int) *loop {
	r := newRoom(t)
	l := &loop{held: r.hold("vnet0", tap.Config{}), port: r.attach(Config{Device: "vnet0"})}
	ready(t, l.port)
	u := packettest.UDP{Src: netip.MustParseAddrPort("10.9.0.1:1"), Dst: netip.MustParseAddrPort("10.9.0.2:2"), Payload: make([]byte, size)}
	for range n {
		l.frames = append(l.frames, &vswitch.Frame{Buf: u.Bytes()})
	}
	return l
}

// there has the holder send the frames and the port read them.
func (l *loop) there(t testing.TB) {
	if l.held.Write(0, l.frames) != len(l.frames) {
		t.Fatal("the holder could not send")
	}
	for got := 0; got < len(l.frames); got += l.in.Len() {
		l.in.Reset()
		if err := l.port.Read(0, &l.in); err != nil {
			t.Fatal(err)
		}
	}
	l.in.Release()
}

// back has the port send the frames and the holder read them.
func (l *loop) back(t testing.TB) {
	if n := l.port.Write(0, l.frames); n != len(l.frames) {
		t.Fatalf("the port took %d", n)
	}
	for got := 0; got < len(l.frames); got += l.in.Len() {
		l.in.Reset()
		if err := l.held.Read(0, &l.in); err != nil {
			t.Fatal(err)
		}
	}
	l.in.Release()
}

func TestNoAllocation(t *testing.T) {
	needsRoot(t)
	for name, n := range map[string]int{"one": 1, "a few": 5, "more than a batch": 50} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t, n, 100)
			cycle := func() { l.there(t); l.back(t) }
			cycle()
			if n := testing.AllocsPerRun(200, cycle); n >= 1 && !raceEnabled { // a collection may empty the pools now and then
				t.Errorf("%v allocations a cycle", n)
			}
		})
	}
}

// TestUDPSegments sends one UDP super-frame each way; the other stack takes it apart.
func TestUDPSegments(t *testing.T) {
	needsRoot(t)
	w := newWire(t, tap.Config{}, tap.Config{}, tap.Config{})
	if !w.port.Offload().USO {
		t.Log("the kernel has no USO: its own segments are tested")
	}
	var seen watchFrames
	w.outside.SetFilter(seen.filter(w.port))
	for _, c := range []struct {
		from, to *room
		addr     string
	}{
		{w.machine, w.host, "10.9.0.2"}, {w.host, w.machine, "10.9.0.1"}, {w.machine, w.host, "fd00:9::2"}, {w.host, w.machine, "fd00:9::1"},
	} {
		segments(t, c.from, c.to, c.addr)
	}
	if w.port.Offload().USO && (seen.super[0].Load() == 0 || seen.super[1].Load() == 0) {
		t.Errorf("%d super-frames read, %d written", seen.super[0].Load(), seen.super[1].Load())
	}
	if s := w.port.Stats(); len(s.Named()) != 0 {
		t.Errorf("%v", s.Named())
	}
}

func segments(t *testing.T, from, to *room, addr string) {
	t.Helper()
	var in net.PacketConn
	var out net.Conn
	to.do(func() (err error) { in, err = net.ListenPacket("udp", net.JoinHostPort(addr, "0")); return err })
	defer in.Close()
	from.do(func() (err error) { out, err = net.Dial("udp", in.LocalAddr().String()); return err })
	defer out.Close()
	raw, err := out.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const segment, count = 1000, 9
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, segment) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(bytes.Repeat([]byte("z"), segment*(count-1)+7)); err != nil {
		t.Fatal(err)
	}
	in.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 1<<16)
	for i := range count {
		want := segment
		if i == count-1 {
			want = 7
		}
		if n, _, err := in.ReadFrom(buf); err != nil || n != want {
			t.Fatalf("%s, datagram %d: %d bytes, %v; want %d", addr, i, n, err, want)
		}
	}
}

func BenchmarkPort(b *testing.B) {
	needsRoot(b)
	for _, c := range []struct {
		name    string
		n, size int
	}{{"1x64", 1, 22}, {"32x64", 32, 22}, {"32x1500", 32, 1458}} {
		l := newLoop(b, c.n, c.size)
		for _, way := range []struct {
			name string
			run  func(testing.TB)
		}{{"holder to port", l.there}, {"port to holder", l.back}} {
			b.Run(c.name+"/"+way.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					way.run(b)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.n), "ns/frame")
			})
		}
	}
}
