package tap

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// TestHandOver: an adopted port is as the one that was opened, and the device lives as long as it does.
func TestHandOver(t *testing.T) {
	needsRoot(t)
	for name, cfg := range map[string]Config{
		"offload":     {Device: "tap0", Label: "web-1", MTU: 9001},
		"no offload":  {Device: "tap0", NoOffload: true},
		"multi-queue": {Device: "tap0", Queues: 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t)
			fds := openFDs(t)
			opened := s.open(cfg, "10.9.0.1/24")
			h, files, err := opened.HandOver()
			if err != nil || len(files) != opened.Queues() {
				t.Fatalf("%d files, %v", len(files), err)
			}
			opened.Close()
			p, err := Adopt(cfg, through(t, h), files)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if p.Name() != opened.Name() || p.Device() != "tap0" || p.MTU() != opened.MTU() || p.Queues() != opened.Queues() || p.Offload() != opened.Offload() {
				t.Errorf("%q, %q, %d, %d, %+v; opened: %q, %d, %d, %+v", p.Name(), p.Device(), p.MTU(), p.Queues(), p.Offload(),
					opened.Name(), opened.MTU(), opened.Queues(), opened.Offload())
			}
			r := read(t, p)
			for q := range p.Queues() {
				if n := p.Write(q, []*vswitch.Frame{arpRequest()}); n != 1 {
					t.Fatalf("wrote %d", n)
				}
				r.next("ARP reply", arpReply)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			for range p.Queues() {
				if err := <-r.end; !errors.Is(err, net.ErrClosed) {
					t.Fatal(err)
				}
			}
			if s.exists("tap0") {
				t.Error("the device is still there")
			}
			if n := openFDs(t); n != fds {
				t.Errorf("%d descriptors, %d before", n, fds)
			}
		})
	}
}

// through sends what is known of a device as a message would.
func through(t *testing.T, h Handover) (out Handover) {
	t.Helper()
	text, err := json.Marshal(h)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil || out != h {
		t.Fatalf("%+v became %+v, %v", h, out, err)
	}
	return out
}

func TestAdoptErrors(t *testing.T) {
	pipe := func() *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		return r
	}
	fds := openFDs(t)
	closed := pipe()
	closed.Close()
	for want, test := range map[string]struct {
		cfg   Config
		h     Handover
		files []*os.File
	}{
		"0 descriptors came for 1 queues": {Config{Device: "tap0"}, Handover{VnetLen: packet.VnetLen}, nil},
		"2 descriptors came for 1 queues": {Config{Device: "tap0"}, Handover{VnetLen: packet.VnetLen}, []*os.File{pipe(), pipe()}},
		"1 descriptors came for 2 queues": {Config{Device: "tap0", Queues: 2}, Handover{}, []*os.File{pipe()}},
		"virtio-net header of 11 bytes":   {Config{Device: "tap0"}, Handover{VnetLen: 11}, []*os.File{pipe()}},
		"virtio-net header of -1 bytes":   {Config{Device: "tap0"}, Handover{VnetLen: -1}, []*os.File{pipe()}},
		"use of closed file":              {Config{Device: "tap0", Queues: 2}, Handover{}, []*os.File{pipe(), closed}},
	} {
		if _, err := Adopt(test.cfg, test.h, test.files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

func TestHandOverClosed(t *testing.T) {
	needsRoot(t)
	p := newSpace(t).open(Config{Device: "tap0"})
	p.Close()
	if _, files, err := p.HandOver(); err == nil || files != nil {
		t.Errorf("%v, %v", files, err)
	}
}
