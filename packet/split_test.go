package packet_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

// naiveSplit is the splitter as the RFCs and virtio describe it, with bytes put together one segment
// at a time and every sum computed anew.
func naiveSplit(frame []byte, h *packet.Headers, g packet.GSO) (segments [][]byte) {
	head, data := frame[:h.Payload], frame[h.Payload:h.End]
	for i := 0; len(data) > 0; i++ {
		n := min(int(g.SegSize), len(data))
		s := append(bytes.Clone(head), data[:n]...)
		data = data[n:]
		ip, l4 := s[14:], s[h.L4:]
		proto := byte(6)
		if g.Type == packet.GSOUDP {
			proto = 17
			binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
			binary.BigEndian.PutUint16(l4[6:], 0)
		} else {
			binary.BigEndian.PutUint32(l4[4:], binary.BigEndian.Uint32(l4[4:])+uint32(i*int(g.SegSize)))
			if len(data) > 0 {
				l4[13] &^= packet.FIN | packet.PSH
			}
			if i > 0 {
				l4[13] &^= packet.CWR
			}
			binary.BigEndian.PutUint16(l4[16:], 0)
		}
		var pseudo []byte
		if ip[0]>>4 == 4 {
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
			binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(i))
			binary.BigEndian.PutUint16(ip[10:], 0)
			binary.BigEndian.PutUint16(ip[10:], ^naiveSum(ip[:int(ip[0]&15)*4], 0))
			pseudo = bytes.Clone(ip[12:20])
		} else {
			binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
			pseudo = bytes.Clone(ip[8:40])
		}
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(l4)))
		pseudo = append(pseudo, 0, 0, 0, proto)
		sum := ^naiveSum(append(pseudo, l4...), 0)
		if sum == 0 {
			sum = 0xffff
		}
		at := 16
		if proto == 17 {
			at = 6
		}
		binary.BigEndian.PutUint16(l4[at:], sum)
		segments = append(segments, s)
	}
	return segments
}

// split collects copies of the segments.
func split(frame []byte, h *packet.Headers, g packet.GSO, scratch []byte) (segments [][]byte, ok bool) {
	ok = packet.Split(frame, h, g, scratch, func(s []byte) bool {
		segments = append(segments, bytes.Clone(s))
		return true
	})
	return segments, ok
}

func checkSplit(t *testing.T, name string, frame []byte, g packet.GSO, scratchLen int) {
	t.Helper()
	var h packet.Headers
	h.Parse(frame)
	before := bytes.Clone(frame)
	got, ok := split(frame, &h, g, make([]byte, scratchLen))
	if !ok {
		t.Fatalf("%s: refused", name)
	}
	if !bytes.Equal(frame, before) {
		t.Fatalf("%s: the super-frame was written to", name)
	}
	want := naiveSplit(frame, &h, g)
	if len(got) != len(want) {
		t.Fatalf("%s: %d segments, want %d", name, len(got), len(want))
	}
	total := uint64(0)
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("%s, segment %d of %d:\n got % x\nwant % x", name, i, len(got), got[i][:min(90, len(got[i]))], want[i][:min(90, len(want[i]))])
		}
		total += uint64(len(got[i]) - 14)
	}
	if n, sum := packet.Segments(&h, g); int(n) != len(got) || sum != total {
		t.Fatalf("%s: Segments says %d and %d bytes, Split made %d and %d", name, n, sum, len(got), total)
	}
}

func TestSplit(t *testing.T) {
	for _, s := range superFrames() {
		var h packet.Headers
		h.Parse(s.frame)
		for _, scratch := range []int{packet.SplitLen(&h, s.gso), int(h.Payload) + int(s.gso.SegSize), 4000} {
			checkSplit(t, s.name, s.frame, s.gso, scratch)
		}
		got, _ := split(s.frame, &h, s.gso, make([]byte, 2000))
		for i, segment := range got {
			if err := packettest.Check(segment); err != nil {
				t.Errorf("%s, segment %d: %v", s.name, i, err)
			}
		}
	}
}

