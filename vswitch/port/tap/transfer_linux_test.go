package tap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/vswitch/port/porttest"
)

// two are two namespaces whose TAPs are joined.
type two struct {
	a, b  *space
	cable *porttest.Cable
}

func join(t testing.TB, cfg Config) *two {
	w := &two{a: newSpace(t), b: newSpace(t)}
	a := w.a.open(cfg, "10.9.0.1/24", "fd00:9::1/64")
	b := w.b.open(cfg, "10.9.0.2/24", "fd00:9::2/64")
	w.cable = porttest.Connect(t, a, b)
	return w
}

// TestTransfer sends a few MB through two kernels and checks them, with whatever frames the kernels choose.
func TestTransfer(t *testing.T) {
	needsRoot(t)
	const size = 8 << 20
	for _, test := range []struct {
		name  string
		cfg   Config
		addr  string
		super bool
	}{
		{"IPv4", Config{Device: "tap0"}, "10.9.0.2", true},
		{"IPv6", Config{Device: "tap0"}, "fd00:9::2", true},
		{"jumbo", Config{Device: "tap0", MTU: 9001}, "10.9.0.2", true},
		{"multi-queue", Config{Device: "tap0", Queues: 2}, "10.9.0.2", true},
		{"no offload", Config{Device: "tap0", NoOffload: true}, "10.9.0.2", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := join(t, test.cfg)
			var l net.Listener
			w.b.do(func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(test.addr, "5001")); return err })
			defer l.Close()
			sum := make(chan string, 1)
			go func() {
				c, err := l.Accept()
				if err != nil {
					sum <- err.Error()
					return
				}
				defer c.Close()
				h := sha256.New()
				n, err := io.Copy(h, c)
				sum <- fmt.Sprintf("%d %x %v", n, h.Sum(nil), err)
			}()
			data := make([]byte, size)
			rand.NewChaCha8([32]byte{1}).Read(data)
			var c net.Conn
			w.a.do(func() (err error) { c, err = net.DialTimeout("tcp", l.Addr().String(), 10*time.Second); return err })
			_, err := io.Copy(c, bytes.NewReader(data))
			if err = errors.Join(err, c.Close()); err != nil {
				t.Fatal(err)
			}
			if got, want := <-sum, fmt.Sprintf("%d %x %v", size, sha256.Sum256(data), nil); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			if super := w.cable.Super.Load(); (super > 0) != test.super {
				t.Fatalf("%d super-frames of %d frames", super, w.cable.Frames.Load())
			}
			t.Logf("%d frames, %d of them super-frames, %d lost", w.cable.Frames.Load(), w.cable.Super.Load(), w.cable.Lost.Load())
		})
	}
}

// TestUDPSegments sends one UDP super-frame; the other kernel takes it apart.
func TestUDPSegments(t *testing.T) {
	needsRoot(t)
	w := join(t, Config{Device: "tap0"})
	if !w.cableOffloadsUSO() {
		t.Log("the kernel has no USO: its own segments are tested")
	}
	var in net.PacketConn
	var out net.Conn
	w.b.do(func() (err error) { in, err = net.ListenPacket("udp", "10.9.0.2:5002"); return err })
	defer in.Close()
	w.a.do(func() (err error) { out, err = net.Dial("udp", "10.9.0.2:5002"); return err })
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
	in.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1<<16)
	for i := range count {
		n, _, err := in.ReadFrom(buf)
		want := segment
		if i == count-1 {
			want = 7
		}
		if err != nil || n != want {
			t.Fatalf("datagram %d: %d bytes, %v; want %d", i, n, err, want)
		}
	}
	if w.cableOffloadsUSO() && w.cable.Super.Load() == 0 {
		t.Fatal("no super-frame")
	}
}

func (w *two) cableOffloadsUSO() bool { return w.cable.A().Offload().USO }
