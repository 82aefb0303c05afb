package tap

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestCreate(t *testing.T) {
	needsRoot(t)
	const nobody = ^uint32(0)
	for name, c := range map[string]struct {
		d            Persistent
		owner, group uint32
		multi        bool
	}{
		"of nobody":      {Persistent{Owner: -1, Group: -1}, nobody, nobody, false},
		"of root":        {Persistent{Owner: 0, Group: -1}, 0, nobody, false},
		"of a group":     {Persistent{Owner: -1, Group: 105}, nobody, 105, false},
		"of both":        {Persistent{Owner: 1000, Group: 105}, 1000, 105, false},
		"several queues": {Persistent{Owner: -1, Group: -1, MultiQueue: true}, nobody, nobody, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t)
			fds := openFDs(t)
			c.d.Device = "vm0"
			s.do(func() error { return Create(c.d) })
			if n := openFDs(t); n != fds {
				t.Errorf("%d descriptors, %d before", n, fds)
			}
			s.do(func() error {
				l, err := netlink.LinkByName("vm0")
				if err != nil {
					return err
				}
				got := l.(*netlink.Tuntap)
				if got.NonPersist || got.Mode != netlink.TUNTAP_MODE_TAP || own(got.Owner, c.owner) != nil || own(got.Group, c.group) != nil {
					t.Errorf("%+v", got)
				}
				if multi := got.Flags&netlink.TUNTAP_MULTI_QUEUE != 0; multi != c.multi {
					t.Errorf("multi-queue: %v", multi)
				}
				if err := Create(c.d); !errors.Is(err, ErrNameInUse) {
					t.Errorf("made twice: %v", err)
				}
				return nil
			})
		})
	}
}

// own compares an id that the kernel leaves out where there is none.
func own(got, want uint32) error {
	if got == want || got == 0 && want == ^uint32(0) {
		return nil
	}
	return errors.New("another owner")
}

func TestCreateErrors(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	if err := Create(Persistent{Device: "a/b"}); !errors.Is(err, ErrBadName) {
		t.Error(err)
	}
	s.do(func() error {
		// An id that no user can have is refused by the kernel after the device has been made: it must not stay.
		if err := Create(Persistent{Device: "vm0", Owner: int(^uint32(0)), Group: -1}); err == nil || !strings.Contains(err.Error(), "give it to user 4294967295") {
			t.Errorf("%v", err)
		}
		return nil
	})
	if s.exists("vm0") {
		t.Error("the device is still there")
	}
}

func TestDiscard(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	if err := Discard("a/b"); !errors.Is(err, ErrBadName) {
		t.Error(err)
	}
	s.do(func() error { return Create(Persistent{Device: "vm0", Owner: -1, Group: -1}) })
	fd := -1
	s.do(func() (err error) {
		if fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		return setInterface(fd, "vm0", unix.IFF_TAP|unix.IFF_NO_PI)
	})
	s.do(func() error {
		if err := Discard("vm0"); !errors.Is(err, ErrNameInUse) {
			t.Errorf("somebody holds it: %v", err)
		}
		return nil
	})
	unix.Close(fd)
	for range 2 {
		s.do(func() error { return Discard("vm0") })
		if s.exists("vm0") {
			t.Error("the device is still there")
		}
	}
}

// TestCreatedForAnother opens what Create made as the other program does.
func TestCreatedForAnother(t *testing.T) {
	needsRoot(t)
	s := newSpace(t)
	s.do(func() error { return Create(Persistent{Device: "vm0", Owner: 1000, Group: -1}) })
	s.do(func() error {
		fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return setInterface(fd, "vm0", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR)
	})
	if !s.exists("vm0") {
		t.Error("the device went with its program")
	}
}
