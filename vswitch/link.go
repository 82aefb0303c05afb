package vswitch

import (
	"sync"

	"github.com/vpclab/vpclab/packet"
)

// link is a port attached to a network interface, with its workers.
type link struct {
	id      string // of the interface
	num     uint32
	port    Port
	mtu     int
	offload Offload
	counts  counts
	workers []*worker
	running sync.WaitGroup
}

func newLink(sw *Switch, id string, num uint32, p Port) *link {
	l := &link{id: id, num: num, port: p, mtu: p.MTU(), offload: p.Offload()}
	for q := range p.Queues() {
		l.workers = append(l.workers, newWorker(sw, sw.table, l, q))
	}
	return l
}

func (l *link) start() {
	for _, w := range l.workers {
		l.running.Go(func() { _ = w.loop() }) // a port's only error is that it was closed
	}
}

// stop closes the port and waits for its workers.
func (l *link) stop() error {
	err := l.port.Close()
	l.running.Wait()
	return err
}

// takes tells whether the port takes a frame as it is.
func (l *link) takes(f *Frame) bool {
	switch f.GSO.Type {
	case packet.GSOTCP4:
		return l.offload.TSO4 && l.offload.Csum && (!f.GSO.ECN || l.offload.ECN) && l.fits(f)
	case packet.GSOTCP6:
		return l.offload.TSO6 && l.offload.Csum && (!f.GSO.ECN || l.offload.ECN) && l.fits(f)
	case packet.GSOUDP:
		return l.offload.USO && l.offload.Csum && l.fits(f)
	}
	return (!f.GSO.NeedsCsum || l.offload.Csum) && len(f.Buf)-packet.EthernetLen <= l.mtu
}

// fits tells whether the segments of a super-frame are within the MTU; 60 and 60 bytes are the largest
// IPv4 and TCP headers, and a closer look is only worth it where those do not fit.
func (l *link) fits(f *Frame) bool {
	if int(f.GSO.SegSize)+120 <= l.mtu {
		return true
	}
	var h packet.Headers
	h.Parse(f.Buf)
	return int(f.GSO.SegSize)+int(h.Payload-h.L3) <= l.mtu
}
