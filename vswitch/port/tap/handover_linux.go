package tap

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// Handover is what a process has to know, besides the descriptors, of a device that another process opened.
type Handover struct {
	Device  string          `json:"device"`
	VnetLen int             `json:"vnetLen"`
	Offload vswitch.Offload `json:"offload"`
}

// HandOver gives descriptors of the port's queues, to be sent to another process, which calls Adopt. They are the
// caller's; the port is to be closed when they have been sent, and the device then lives as long as the other's.
func (p *Port) HandOver() (Handover, []*os.File, error) {
	var files []*os.File
	for _, q := range p.queues {
		err := q.control(func(fd int) error {
			copied, err := duplicate(fd)
			if err == nil {
				files = append(files, os.NewFile(uintptr(copied), tunPath))
			}
			return err
		})
		if err != nil {
			return Handover{}, nil, errors.Join(fmt.Errorf("tap %q: %w", p.device, err), closeAll(files))
		}
	}
	return Handover{Device: p.device, VnetLen: p.vnetLen, Offload: p.offload}, files, nil
}

// Adopt makes a port of descriptors that another process's port handed over, one a queue. It takes them, also where
// it fails. cfg is that of the other's Open.
func Adopt(cfg Config, h Handover, files []*os.File) (*Port, error) {
	p := &Port{cfg: cfg.withDefaults(), device: h.Device, offload: h.Offload, vnetLen: h.VnetLen}
	err := p.adopt(files)
	closeAll(files)
	if err != nil {
		p.closeQueues()
		return nil, fmt.Errorf("tap %q: %w", h.Device, err)
	}
	return p, nil
}

func (p *Port) adopt(files []*os.File) error {
	if len(files) != p.cfg.Queues {
		return fmt.Errorf("%d descriptors came for %d queues", len(files), p.cfg.Queues)
	}
	if p.vnetLen != 0 && p.vnetLen != packet.VnetLen && p.vnetLen != packet.VnetMrgLen {
		return fmt.Errorf("virtio-net header of %d bytes", p.vnetLen)
	}
	for _, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return err
		}
		fd := -1
		cerr := raw.Control(func(old uintptr) { fd, err = duplicate(int(old)) })
		if err = errors.Join(cerr, err); err != nil {
			return err
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(fd)
			return err
		}
		q, err := p.newQueue(fd)
		if err != nil {
			return err
		}
		p.queues = append(p.queues, q)
	}
	return nil
}

func duplicate(fd int) (int, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return copied, os.NewSyscallError("fcntl", err)
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