// What only the first and the last segment have, in numbers written by hand.
func TestSplitFields(t *testing.T) {
	in := tcp4
	in.IP.ID, in.Seq, in.Payload = 0xffff, 0xfffffffe, []byte("0123456789abcdefghij")
	in.Flags = packet.CWR | packet.ECE | packet.ACK | packet.PSH | packet.FIN
	frame, g := packettest.Offload(in.Bytes(), 8)
	var h packet.Headers
	h.Parse(frame)
	got, ok := split(frame, &h, g, make([]byte, 100))
	if !ok || len(got) != 3 {
		t.Fatalf("%d segments, %t", len(got), ok)
	}
	for i, want := range []packettest.TCP{
		{IP: packettest.IP{ID: 0xffff}, Seq: 0xfffffffe, Flags: packet.CWR | packet.ECE | packet.ACK, Payload: []byte("01234567")},
		{IP: packettest.IP{ID: 0}, Seq: 6, Flags: packet.ECE | packet.ACK, Payload: []byte("89abcdef")},
		{IP: packettest.IP{ID: 1}, Seq: 14, Flags: packet.ECE | packet.ACK | packet.PSH | packet.FIN, Payload: []byte("ghij")},
	} {
		want.Src, want.Dst, want.Ack, want.Window = in.Src, in.Dst, in.Ack, in.Window
		if b := want.Bytes(); !bytes.Equal(got[i], b) {
			t.Errorf("segment %d:\n got % x\nwant % x", i, got[i], b)
		}
	}
	if n, total := packet.Segments(&h, g); n != 3 || total != 48+48+44 {
		t.Errorf("%d packets of %d bytes", n, total)
	}
}

func TestSplitDatagrams(t *testing.T) {
	for _, in := range []packettest.UDP{udp4, udp6} {
		in.Payload = []byte("0123456789")
		frame, g := packettest.Offload(in.Bytes(), 4)
		var h packet.Headers
		h.Parse(frame)
		got, ok := split(frame, &h, g, make([]byte, 100))
		if !ok || len(got) != 3 {
			t.Fatalf("%d segments, %t", len(got), ok)
		}
		for i, payload := range []string{"0123", "4567", "89"} {
			want := in
			want.IP.ID, want.Payload = uint16(i), []byte(payload)
			if b := want.Bytes(); !bytes.Equal(got[i], b) {
				t.Errorf("datagram %d:\n got % x\nwant % x", i, got[i], b)
			}
		}
	}
}

func TestSplitSizes(t *testing.T) {
	for size := 1; size < 60; size++ {
		for seg := uint16(8); seg < 64; seg += 5 {
			in := tcp6
			in.Flags, in.Payload, in.Options = packet.ACK|packet.PSH, ramp(size), nil
			frame, g := packettest.Offload(in.Bytes(), seg)
			checkSplit(t, "tcp6", frame, g, 200)
			u := udp4
			u.Payload = ramp(size)
			frame, g = packettest.Offload(u.Bytes(), seg)
			checkSplit(t, "udp4", frame, g, 200)
		}
	}
}

// Ethernet padding is no payload, and options and extension headers go into every segment.
func TestSplitOddFrames(t *testing.T) {
	in := tcp4
	in.IP.Options = []byte{1, 1, 1, 1, 0x94, 4, 0, 0}
	in.Payload = ramp(40)
	checkSplit(t, "ip options", in.Bytes(), packet.GSO{Type: packet.GSOTCP4, SegSize: 16}, 1000)
	u := udp4
	u.Payload = ramp(10)
	checkSplit(t, "padding", packettest.Pad(u.Bytes()), packet.GSO{Type: packet.GSOUDP, SegSize: 4}, 1000)
	six := udp6
	six.Payload = ramp(30)
	six.IP.Extensions = []packettest.Extension{{Proto: packet.ProtoHopByHop}, {Proto: packet.ProtoDstOptions, Body: make([]byte, 14)}}
	checkSplit(t, "extensions", six.Bytes(), packet.GSO{Type: packet.GSOUDP, SegSize: 7}, 1000)
}

// A frame that is no super-frame comes out as one, complete.
func TestSplitWhole(t *testing.T) {
	frame, g := packettest.Offload(tcp4.Bytes(), 0)
	var h packet.Headers
	h.Parse(frame)
	got, ok := split(frame, &h, g, make([]byte, len(frame)))
	if !ok || len(got) != 1 || !bytes.Equal(got[0], tcp4.Bytes()) {
		t.Errorf("%t % x", ok, got)
	}
	if n, total := packet.Segments(&h, g); n != 1 || total != uint64(h.TotalLen) {
		t.Errorf("%d packets of %d bytes", n, total)
	}
	if _, ok := split(frame, &h, g, make([]byte, len(frame)-1)); ok {
		t.Error("scratch too small was taken")
	}
	arp := frameOf(t, "arp")
	h.Parse(arp)
	if got, ok := split(arp, &h, packet.GSO{}, make([]byte, 100)); !ok || !bytes.Equal(got[0], arp) {
		t.Error("ARP")
	}
	if n, total := packet.Segments(&h, packet.GSO{}); n != 1 || total != 0 {
		t.Errorf("ARP is %d packets of %d IP bytes", n, total)
	}
}

