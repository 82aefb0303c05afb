package tap

import (
	"net"
	"sync"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/afpacket"
)

// solicitEvery is how often an instance whose MAC is not known is asked for it: as often as a host repeats an ARP request.
const solicitEvery = time.Second

// solicitor asks an instance for its MAC, in the router's name, until it is learnt: one that waits to be talked to would
// never send its first frame, since nobody can talk to it before.
type solicitor struct {
	frame []byte // an ARP request for the instance's address
	tell  func(net.HardwareAddr)

	mu    sync.Mutex
	known bool          // of the device that is there now
	now   chan struct{} // it can be asked
	done  chan struct{}
	over  sync.WaitGroup
}

// newSolicitor is nil where the MAC was given.
func newSolicitor(s instances.Spec) *solicitor {
	if s.TAP.Learn == nil {
		return nil
	}
	so := &solicitor{tell: s.TAP.Learn, now: make(chan struct{}, 1), done: make(chan struct{})}
	for _, p := range s.Prefixes {
		for _, gw := range s.Gateways {
			if p.Addr().Is4() && gw.Is4() && so.frame == nil {
				so.frame = packet.ARPRequest(nil, vswitch.RouterMAC, packet.AddrFrom(gw), packet.AddrFrom(p.Addr()))
			}
		}
	}
	return so
}

// learn is afpacket.Config.Learn.
func (so *solicitor) learn(m packet.MAC) {
	so.set(true)
	so.tell(net.HardwareAddr(m[:]))
}

func (so *solicitor) set(known bool) {
	so.mu.Lock()
	defer so.mu.Unlock()
	so.known = known
}

func (so *solicitor) wants() bool {
	so.mu.Lock()
	defer so.mu.Unlock()
	return !so.known
}

// see notes a change of state: a device that is let go of is another one when it comes back.
func (so *solicitor) see(s afpacket.State) {
	switch s {
	case afpacket.Unplugged:
	case afpacket.Attached:
		select {
		case so.now <- struct{}{}:
		default:
		}
	default:
		so.set(false)
	}
}

// run asks by way of p until close.
func (so *solicitor) run(p vswitch.Port) {
	if so.frame == nil {
		return
	}
	so.over.Go(func() {
		t := time.NewTicker(solicitEvery)
		defer t.Stop()
		frames := []*vswitch.Frame{{Buf: so.frame}}
		for {
			if so.wants() {
				p.Write(0, frames)
			}
			select {
			case <-t.C:
			case <-so.now:
			case <-so.done:
				return
			}
		}
	})
}

func (so *solicitor) close() {
	close(so.done)
	so.over.Wait()
}
