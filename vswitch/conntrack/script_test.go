package conntrack_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch/conntrack"
)

// A script is a connection as an interface sees it, a line a packet:
//
//	> SYN seq=0            the opener's packet (as the interface of a client: leaves the instance)
//	< SYN ACK seq=500 ack=1
//	> ACK seq=1 ack=501 len=10 : ESTABLISHED
//	< ACK ... : closed     the outcome, where it is not pass, or the state afterwards
//	wait 3s
//
// A reopen resets the half, as the pipeline does.
func script(t *testing.T, opener conntrack.Dir, lines string) *conntrack.Half {
	t.Helper()
	w := newWorld(t, conntrack.Config{})
	var h *conntrack.Half
	for n, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		what, want, _ := strings.Cut(line, " :")
		f := strings.Fields(what)
		if len(f) == 0 {
			continue
		}
		if f[0] == "wait" {
			d, err := time.ParseDuration(f[1])
			if err != nil {
				t.Fatal(err)
			}
			w.now += int64(d)
			continue
		}
		d := opener
		if f[0] == "<" {
			d = 1 - opener
		}
		s, in := segment(t, f[1:]), conntrack.Init{Opener: d, Tracked: true}
		in.TCPFlags, in.TCPSeq, in.TCPLen = s.Flags, s.Seq, s.Len
		out := conntrack.Pass
		if h == nil {
			h = w.insert(key(1, packet.ProtoTCP, 1), in)
		} else if out = h.TrackSegment(d, s, w.now); out == conntrack.Reopen {
			h.Reset(in, w.now)
		}
		want = strings.TrimSpace(want)
		isOutcome := want == "closed" || want == "reopen" || want == "expired"
		if isOutcome && out.String() != want || !isOutcome && out != conntrack.Pass {
			t.Fatalf("line %d, %q: %v, state %v", n+1, line, out, h.State())
		}
		if want != "" && !isOutcome && h.State().String() != want {
			t.Fatalf("line %d, %q: state is %v", n+1, line, h.State())
		}
	}
	return h
}

func segment(t *testing.T, words []string) (s conntrack.Segment) {
	t.Helper()
	flags := map[string]uint8{"FIN": packet.FIN, "SYN": packet.SYN, "RST": packet.RST, "PSH": packet.PSH, "ACK": packet.ACK}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			if flags[w] == 0 {
				t.Fatalf("no flag %q", w)
			}
			s.Flags |= flags[w]
			continue
		}
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		*map[string]*uint32{"seq": &s.Seq, "ack": &s.Ack, "len": &s.Len}[name] = uint32(n)
	}
	return s
}

func TestPickedUp(t *testing.T) {
	for _, test := range []struct {
		first string
		want  bool
	}{{"> SYN", false}, {"> SYN ACK", true}, {"> ACK", true}, {"> FIN ACK", true}, {"> RST", true}} {
		if h := script(t, conntrack.Out, test.first); h.PickedUp() != test.want {
			t.Errorf("%s: picked up is %v", test.first, h.PickedUp())
		}
	}
	h := script(t, conntrack.Out, "> ACK\n< ACK")
	if !h.PickedUp() || h.HalfOpen() {
		t.Errorf("an answered one: picked up %v, half-open %v", h.PickedUp(), h.HalfOpen())
	}
}

// TestFlagsOnly is the close as a caller sees it that knows no sequence numbers.
func TestFlagsOnly(t *testing.T) {
	const out, in = conntrack.Out, conntrack.In
	w := newWorld(t, conntrack.Config{})
	h := w.insert(key(1, packet.ProtoTCP, 1), conntrack.Init{Opener: out, TCPFlags: packet.SYN})
	for i, step := range []struct {
		d     conntrack.Dir
		flags uint8
		want  conntrack.Outcome
		state conntrack.State
	}{
		{in, packet.SYN | packet.ACK, conntrack.Pass, conntrack.SynRecv},
		{out, packet.ACK, conntrack.Pass, conntrack.Established},
		{out, packet.PSH | packet.ACK, conntrack.Pass, conntrack.Established},
		{out, packet.FIN | packet.ACK, conntrack.Pass, conntrack.FinWait},
		{in, packet.ACK, conntrack.Pass, conntrack.FinWait},
		{in, packet.FIN | packet.ACK, conntrack.Pass, conntrack.LastAck},
		{out, packet.ACK, conntrack.Pass, conntrack.TimeWait},
		{in, packet.FIN | packet.ACK, conntrack.Pass, conntrack.TimeWait},
		{in, packet.FIN | packet.PSH | packet.ACK, conntrack.Pass, conntrack.TimeWait},
		{out, packet.ACK, conntrack.Pass, conntrack.TimeWait},
		{in, packet.RST, conntrack.Pass, conntrack.TimeWait},
		{in, packet.PSH | packet.ACK, conntrack.Closed, conntrack.TimeWait},
		{in, packet.SYN, conntrack.Reopen, conntrack.TimeWait},
	} {
		if got := h.Track(step.d, step.flags, 0); got != step.want || h.State() != step.state {
			t.Fatalf("step %d: %v, %v", i, got, h.State())
		}
	}
}

func TestSegmentOf(t *testing.T) {
	h := packet.Headers{Proto: packet.ProtoTCP, TCPFlags: packet.FIN, TCPSeq: 5, TCPAck: 6, Payload: 54, End: 64}
	if got := conntrack.SegmentOf(&h); got != (conntrack.Segment{Flags: packet.FIN, Seq: 5, Ack: 6, Len: 10}) {
		t.Errorf("%+v", got)
	}
	h.Proto = packet.ProtoUDP
	if got := conntrack.SegmentOf(&h); got != (conntrack.Segment{}) {
		t.Errorf("UDP: %+v", got)
	}
}
