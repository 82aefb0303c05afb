package conntrack

import (
	"sync"
	"sync/atomic"
	"time"
)

// Timeouts are how long a half may be idle before its flow counts as over, in either direction.
// A zero field takes its value from [DefaultTimeouts]; more than 20 days counts as 20 days. The
// resolution is about 1/16 s.
type Timeouts struct {
	TCPEstablished time.Duration
	TCPHalfOpen    time.Duration // no handshake yet; picked up mid-stream and not answered
	TCPClosing     time.Duration // a FIN was seen, not both acknowledged
	TCPTimeWait    time.Duration // closed in order
	TCPClosed      time.Duration // closed by RST
	UDPStream      time.Duration // more than one request-response
	UDP            time.Duration // one direction only, or a single request-response
	ICMP           time.Duration
	Other          time.Duration // other protocols
	Rejected       time.Duration // how long a rejection is remembered
}

// DefaultTimeouts are AWS's where it publishes them (EC2 user guide, "security group connection
// tracking", idle connection tracking timeout; 600 s for other protocols), else those of the kernel
// (nf_conntrack-sysctl: tcp_timeout_syn_sent, _fin_wait, _time_wait, _close, icmp_timeout).
var DefaultTimeouts = Timeouts{
	TCPEstablished: 432000 * time.Second,
	TCPHalfOpen:    120 * time.Second,
	TCPClosing:     120 * time.Second,
	TCPTimeWait:    120 * time.Second,
	TCPClosed:      10 * time.Second,
	UDPStream:      180 * time.Second,
	UDP:            30 * time.Second,
	ICMP:           30 * time.Second,
	Other:          600 * time.Second,
	Rejected:       10 * time.Second,
}

const maxTimeout = 20 * 24 * time.Hour

// limits are timeouts by state, in milliseconds.
type limits [stateCount]uint32

func (t Timeouts) limits() (l limits) {
	d := DefaultTimeouts
	set := func(v, def time.Duration, states ...State) {
		if v <= 0 {
			v = def
		}
		for _, s := range states {
			l[s] = uint32(max(min(v, maxTimeout), time.Millisecond) / time.Millisecond)
		}
	}
	set(t.TCPEstablished, d.TCPEstablished, Established)
	set(t.TCPHalfOpen, d.TCPHalfOpen, SynSent, SynRecv, PickedUp)
	set(t.TCPClosing, d.TCPClosing, FinWait, LastAck)
	set(t.TCPTimeWait, d.TCPTimeWait, TimeWait)
	set(t.TCPClosed, d.TCPClosed, Close)
	set(t.UDPStream, d.UDPStream, UDPStream)
	set(t.UDP, d.UDP, UDPRequest, UDPReplied, UDPAgain)
	set(t.ICMP, d.ICMP, ICMPQuery)
	set(t.Other, d.Other, Other)
	set(t.Rejected, d.Rejected, Rejected)
	return l
}

// interned are all sets of limits that halves of this process name by number. Slots hold no pointers,
// and a hit must find its limit without touching another line of the table. Interfaces have few
// different sets; they are never forgotten.
var interned = func() *limitSets {
	s := &limitSets{numbers: map[limits]uint16{}}
	s.list.Store(&[]limits{})
	return s
}()

type limitSets struct {
	mu      sync.Mutex
	numbers map[limits]uint16
	list    atomic.Pointer[[]limits] // append-only
}

// maxLimits bounds the sets: a slot has 16 bits for the number.
const maxLimits = 1 << 16

// number returns the set's number, and false if there are maxLimits different ones already.
func (s *limitSets) number(l limits) (uint16, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.numbers[l]; ok {
		return n, true
	}
	old := *s.list.Load()
	if len(old) == maxLimits {
		return 0, false
	}
	n := uint16(len(old))
	s.numbers[l] = n
	list := append(old, l) // readers of the shorter list do not look behind its end
	s.list.Store(&list)
	return n, true
}

// limit is the timeout of state word w in milliseconds.
func limit(w uint64) uint32 {
	return (*interned.list.Load())[w>>limitsShift][stateOf(w)]
}
