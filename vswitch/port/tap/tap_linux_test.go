package tap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
	"github.com/vpclab/vpclab/vswitch"
)

const childDevice = "TAP_TEST_DEVICE"

// TestMain also is the process that TestDeviceDiesWithProcess kills.
func TestMain(m *testing.M) {
	if device := os.Getenv(childDevice); device != "" {
		p, err := Open(Config{Device: device})
		fmt.Println("opened", err)
		if err == nil {
			p.Read(0, new(vswitch.Batch))
		}
		select {}
	}
	os.Exit(m.Run())
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"eth0":                  "",
		"vpclab-0123.ab":        "",
		strings.Repeat("x", 15): "",
		strings.Repeat("x", 16): "has 16 bytes",
		"":                      "is empty",
		".":                     "is a path",
		"..":                    "is a path",
		"a b":                   "contains ' '",
		"a/b":                   "contains '/'",
		"a:b":                   "contains ':'",
		"tap%d":                 "contains '%'",
		"a\x00":                 `contains '\x00'`,
	} {
		err := checkName(name)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", name, err)
		case want != "" && (!errors.Is(err, ErrBadName) || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	needsRoot(t)
	for name, test := range map[string]struct {
		device  string
		prepare func() error
		want    error
		texts   []string
	}{
		"name in use": {
			"lo", func() error { return nil },
			ErrNameInUse, []string{`tap "lo"`, "choose another name"},
		},
		"name in use by a TAP": {
			"tap7",
			func() error {
				return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap7"}, Mode: netlink.TUNTAP_MODE_TAP})
			},
			ErrNameInUse, []string{"choose another name"},
		},
		"no capability": {
			"tap7",
			func() error {
				hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
				var none [2]unix.CapUserData
				return unix.Capset(&hdr, &none[0])
			},
			ErrPermission, []string{"needs root or CAP_NET_ADMIN", "netstack"},
		},
		"no device": {
			"tap7",
			func() error {
				return errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
					unix.Mount("none", "/dev/net", "tmpfs", 0, ""))
			},
			ErrNoTUNDevice, []string{"modprobe tun", "--device /dev/net/tun"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fds := openFDs(t)
			var err, perr error
			thread(t, func() {
				var h netns.NsHandle
				if h, perr = netns.New(); perr == nil {
					h.Close()
					perr = test.prepare()
					_, err = Open(Config{Device: test.device})
				}
			})
			if perr != nil {
				t.Fatal(perr)
			}
			if !errors.Is(err, test.want) {
				t.Fatalf("%v, want %v", err, test.want)
			}
			for _, text := range test.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			if n := openFDs(t); n != fds {
				t.Errorf("%d descriptors, %d before", n, fds)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		err  error
		want error
	}{
		{&os.PathError{Op: "open", Path: tunPath, Err: unix.EACCES}, ErrPermission},
		{os.NewSyscallError("ioctl", unix.EPERM), ErrPermission},
		{os.NewSyscallError("ioctl", unix.EBUSY), ErrNameInUse},
		{os.NewSyscallError("TUNSETIFF", unix.EINVAL), ErrNameInUse},
		{unix.ENODEV, ErrNoTUNDevice},
		{unix.ENXIO, ErrNoTUNDevice},
		{unix.ENOMEM, unix.ENOMEM},
	} {
		if got := explain(test.err); !errors.Is(got, test.want) {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

func TestPortDescribesItself(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	p := s.open(Config{Device: "tap0", Label: "web-1", MTU: 9001})
	if p.Name() != "web-1" || p.Device() != "tap0" || p.MTU() != 9001 || p.Queues() != 1 {
		t.Fatalf("%q, %q, %d, %d", p.Name(), p.Device(), p.MTU(), p.Queues())
	}
	if o := p.Offload(); !o.Csum || !o.TSO4 || !o.TSO6 {
		t.Fatalf("%+v", o)
	}
	plain := s.open(Config{Device: "tap1", NoOffload: true})
	if plain.Name() != "tap1" || plain.Offload() != (vswitch.Offload{}) {
		t.Fatalf("%q, %+v", plain.Name(), plain.Offload())
	}
}

// reader collects the frames of one port that a test waits for.
type reader struct {
	t      testing.TB
	p      *Port
	frames chan vswitch.Frame
	end    chan error
}

func read(t testing.TB, p *Port) *reader {
	r := &reader{t: t, p: p, frames: make(chan vswitch.Frame, 1024), end: make(chan error, p.Queues())}
	for q := range p.Queues() {
		go func() {
			var b vswitch.Batch
			for {
				if err := p.Read(q, &b); err != nil {
					r.end <- err
					return
				}
				for i := range b.Len() {
					f := *b.Frame(i)
					f.Buf = append([]byte(nil), f.Buf...)
					r.frames <- f
				}
				b.Release()
			}
		}()
	}
	return r
}

// next waits for a frame that want takes.
func (r *reader) next(what string, want func(h *packet.Headers) bool) vswitch.Frame {
	r.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case f := <-r.frames:
			var h packet.Headers
			if h.Parse(f.Buf); want(&h) {
				return f
			}
		case err := <-r.end:
			r.t.Fatalf("waiting for %s: %v", what, err)
		case <-timeout:
			r.t.Fatalf("no %s", what)
		}
	}
}

func arpReply(h *packet.Headers) bool { return h.Kind == packet.ARP && h.ARPOp == 2 }

var (
	theirMAC = packet.MAC{2, 0, 0, 0, 0, 9}
	them     = netip.MustParseAddr("10.9.0.9")
	us       = netip.MustParseAddr("10.9.0.1")
)

func arpRequest() *vswitch.Frame {
	return &vswitch.Frame{Buf: packet.ARPRequest(nil, theirMAC, packet.AddrFrom(them), packet.AddrFrom(us))}
}

func TestFramesBothWays(t *testing.T) {
	needsRoot(t)
	for name, cfg := range map[string]Config{
		"offload":     {Device: "tap0"},
		"no offload":  {Device: "tap0", NoOffload: true},
		"multi-queue": {Device: "tap0", Queues: 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t)
			p := s.open(cfg, "10.9.0.1/24")
			if p.Queues() != max(cfg.Queues, 1) {
				t.Fatalf("%d queues", p.Queues())
			}
			r := read(t, p)
			for q := range 2 * p.Queues() { // a worker's number may be larger than the number of queues
				if n := p.Write(q, []*vswitch.Frame{arpRequest()}); n != 1 {
					t.Fatalf("wrote %d", n)
				}
				r.next("ARP reply", arpReply)
			}
			s.do(func() error { return send(20 * 1000) })
			f := r.next("datagram", func(h *packet.Headers) bool { return h.Proto == packet.ProtoUDP && h.DstPort == 5000 })
			if f.GSO.NeedsCsum == cfg.NoOffload {
				t.Fatalf("%+v", f.GSO)
			}
			if f.GSO.NeedsCsum && !packet.CompleteChecksum(f.Buf, f.GSO) {
				t.Fatal("cannot complete the checksum")
			}
			if err := packettest.Check(f.Buf); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// send sends a datagram to them, which has to be resolved already.
func send(n int) error {
	c, err := net.Dial("udp4", "10.9.0.9:5000")
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(make([]byte, min(n, 1400)))
	return err
}

func TestClose(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	fds := openFDs(t)
	p := s.open(Config{Device: "tap0", Queues: 2}, "10.9.0.1/24")
	r := read(t, p)
	p.Write(0, []*vswitch.Frame{arpRequest()})
	r.next("ARP reply", arpReply)
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := <-r.end; !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	}
	if err := p.Read(0, new(vswitch.Batch)); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if n := p.Write(0, []*vswitch.Frame{arpRequest()}); n != 0 {
		t.Fatalf("a closed port took %d frames", n)
	}
	if s.exists("tap0") {
		t.Fatal("the device is still there")
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

func TestDeviceDiesWithProcess(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childDevice+"=tap3")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.do(cmd.Start) // the child is in the namespace, too
	line := make([]byte, 64)
	n, _ := out.Read(line)
	if got := string(line[:n]); got != "opened <nil>\n" {
		t.Fatalf("%q", got)
	}
	if !s.exists("tap3") {
		t.Fatal("no device")
	}
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	if s.exists("tap3") {
		t.Fatal("the device outlives its process")
	}
}

func TestDeviceTakenAway(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	p := s.open(Config{Device: "tap0"}, "10.9.0.1/24")
	r := read(t, p)
	s.do(func() error {
		link, err := netlink.LinkByName("tap0")
		return errors.Join(err, netlink.LinkDel(link))
	})
	select {
	case err := <-r.end:
		if errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "tap0") {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Read goes on")
	}
	if n := p.Write(0, []*vswitch.Frame{arpRequest()}); n != 0 {
		t.Fatalf("took %d frames", n)
	}
}

func TestDeviceDown(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	var p *Port
	s.do(func() (err error) { p, err = Open(Config{Device: "tap0"}); return err })
	defer p.Close()
	if n := p.Write(0, []*vswitch.Frame{arpRequest(), arpRequest()}); n != 0 {
		t.Fatalf("a device that is down took %d frames", n)
	}
	if st := p.Stats(); st != (Stats{}) {
		t.Fatalf("%+v", st)
	}
}

func TestInvalidFramesDoNotStopOthers(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	p := s.open(Config{Device: "tap0"}, "10.9.0.1/24")
	r := read(t, p)
	frames := []*vswitch.Frame{
		{},
		{Buf: make([]byte, 5)},
		{Buf: make([]byte, vswitch.MaxFrame+1)},
		{Buf: arpRequest().Buf, GSO: packet.GSO{NeedsCsum: true, CsumStart: 60000, CsumOffset: 16}},
		arpRequest(),
	}
	if n := p.Write(0, frames); n != len(frames) {
		t.Fatalf("wrote %d", n)
	}
	r.next("ARP reply", arpReply)
	if st := p.Stats(); st != (Stats{Refused: 4}) {
		t.Fatalf("%+v", st)
	}
}

func TestPlainPortRefusesUnfinishedFrames(t *testing.T) {
	w := &writer{port: &Port{}}
	for _, g := range []packet.GSO{{NeedsCsum: true}, {Type: packet.GSOTCP4, SegSize: 1000}} {
		if errno := w.writeOne(^uintptr(0), &vswitch.Frame{Buf: make([]byte, 60), GSO: g}); errno != unix.EINVAL {
			t.Errorf("%+v: %v", g, errno)
		}
	}
}

func TestBadHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		n    int
		typ  byte
		lost uint64
	}{
		"good":        {packet.VnetLen + 60, 0, 0},
		"smallest":    {packet.VnetLen + ethernetLen, 0, 0},
		"too short":   {packet.VnetLen + ethernetLen - 1, 0, 1},
		"empty":       {0, 0, 1},
		"unknown GSO": {packet.VnetLen + 60, 0x7f, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var b vswitch.Batch
			b.Next()
			q := &queue{lost: new(counters), vnetLen: packet.VnetLen, batch: &b}
			q.hdr[1] = test.typ
			q.commit(test.n)
			if got := q.lost.badHeader.Load(); got != test.lost || b.Len() != int(1-test.lost) {
				t.Fatalf("%d lost, %d kept", got, b.Len())
			}
		})
	}
}

// TestNoSlabWhileParked looks at what readAll leaves behind when there is nothing to read.
func TestNoSlabWhileParked(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	var p *Port
	s.do(func() (err error) { p, err = Open(Config{Device: "tap0"}); return err })
	defer p.Close()
	var b vswitch.Batch
	q := p.queues[0]
	q.batch = &b
	q.control(func(fd int) error {
		if q.readAll(uintptr(fd)) {
			t.Error("read something from a device that is down")
		}
		return nil
	})
	if !reflect.ValueOf(&b).Elem().FieldByName("slab").IsNil() {
		t.Error("holds a slab")
	}
}

// TestTwelveByteHeader is about devices whose header somebody else made longer.
func TestTwelveByteHeader(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	p := s.open(Config{Device: "tap0"}, "10.9.0.1/24")
	err := p.queues[0].control(func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, packet.VnetMrgLen); err != nil {
			return err
		}
		p.vnetLen = vnetHeaderLen(fd)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.vnetLen != packet.VnetMrgLen {
		t.Fatalf("header of %d bytes", p.vnetLen)
	}
	p.queues[0].vnetLen = p.vnetLen
	p.queues[0].vecs[0].SetLen(p.vnetLen)
	r := read(t, p)
	p.Write(0, []*vswitch.Frame{arpRequest()})
	r.next("ARP reply", arpReply)
}

func TestNoAllocation(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	p := s.open(Config{Device: "tap0"}, "10.9.0.1/24")
	var b vswitch.Batch
	frames := []*vswitch.Frame{arpRequest(), arpRequest(), arpRequest()}
	cycle := func() {
		if p.Write(0, frames) != len(frames) {
			t.Fatal("not taken")
		}
		for got := 0; got < len(frames); got += b.Len() {
			b.Reset()
			if err := p.Read(0, &b); err != nil {
				t.Fatal(err)
			}
		}
	}
	cycle()
	if n := testing.AllocsPerRun(200, cycle); n >= 1 { // a collection may empty the pools now and then
		t.Fatalf("%v allocations a cycle", n)
	}
}

func BenchmarkTAP(b *testing.B) {
	needsRoot(b)
	s := newSpace(b)
	p := s.open(Config{Device: "tap0"}, "10.9.0.1/24")
	b.Run("write", func(b *testing.B) {
		frame := packettest.UDP{Src: netip.AddrPortFrom(them, 1), Dst: netip.AddrPortFrom(us, 9), Payload: make([]byte, 64)}.Bytes()
		frames := []*vswitch.Frame{{Buf: frame}}
		b.ReportAllocs()
		for b.Loop() {
			p.Write(0, frames)
		}
	})
	b.Run("write and read", func(b *testing.B) {
		var batch vswitch.Batch
		frames := []*vswitch.Frame{arpRequest()}
		b.ReportAllocs()
		for b.Loop() {
			p.Write(0, frames)
			batch.Reset()
			if err := p.Read(0, &batch); err != nil {
				b.Fatal(err)
			}
		}
	})
}
