package tap_test

import (
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// A holder is a process of its own that holds a TAP, as QEMU does: behind it is a machine with a network stack, which here
// is a namespace that the process made. It serves on the machine: what is sent to port 5000 is answered with its length and
// checksum; port 5001 sends as many bytes as the line says that it was asked with, and then their checksum.
const (
	holderEnv = "TAP_TEST_HOLDER"
	sinkPort  = 5000
	tapePort  = 5001
)

// holderSpec is what the holder's environment says.
type holderSpec struct {
	device, prefix, mac, gateway string
	mtu                          int
	existing                     bool // the device is there already: attach to it
	plain                        bool // no offload of the TAP
	slow                         bool // no offload of the machine
}

func (h holderSpec) String() string {
	return strings.Join([]string{h.device, h.prefix, h.mac, h.gateway, fmt.Sprint(h.mtu), fmt.Sprint(h.existing), fmt.Sprint(h.plain), fmt.Sprint(h.slow)}, " ")
}

// holder is the other process's main.
func holder(text string) {
	var h holderSpec
	_, err := fmt.Sscan(text, &h.device, &h.prefix, &h.mac, &h.gateway, &h.mtu, &h.existing, &h.plain, &h.slow)
	if err == nil {
		err = h.run()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin) // until the test closes it
	os.Exit(0)
}

func (h holderSpec) run() error {
	var held vswitch.Port
	var err error
	if h.existing {
		held, err = openExisting(h.device)
	} else {
		held, err = tap.Open(tap.Config{Device: h.device, MTU: h.mtu, NoOffload: h.plain})
		if err == nil {
			err = withLink(h.device, func(l netlink.Link) error { return netlink.LinkSetMTU(l, h.mtu) })
		}
	}
	if err != nil {
		return err
	}
	var machine *tap.Port
	space, err := newSpace()
	if err != nil {
		return err
	}
	err = inSpace(space, func() (err error) {
		machine, err = tap.Open(tap.Config{Device: "eth0", MTU: h.mtu, NoOffload: h.slow})
		if err != nil {
			return err
		}
		return errors.Join(h.configure(), h.serve())
	})
	if err != nil {
		return err
	}
	go pump(held, machine)
	go pump(machine, held)
	return nil
}

func (h holderSpec) configure() error {
	mac, err := net.ParseMAC(h.mac)
	if err != nil {
		return err
	}
	return withLink("eth0", func(l netlink.Link) error {
		p := netip.MustParsePrefix(h.prefix)
		return errors.Join(
			netlink.LinkSetHardwareAddr(l, mac), netlink.LinkSetMTU(l, h.mtu),
			netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}),
			netlink.LinkSetUp(l),
			netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(h.gateway)}))
	})
}

func (h holderSpec) serve() error {
	for port, serve := range map[int]func(net.Conn) error{sinkPort: sink, tapePort: tape} {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if err := serve(c); err != nil {
						fmt.Fprintln(os.Stderr, "holder:", err)
					}
				}()
			}
		}()
	}
	return nil
}

func sink(c net.Conn) error {
	h := newHash()
	n, err := io.Copy(h, c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c, "%d %x\n", n, h.Sum(nil))
	return err
}

func tape(c net.Conn) error {
	var n int64
	if _, err := fmt.Fscanln(c, &n); err != nil {
		return err
	}
	h := newHash()
	if _, err := io.Copy(io.MultiWriter(c, h), io.LimitReader(new(pattern), n)); err != nil {
		return err
	}
	_, err := c.Write(h.Sum(nil))
	return err
}

func newHash() hash.Hash64 { return crc64.New(crc64.MakeTable(crc64.ECMA)) }

// pattern is bytes that do not repeat soon.
type pattern struct{ x uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := 0; i < len(b); i += 8 {
		p.x = p.x*6364136223846793005 + 1442695040888963407
		for k := i; k < min(i+8, len(b)); k++ {
			b[k] = byte(p.x >> (8 * (k - i)))
		}
	}
	return len(b), nil
}

// pump carries frames from one port to another; ports without offload are asked for nothing else.
func pump(from, to vswitch.Port) {
	var b vswitch.Batch
	for {
		if err := from.Read(0, &b); err != nil {
			return
		}
		frames := make([]*vswitch.Frame, b.Len())
		for i := range frames {
			frames[i] = b.Frame(i)
		}
		to.Write(0, frames)
		b.Release()
	}
}

// plainTAP is a queue of an existing TAP, without virtio-net headers.
type plainTAP struct{ f *os.File }

func openExisting(name string) (*plainTAP, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &plainTAP{os.NewFile(uintptr(fd), name)}, nil
}

func (p *plainTAP) Name() string             { return p.f.Name() }
func (p *plainTAP) MTU() int                 { return 1500 }
func (p *plainTAP) Offload() vswitch.Offload { return vswitch.Offload{} }
func (p *plainTAP) Queues() int              { return 1 }
func (p *plainTAP) Close() error             { return p.f.Close() }

func (p *plainTAP) Read(_ int, b *vswitch.Batch) error {
	room := b.Next()
	n, err := p.f.Read(room)
	if err == nil {
		b.Commit(n, b.Frame(0).GSO)
	}
	return err
}

func (p *plainTAP) Write(_ int, frames []*vswitch.Frame) int {
	for _, f := range frames {
		p.f.Write(f.Buf)
	}
	return len(frames)
}

// Namespaces.

func newSpace() (space netns.NsHandle, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and ends in it
		space, err = netns.New()
	}()
	<-done
	return space, err
}

func inSpace(space netns.NsHandle, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(space); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

func withLink(name string, fn func(netlink.Link) error) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return fn(l)
}

// room is a namespace of the test's own in which TAPs are.
type room struct {
	t      testing.TB
	handle netns.NsHandle
}

func newRoom(t testing.TB) *room {
	t.Helper()
	h, err := newSpace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &room{t, h}
}

// path names the namespace for any process.
func (r *room) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(r.handle)) }

func (r *room) do(fn func() error) {
	r.t.Helper()
	if err := inSpace(r.handle, fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r *room) exists(name string) (found bool) {
	r.do(func() error {
		_, err := netlink.LinkByName(name)
		found = err == nil
		return nil
	})
	return found
}
