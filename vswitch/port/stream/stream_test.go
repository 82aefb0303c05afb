package stream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/porttest"
	"github.com/vpclab/vpclab/vswitch/port/stream"
)

const patience = 10 * time.Second

// open makes a port that is closed with the test.
func open(t testing.TB, cfg stream.Config) *stream.Port {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "vm-1"
	}
	p, err := stream.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "st-") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "net.sock")
}

// transports are the ways to listen.
func transports(t *testing.T, test func(t *testing.T, p *stream.Port)) {
	t.Run("unix", func(t *testing.T) { test(t, open(t, stream.Config{Network: "unix", Address: socketPath(t)})) })
	t.Run("tcp", func(t *testing.T) { test(t, open(t, stream.Config{Network: "tcp", Address: "127.0.0.1:0"})) })
}

// peer is the far end of a port, as QEMU would be.
type peer struct {
	net.Conn
	t testing.TB
}

// connect connects to a listening port and waits until the port has taken the connection.
func connect(t testing.TB, p *stream.Port) *peer {
	t.Helper()
	before := p.Stats().Connections
	c, err := net.Dial(p.Addr().Network(), p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	await(t, "the port takes the connection", func() bool { return p.Stats().Connections > before })
	return &peer{c, t}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// encode puts frames into the framing.
func encode(frames ...[]byte) []byte {
	var out []byte
	for _, f := range frames {
		out = binary.BigEndian.AppendUint32(out, uint32(len(f)))
		out = append(out, f...)
	}
	return out
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// receive reads one frame.
func (p *peer) receive() []byte {
	p.t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(p, b); err != nil {
		p.t.Fatal(err)
	}
	return b
}

// gone fails unless the port ends the connection.
func (p *peer) gone() {
	p.t.Helper()
	if _, err := io.Copy(io.Discard, p); errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("the port keeps the connection")
	}
}

// frame makes a frame of n bytes that tells frames apart.
func frame(n, mark int) []byte {
	b := bytes.Repeat([]byte{byte(mark)}, n)
	if n >= 14 {
		copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0})
	}
	return b
}

func frames(bufs ...[]byte) []*vswitch.Frame {
	var out []*vswitch.Frame
	for _, b := range bufs {
		out = append(out, &vswitch.Frame{Buf: b})
	}
	return out
}

// reading collects what a port reads until it is closed.
func reading(t testing.TB, p *stream.Port) <-chan []byte {
	got := make(chan []byte, 10000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var b vswitch.Batch
		for {
			b.Reset()
			if err := p.Read(0, &b); err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("read: %v", err)
				}
				return
			}
			if b.Len() == 0 {
				t.Error("Read returned without a frame")
			}
			for i := range b.Len() {
				got <- bytes.Clone(b.Frame(i).Buf)
			}
		}
	}()
	t.Cleanup(func() { p.Close(); <-done })
	return got
}

func want(t testing.TB, got <-chan []byte, frame []byte) {
	t.Helper()
	select {
	case f := <-got:
		if !bytes.Equal(f, frame) {
			t.Fatalf("a frame of %d bytes, %.20x; want %d bytes, %.20x", len(f), f, len(frame), frame)
		}
	case <-time.After(patience):
		t.Fatalf("no frame in %v", patience)
	}
}

func TestFramesBothWays(t *testing.T) {
	transports(t, func(t *testing.T, p *stream.Port) {
		got := reading(t, p)
		c := connect(t, p)
		sizes := []int{1, 13, 14, 60, 1514, 9015, vswitch.MaxFrame}
		var all []byte
		for i, n := range sizes {
			all = append(all, encode(frame(n, i))...)
		}
		c.send(all)
		for i, n := range sizes {
			want(t, got, frame(n, i))
		}
		a, b := frame(60, 1), frame(9015, 2)
		if n := p.Write(7, frames(a, b)); n != 2 {
			t.Fatalf("%d frames taken, want 2", n)
		}
		for _, f := range [][]byte{a, b} {
			if r := c.receive(); !bytes.Equal(r, f) {
				t.Errorf("%.30x arrived, want %.30x", r, f)
			}
		}
		if s := p.Stats(); s != (stream.Stats{Connections: 1}) {
			t.Errorf("%+v", s)
		}
	})
}

