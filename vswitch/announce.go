package vswitch

import "github.com/vpclab/vpclab/packet"

// announce tells the neighbours of each interface that has another MAC than before where it is now, by gratuitous ARP (RFC
// 5227, section 3) and unsolicited neighbour advertisement (RFC 4861, 7.2.6): what they send to the old MAC goes nowhere.
// In AWS no MAC changes; here that of another program's machine is learnt after its interface has been made. It is no
// more than a hint: a neighbour that does not get it finds out when its entry has gone stale.
func (s *Switch) announce(old, next *Snapshot) {
	for id, e := range next.byID {
		if was := old.byID[id]; was == nil || was.mac == e.mac {
			continue
		}
		frames := e.announcements()
		for _, n := range next.byID {
			if n != e && n.subnet.id == e.subnet.id && n.link != nil {
				n.link.port.Write(0, frames)
			}
		}
	}
}

// announcements are the frames that say where an interface's addresses are.
func (e *eni) announcements() []*Frame {
	var frames []*Frame
	for _, a := range e.addrs {
		var b []byte
		if a.Is4() {
			b = packet.ARPRequest(nil, e.mac, a, a)
		} else {
			b = packet.NeighborAdvertisement(nil, &packet.Headers{NDTarget: a}, e.mac, false)
		}
		frames = append(frames, &Frame{Buf: b})
	}
	return frames
}
