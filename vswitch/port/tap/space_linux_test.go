package tap

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat(tunPath); err != nil {
		t.Skip("needs /dev/net/tun")
	}
}

// thread runs fn on a thread that ends with it, and may therefore be left in any namespace.
func thread(t testing.TB, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		fn()
	}()
	<-done
}

// space is a network namespace that the test made.
type space struct {
	t      testing.TB
	handle netns.NsHandle
}

func newSpace(t testing.TB) *space {
	t.Helper()
	s := &space{t: t}
	var err error
	thread(t, func() { s.handle, err = netns.New() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.handle.Close() })
	return s
}

// do runs fn in the namespace. fn must not call t.Fatal.
func (s *space) do(fn func() error) {
	s.t.Helper()
	var err error
	thread(s.t, func() {
		if err = netns.Set(s.handle); err == nil {
			err = fn()
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// open makes a TAP in the namespace, up, with the addresses.
func (s *space) open(cfg Config, prefixes ...string) *Port {
	s.t.Helper()
	var p *Port
	s.do(func() (err error) {
		if p, err = Open(cfg); err != nil {
			return err
		}
		return up(cfg, prefixes)
	})
	s.t.Cleanup(func() { p.Close() })
	return p
}

func up(cfg Config, prefixes []string) error {
	os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", cfg.Device, "accept_dad"), []byte("0"), 0)
	link, err := netlink.LinkByName(cfg.Device)
	if err != nil {
		return err
	}
	for _, text := range prefixes {
		p := netip.MustParsePrefix(text)
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
	}
	if cfg.MTU > 0 {
		if err := netlink.LinkSetMTU(link, cfg.MTU); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

// exists says whether the namespace has the device.
func (s *space) exists(name string) (found bool) {
	s.do(func() error {
		_, err := net.InterfaceByName(name)
		found = err == nil
		return nil
	})
	return found
}

func openFDs(t testing.TB) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}