// TestEveryBoundary sends two frames in two pieces, cut at every byte.
func TestEveryBoundary(t *testing.T) {
	transports(t, func(t *testing.T, p *stream.Port) {
		got := reading(t, p)
		c := connect(t, p)
		a, b := frame(20, 1), frame(33, 2)
		all := encode(a, b)
		for cut := range all {
			c.send(all[:cut])
			if cut >= 4+len(a) {
				want(t, got, a) // read before the rest is sent
			}
			c.send(all[cut:])
			if cut < 4+len(a) {
				want(t, got, a)
			}
			want(t, got, b)
		}
	})
}

// TestTruncatedAtEveryByte ends connections inside a frame: it is lost with its connection and the next begins anew.
func TestTruncatedAtEveryByte(t *testing.T) {
	transports(t, func(t *testing.T, p *stream.Port) {
		got := reading(t, p)
		a, b := frame(20, 1), frame(33, 2)
		all := encode(a, b)
		cuts := uint64(0)
		for cut := range all {
			c := connect(t, p)
			c.send(all[:cut])
			if cut >= 4+len(a) {
				want(t, got, a)
			}
			c.Close()
			if cut != 0 && cut != 4+len(a) {
				cuts++
			}
			await(t, "the port lets go", func() bool { return !p.Connected() })
			await(t, fmt.Sprintf("cut at %d is counted", cut), func() bool { return p.Stats().Cut == cuts })
		}
		c := connect(t, p)
		c.send(encode(b))
		want(t, got, b)
		if s := p.Stats(); s.BadLength != 0 || s.Replaced != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestBadLength: what no frame can be ends the connection at once, however little of it was sent.
func TestBadLength(t *testing.T) {
	for name, head := range map[string]uint32{
		"0": 0, "one too many": vswitch.MaxFrame + 1, "70,000": 70000, "4 GiB": 1<<32 - 1, "sign": 1 << 31, "text": binary.BigEndian.Uint32([]byte("GET ")),
	} {
		t.Run(name, func(t *testing.T) {
			transports(t, func(t *testing.T, p *stream.Port) {
				got := reading(t, p)
				c := connect(t, p)
				good := frame(60, 1)
				c.send(binary.BigEndian.AppendUint32(encode(good), head))
				want(t, got, good) // what came before counts
				c.gone()
				await(t, "it is counted", func() bool { return p.Stats().BadLength == 1 })
				if p.Connected() || p.Stats().Cut != 0 {
					t.Errorf("connected %v, %+v", p.Connected(), p.Stats())
				}
				if n := p.Counters()["stream_bad_length"]; n != 1 {
					t.Errorf("the counter has %d", n)
				}
				connect(t, p).send(encode(good))
				want(t, got, good)
			})
		})
	}
}

// TestPeerThatNeverReads fills the queue, blocks nobody, and recovers.
func TestPeerThatNeverReads(t *testing.T) {
	transports(t, func(t *testing.T, p *stream.Port) {
		deaf := connect(t, p)
		big := frames(frame(9015, 1))
		taken := 0
		for p.Write(0, big) == 1 {
			if taken++; taken > 1<<16 {
				t.Fatal("the queue has no end")
			}
			if taken%64 == 0 {
				time.Sleep(time.Millisecond) // the writer fills the kernel's buffers
			}
		}
		start := time.Now()
		for range 1000 {
			p.Write(0, big)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("1,000 refused writes took %v", d)
		}
		if n := len(frame(9015, 1)); taken < stream.DefaultDepth/n {
			t.Errorf("only %d frames were taken", taken)
		}
		c := connect(t, p) // takes the deaf one's place
		deaf.gone()
		if s := p.Stats(); s.Replaced != 1 {
			t.Errorf("%+v", s)
		}
		mark := frame(60, 9)
		if p.Write(0, frames(mark)) != 1 {
			t.Fatal("a new connection takes nothing")
		}
		if r := c.receive(); !bytes.Equal(r, mark) {
			t.Errorf("%.20x arrived first: from the old connection's queue?", r)
		}
	})
}

// TestHalfWrittenFrame reads only a part of a frame and goes away: the rest is never sent to the next peer.
func TestHalfWrittenFrame(t *testing.T) {
	transports(t, func(t *testing.T, p *stream.Port) {
		c := connect(t, p)
		for p.Write(0, frames(frame(9015, 1))) == 1 {
		}
		if _, err := io.ReadFull(c, make([]byte, 1001)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		await(t, "the port lets go", func() bool { return !p.Connected() })
		if p.Write(0, frames(frame(60, 2))) != 0 {
			t.Error("a frame was taken while nobody is connected")
		}
		c = connect(t, p)
		p.Write(0, frames(frame(60, 3)))
		if r := c.receive(); !bytes.Equal(r, frame(60, 3)) {
			t.Errorf("%.30x arrived first", r)
		}
	})
}

// TestConnects: the agent connects, before there is a listener, and again after the connection or the listener went.
func TestConnects(t *testing.T) {
	path := socketPath(t)
	p := open(t, stream.Config{Network: "unix", Address: path, Connect: true})
	got := reading(t, p)
	if p.Addr() != nil {
		t.Errorf("a port that connects listens at %v", p.Addr())
	}
	for round := range 3 {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := p.WaitConnected(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			f := frame(100, round)
			if _, err := c.Write(append(encode(f), 0, 0, 1)); err != nil { // cut inside the next
				t.Fatal(err)
			}
			want(t, got, f)
			c.Close()
		}
		l.Close()
	}
	await(t, "all cuts are counted", func() bool { return p.Stats().Cut == 6 })
}

// TestDialRests: a peer that talks nonsense is not asked again without a pause.
func TestDialRests(t *testing.T) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := open(t, stream.Config{Network: "unix", Address: path, Connect: true})
	reading(t, p)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("HTTP/1.1 400 Bad Request\r\n"))
		}
	}()
	time.Sleep(time.Second)
	if n := p.Stats().Connections; n < 2 || n > 20 {
		t.Errorf("%d connections in a second", n)
	}
	if n := p.Stats().BadLength; n == 0 {
		t.Error("none was counted as bad")
	}
}