func TestSplitRefuses(t *testing.T) {
	in := tcp4
	in.Payload = ramp(100)
	frame, g := packettest.Offload(in.Bytes(), 10)
	var h packet.Headers
	h.Parse(frame)
	lie := g
	lie.Type = packet.GSOTCP6
	for name, c := range map[string]struct {
		frame   []byte
		gso     packet.GSO
		scratch int
	}{
		"shorter than parsed":  {frame[:100], g, 1000},
		"wrong type":           {frame, lie, 1000},
		"no room":              {frame, g, 63},
		"no scratch":           {frame, g, 0},
		"segment size nothing": {frame, packet.GSO{Type: packet.GSOTCP4}, 1000},
	} {
		if got, ok := split(c.frame, &h, c.gso, make([]byte, c.scratch)); ok || len(got) > 0 {
			t.Errorf("%s: %d segments, %t", name, len(got), ok)
		}
	}
	if n, total := packet.Segments(&h, lie); n != 0 || total != 0 {
		t.Errorf("a lie counts %d packets of %d bytes", n, total)
	}
	bad := packet.GSO{NeedsCsum: true, CsumStart: 34, CsumOffset: 2}
	if n, _ := packet.Segments(&h, bad); n != 0 {
		t.Error("a checksum over the destination port counts as a packet")
	}
	if _, ok := split(frame, &h, bad, make([]byte, 1000)); ok {
		t.Error("a checksum was written over the destination port")
	}
	calls := 0
	if packet.Split(frame, &h, g, make([]byte, 1000), func([]byte) bool { calls++; return calls < 3 }) || calls != 3 {
		t.Errorf("stopped after %d calls", calls)
	}
}

// With SplitLen bytes of scratch all segments stay, side by side, and none can grow into the next.
func TestSplitKeepsSegments(t *testing.T) {
	for _, s := range superFrames() {
		var h packet.Headers
		h.Parse(s.frame)
		scratch := make([]byte, packet.SplitLen(&h, s.gso))
		var kept [][]byte
		packet.Split(s.frame, &h, s.gso, scratch, func(b []byte) bool { kept = append(kept, b); return true })
		used := 0
		for i, want := range naiveSplit(s.frame, &h, s.gso) {
			if !bytes.Equal(kept[i], want) || cap(kept[i]) != len(kept[i]) || &kept[i][0] != &scratch[used] {
				t.Fatalf("%s: segment %d did not stay", s.name, i)
			}
			used += len(want)
		}
		if used != len(scratch) {
			t.Errorf("%s: SplitLen says %d, %d were used", s.name, len(scratch), used)
		}
	}
}

func TestSplitDoesNotAllocate(t *testing.T) {
	for _, s := range superFrames() {
		var h packet.Headers
		h.Parse(s.frame)
		scratch := make([]byte, 2000)
		total := 0
		if n := testing.AllocsPerRun(10, func() {
			packet.Split(s.frame, &h, s.gso, scratch, func(b []byte) bool { total += len(b); return true })
			packet.Segments(&h, s.gso)
			packet.CompleteChecksum(s.frame, packet.GSO{})
		}); n != 0 || total == 0 {
			t.Errorf("%s: %v allocations, %d bytes", s.name, n, total)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.frame, uint8(1), uint16(8), uint16(100))
		f.Add(s.frame, uint8(3), uint16(3), uint16(1000))
	}
	in := tcp6
	in.Payload, in.Flags = ramp(100), 0xff
	f.Add(in.Bytes(), uint8(2), uint16(30), uint16(200))
	f.Fuzz(func(t *testing.T, frame []byte, typ uint8, seg, room uint16) {
		if len(frame) > 34 && frame[12] == 0x08 && frame[13] == 0 && 14+int(frame[14]&15)*4 <= len(frame) {
			frame = fix4(frame, func([]byte) {})
		}
		var h packet.Headers
		h.Parse(frame)
		g := packet.GSO{Type: packet.GSOType(typ % 5), SegSize: seg}
		got, ok := split(frame, &h, g, make([]byte, room))
		if g.Type == packet.GSONone {
			return
		}
		n, total := packet.Segments(&h, g)
		if !ok {
			if len(got) > 0 {
				t.Fatal("refused after emitting")
			}
			return
		}
		want := naiveSplit(frame, &h, g)
		if len(got) != len(want) || int(n) != len(want) {
			t.Fatalf("%d segments, %d counted, want %d", len(got), n, len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("segment %d:\n got % x\nwant % x", i, got[i], want[i])
			}
			total -= uint64(len(want[i]) - 14)
			var part packet.Headers
			if part.Parse(got[i]); part.Tuple() != h.Tuple() || int(part.End) != len(got[i]) {
				t.Fatalf("segment %d parses as %+v", i, part)
			}
		}
		if total != 0 {
			t.Fatalf("Segments is %d bytes off", int64(total))
		}
	})
}
