package afpacket

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

const patience = 10 * time.Second

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("needs /dev/net/tun")
	}
}

// room is a network namespace that the test made.
type room struct {
	t      testing.TB
	handle netns.NsHandle
}

func newRoom(t testing.TB) *room {
	t.Helper()
	r := &room{t: t}
	err := onThread(func() (err error) {
		r.handle, err = netns.New()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.handle.Close() })
	return r
}

// onThread runs fn on a thread that ends with it.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	return <-done
}

// try runs fn in the namespace.
func (r *room) try(fn func() error) error {
	return onThread(func() error {
		if err := netns.Set(r.handle); err != nil {
			return err
		}
		return fn()
	})
}

func (r *room) do(fn func() error) {
	r.t.Helper()
	if err := r.try(fn); err != nil {
		r.t.Fatal(err)
	}
}

// hold makes a TAP as the program does that holds it; the kernel's end is left down and without addresses.
func (r *room) hold(name string, cfg tap.Config) *tap.Port {
	r.t.Helper()
	var p *tap.Port
	cfg.Device = name
	r.do(func() (err error) {
		if p, err = tap.Open(cfg); err == nil && cfg.MTU > 0 {
			err = r.link(name, func(l netlink.Link) error { return netlink.LinkSetMTU(l, cfg.MTU) })
		}
		return err
	})
	r.t.Cleanup(func() { p.Close() })
	return p
}

// host makes a TAP whose kernel's end is a host with addresses.
func (r *room) host(cfg tap.Config, prefixes ...string) *tap.Port {
	r.t.Helper()
	p := r.hold("eth0", cfg)
	r.do(func() error {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/eth0/accept_dad", []byte("0"), 0)
		for _, prefix := range prefixes {
			if err := r.address("eth0", prefix); err != nil {
				return err
			}
		}
		return r.link("eth0", netlink.LinkSetUp)
	})
	return p
}

// link and address are called within the namespace.
func (*room) link(name string, fn func(netlink.Link) error) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return fn(l)
}

func (r *room) address(name, text string) error {
	p := netip.MustParsePrefix(text)
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return r.link(name, func(l netlink.Link) error { return netlink.AddrAdd(l, a) })
}

// attach takes a device.
func (r *room) attach(cfg Config) *Port {
	r.t.Helper()
	var p *Port
	r.do(func() (err error) { p, err = Open(cfg); return err })
	r.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return p
}

func (r *room) knob(path string) (text string) {
	r.do(func() error {
		b, err := os.ReadFile(filepath.Join("/proc/sys/net", path))
		text = string(b)
		return err
	})
	return text
}

// log keeps the events of a port.
type log struct {
	t testing.TB

	mu     sync.Mutex
	events []Event
	more   chan struct{}
}

func newLog(t testing.TB) *log { return &log{t: t, more: make(chan struct{}, 1)} }

func (l *log) add(e Event) {
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// wait returns the first event of a state that has not been waited for, and forgets those before it.
func (l *log) wait(s State) Event {
	l.t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		if i := slices.IndexFunc(l.events, func(e Event) bool { return e.State == s }); i >= 0 {
			e := l.events[i]
			l.events = l.events[i+1:]
			l.mu.Unlock()
			return e
		}
		seen := slices.Clone(l.events)
		l.mu.Unlock()
		select {
		case <-l.more:
		case <-timeout:
			l.t.Fatalf("no event %q; since the last one came %v", s, seen)
		}
	}
}

// ready waits until the port can send.
func ready(t testing.TB, p *Port) {
	t.Helper()
	for end := time.Now().Add(patience); p.State().State != Attached; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v", p.State())
		}
	}
}

// reader collects the frames of a port.
type frameReader struct {
	t      testing.TB
	frames chan vswitch.Frame
	end    chan error
}

func read(t testing.TB, p vswitch.Port) *frameReader {
	r := &frameReader{t: t, frames: make(chan vswitch.Frame, 4096), end: make(chan error, 1)}
	go func() {
		var b vswitch.Batch
		for {
			if err := p.Read(0, &b); err != nil {
				r.end <- err
				return
			}
			for i := range b.Len() {
				f := *b.Frame(i)
				f.Buf = slices.Clone(f.Buf)
				r.frames <- f
			}
			b.Release()
		}
	}()
	return r
}

// next waits for a frame that want takes.
func (r *frameReader) next(what string, want func(f vswitch.Frame, h *packet.Headers) bool) vswitch.Frame {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case f := <-r.frames:
			var h packet.Headers
			if h.Parse(f.Buf); want(f, &h) {
				return f
			}
		case err := <-r.end:
			r.t.Fatalf("waiting for %s: %v", what, err)
		case <-timeout:
			r.t.Fatalf("no %s", what)
		}
	}
}

// none fails if such a frame is there.
func (r *frameReader) none(what string, want func(f vswitch.Frame, h *packet.Headers) bool) {
	r.t.Helper()
	for {
		select {
		case f := <-r.frames:
			var h packet.Headers
			if h.Parse(f.Buf); want(f, &h) {
				r.t.Fatalf("%s came through", what)
			}
		default:
			return
		}
	}
}

func udpTo(port uint16) func(vswitch.Frame, *packet.Headers) bool {
	return func(_ vswitch.Frame, h *packet.Headers) bool { return h.Proto == packet.ProtoUDP && h.DstPort == port }
}