func TestWaitConnectedEnds(t *testing.T) {
	p := open(t, stream.Config{Network: "unix", Address: socketPath(t)})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.WaitConnected(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ended := make(chan error)
	go func() { ended <- p.WaitConnected(t.Context()) }()
	p.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestTwoPorts: an agent has many sockets, and one peer's faults are its own.
func TestTwoPorts(t *testing.T) {
	a := open(t, stream.Config{Name: "a", Network: "unix", Address: socketPath(t)})
	b := open(t, stream.Config{Name: "b", Network: "tcp", Address: "127.0.0.1:0"})
	cable := porttest.Connect(t, a, b)
	pa, pb := connect(t, a), connect(t, b)
	for i := range 100 {
		f := frame(60+i, i)
		pa.send(encode(f))
		if r := pb.receive(); !bytes.Equal(r, f) {
			t.Fatalf("frame %d: %.20x", i, r)
		}
		pb.send(encode(f, f))
		for range 2 {
			if r := pa.receive(); !bytes.Equal(r, f) {
				t.Fatalf("frame %d back: %.20x", i, r)
			}
		}
	}
	pa.send([]byte{0xff, 0xff, 0xff, 0xff})
	pa.gone()
	f := frame(80, 1)
	pa = connect(t, a)
	pb.send(encode(f))
	if r := pa.receive(); !bytes.Equal(r, f) {
		t.Errorf("%.20x", r)
	}
	if n := b.Stats().Connections; n != 1 {
		t.Errorf("the other port had %d connections", n)
	}
	if cable.Frames.Load() != 301 || cable.Lost.Load() != 0 {
		t.Errorf("%d frames, %d lost", cable.Frames.Load(), cable.Lost.Load())
	}
}

func TestRefusedFrames(t *testing.T) {
	p := open(t, stream.Config{Network: "unix", Address: socketPath(t), MTU: 1500})
	c := connect(t, p)
	good := frame(1514, 1)
	batch := []*vswitch.Frame{
		{Buf: frame(13, 0)}, {Buf: frame(1515, 0)}, {Buf: nil}, {Buf: frame(100, 0), GSO: packet.GSO{NeedsCsum: true}},
		{Buf: frame(100, 0), GSO: packet.GSO{Type: packet.GSOTCP4, SegSize: 10}}, {Buf: good},
	}
	if n := p.Write(0, batch); n != len(batch) {
		t.Errorf("%d taken, want all %d", n, len(batch))
	}
	if r := c.receive(); !bytes.Equal(r, good) {
		t.Errorf("%.20x arrived", r)
	}
	if n := p.Counters()["stream_refused"]; n != 5 {
		t.Errorf("%d were counted, want 5", n)
	}
}

// TestOneFrameAlwaysFits: a queue that is smaller than a frame still carries it.
func TestOneFrameAlwaysFits(t *testing.T) {
	p := open(t, stream.Config{Network: "unix", Address: socketPath(t), Depth: 100})
	c := connect(t, p)
	if p.Write(0, frames(frame(9015, 1))) != 1 {
		t.Fatal("not taken")
	}
	if n := len(c.receive()); n != 9015 {
		t.Errorf("%d bytes arrived", n)
	}
}

func TestNothingAfterClose(t *testing.T) {
	transports(t, func(t *testing.T, p *stream.Port) {
		c := connect(t, p)
		addr := p.Addr()
		for range 2 {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
		c.gone()
		var b vswitch.Batch
		if err := p.Read(0, &b); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if n := p.Write(0, frames(frame(60, 1))); n != 0 {
			t.Errorf("Write took %d", n)
		}
		if _, err := net.Dial(addr.Network(), addr.String()); err == nil {
			t.Error("somebody still listens")
		}
		if addr.Network() == "unix" {
			if _, err := os.Lstat(addr.String()); err == nil {
				t.Error("the socket is still there")
			}
		}
	})
}

func TestAddresses(t *testing.T) {
	long := "/" + strings.Repeat("x", 150)
	for name, c := range map[string]struct {
		cfg  stream.Config
		want string
	}{
		"long path":    {stream.Config{Network: "unix", Address: long}, "has 151 bytes and"},
		"long, dialed": {stream.Config{Network: "unix", Address: long, Connect: true}, "use a shorter directory"},
		"no path":      {stream.Config{Network: "unix"}, "no path"},
		"no folder":    {stream.Config{Network: "unix", Address: "/nonexistent/x.sock"}, "no such file"},
		"any address":  {stream.Config{Network: "tcp", Address: "0.0.0.0:5000"}, "only a loopback address is allowed"},
		"no port":      {stream.Config{Network: "tcp", Address: "127.0.0.1"}, "want ADDRESS:PORT"},
		"udp":          {stream.Config{Network: "udp", Address: "127.0.0.1:5000"}, "want unix or tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Name = "vm-1"
			p, err := stream.Open(c.cfg)
			if err == nil {
				p.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "stream vm-1: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSocketFile(t *testing.T) {
	path := socketPath(t)
	cfg := stream.Config{Name: "vm-1", Network: "unix", Address: path}
	p := open(t, cfg)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := stream.Open(cfg); err == nil || !strings.Contains(err.Error(), "another process listens at") {
		t.Errorf("a second listener: %v", err)
	}
	p.Close()
	// One whose process died is in nobody's way.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	open(t, cfg).Close()
	// Anything else is.
	if err := os.WriteFile(path, []byte("dear diary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Open(cfg); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("over a file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "dear diary" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// TestReconnectStorm replaces connections while frames go both ways.
func TestReconnectStorm(t *testing.T) {
	transports(t, func(t *testing.T, p *stream.Port) {
		got := reading(t, p)
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					p.Write(0, frames(frame(500, 1), frame(60, 2)))
				}
			}
		}()
		for i := range 100 {
			c := connect(t, p)
			c.send(encode(frame(60, i)))
			if i%2 == 0 {
				for f := range got { // those of a replaced connection come or do not
					if bytes.Equal(f, frame(60, i)) {
						break
					}
				}
				c.send([]byte{0, 0, 1}) // half a length, then gone
				for range 3 {
					if n := len(c.receive()); n != 500 && n != 60 {
						t.Fatalf("a frame of %d bytes arrived", n)
					}
				}
				c.Close()
			}
		}
		close(stop)
		<-done
	})
}
