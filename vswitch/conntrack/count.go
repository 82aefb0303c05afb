package conntrack

import "github.com/vpclab/vpclab/packet"

// Counters is what was counted of one direction since the last drain.
type Counters struct {
	Packets  uint64
	Bytes    uint64
	TCPFlags uint8 // as flow logs have them: FIN, SYN, RST, and ACK where it came with a SYN
	First    int64 // time of the first and the last packet, to a millisecond
	Last     int64
}

// The upper four bits of a byte counter are TCP flags: what flow logs record is SYN, FIN, RST, and ACK
// only together with SYN (VPC user guide, flow log records, tcp-flags).
const (
	flagsShift = 60
	bytesMask  = 1<<flagsShift - 1
	loggedFIN  = 1 << flagsShift
	loggedSYN  = 2 << flagsShift
	loggedRST  = 4 << flagsShift
	loggedACK  = 8 << flagsShift
)

func logged(tcpFlags uint8) uint64 {
	f := uint64(tcpFlags&(packet.FIN|packet.SYN|packet.RST)) << flagsShift
	if tcpFlags&synAckFlags == synAckFlags {
		f |= loggedACK
	}
	return f
}

func tcpFlags(word uint64) uint8 {
	f := uint8(word>>flagsShift) & (packet.FIN | packet.SYN | packet.RST)
	if word&loggedACK != 0 {
		f |= packet.ACK
	}
	return f
}

// Count adds packets to direction d: of a super-frame, the wire packets it stands for and their bytes.
// tcpFlags are those of the packet, 0 for other protocols; those that flow logs do not know are ignored.
func (h *Half) Count(d Dir, packets uint32, bytes uint64, tcpFlags uint8, now int64) {
	c, ms := &h.dir[d&1], millis(now)
	if c.packets.Load() == 0 {
		h.cold().first[d&1].Store(ms)
	}
	if c.last.Load() != ms {
		c.last.Store(ms)
	}
	sum := c.bytes.Add(bytes)
	if f := logged(tcpFlags); sum&f != f {
		c.bytes.Or(f)
	}
	c.packets.Add(packets)
}

// Drain takes what was counted of direction d. Each packet and each byte is drained exactly once,
// whoever counts meanwhile; a packet that is being counted at this moment may have its bytes in this
// drain and itself in the next.
func (h *Half) Drain(d Dir) Counters {
	c, first := &h.dir[d&1], &h.cold().first[d&1]
	if c.packets.Load() == 0 {
		return Counters{}
	}
	near := h.table().clock.Load()
	packets := c.packets.Swap(0)
	f := first.Load()
	l := c.last.Load()
	first.Store(l) // for a packet that is counted between: it did not see the counter empty
	word := c.bytes.Swap(0)
	if packets == 0 { // another drain was faster
		h.giveBack(c, word)
		return Counters{}
	}
	if int32(l-f) < 0 {
		f = l
	}
	return Counters{
		Packets: uint64(packets), Bytes: word & bytesMask, TCPFlags: tcpFlags(word),
		First: nanos(f, near), Last: nanos(l, near),
	}
}

func (h *Half) giveBack(c *direction, word uint64) {
	if word == 0 {
		return
	}
	c.bytes.Add(word & bytesMask)
	c.bytes.Or(word &^ bytesMask)
}
