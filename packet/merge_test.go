package packet_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/packet/packettest"
)

// segment is one frame of a stream to merge.
type segment struct {
	frame []byte
	gso   packet.GSO
}

// merged is what a run made: a super-frame in one piece.
type merged struct {
	frame []byte
	gso   packet.GSO
	n     int
}

// mergeAll runs frames of one flow through runs, one after the other, as an output does.
func mergeAll(frames []segment) []merged {
	var out []merged
	var r packet.Run
	heads := make([]packet.Headers, len(frames))
	var whole []byte
	var head []byte
	for i := range frames {
		h := &heads[i]
		h.Parse(frames[i].frame)
		if tail, ok := r.Take(frames[i].frame, h, frames[i].gso); ok {
			whole = append(whole, tail...)
			continue
		}
		if whole != nil {
			g := r.Finish()
			copy(whole, head) // Finish changed the first frame's headers
			out = append(out, merged{whole, g, r.Segments()})
		}
		head = append([]byte(nil), frames[i].frame...)
		h.Parse(head)
		end := len(head)
		if h.Kind != packet.Unknown && h.End > 0 {
			end = int(h.End)
		}
		head = head[:end]
		whole = append([]byte(nil), head...)
		r.Start(head, h, frames[i].gso)
	}
	if whole != nil {
		g := r.Finish()
		copy(whole, head)
		out = append(out, merged{whole, g, r.Segments()})
	}
	return out
}

// splitRun gives the wire frames of a super-frame.
func splitRun(t testing.TB, m merged) [][]byte {
	t.Helper()
	var h packet.Headers
	h.Parse(m.frame)
	if !m.gso.Valid(&h) {
		t.Fatalf("a run of %d made invalid metadata %+v", m.n, m.gso)
	}
	var out [][]byte
	ok := packet.Split(m.frame, &h, m.gso, make([]byte, packet.SplitLen(&h, m.gso)), func(s []byte) bool {
		out = append(out, append([]byte(nil), s...))
		return true
	})
	if !ok {
		t.Fatal("the super-frame cannot be split")
	}
	return out
}

var (
	from4, to4 = netip.MustParseAddrPort("10.0.0.1:40000"), netip.MustParseAddrPort("10.0.0.2:80")
	from6, to6 = netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::2]:80")
)

// stream makes segments in sequence, of the given sizes.
func stream(v6 bool, sizes ...int) []packettest.TCP {
	var out []packettest.TCP
	seq := uint32(4_294_967_000) // wraps
	for i, n := range sizes {
		s := packettest.TCP{Src: from4, Dst: to4, Flags: packet.ACK, Seq: seq, Ack: 7, Window: 500, Payload: bytes.Repeat([]byte{byte(i)}, n)}
		s.IP = packettest.IP{ID: uint16(100 + i), DontFragment: true}
		if v6 {
			s.Src, s.Dst, s.IP = from6, to6, packettest.IP{}
		}
		seq += uint32(n)
		out = append(out, s)
	}
	return out
}

func framesOf[T interface{ Bytes() []byte }](list []T) []segment {
	var out []segment
	for _, s := range list {
		out = append(out, segment{frame: s.Bytes()})
	}
	return out
}

// counts are how many frames each result stands for.
func counts(ms []merged) string {
	var ns []int
	for _, m := range ms {
		ns = append(ns, m.n)
	}
	return fmt.Sprint(ns)
}

// TestMergeTCP says for each way in which a stream can differ what GRO makes of it.
func TestMergeTCP(t *testing.T) {
	full := []int{1000, 1000, 1000, 1000}
	tests := []struct {
		name   string
		sizes  []int
		change func([]packettest.TCP)
		want   string
	}{
		{"in sequence", full, nil, "[4]"},
		{"the last is shorter", []int{1000, 1000, 10}, nil, "[3]"},
		{"a short one ends it", []int{1000, 10, 1000, 1000}, nil, "[2 2]"},
		{"a longer one", []int{1000, 1001, 1001}, nil, "[1 2]"},
		{"empty", []int{0, 0, 1000, 1000}, nil, "[1 1 2]"},
		{"PSH ends it", full, func(s []packettest.TCP) { s[1].Flags |= packet.PSH }, "[2 2]"},
		{"PSH on the first", full, func(s []packettest.TCP) { s[0].Flags |= packet.PSH }, "[1 3]"},
		{"FIN", full, func(s []packettest.TCP) { s[2].Flags |= packet.FIN }, "[2 1 1]"},
		{"URG", full, func(s []packettest.TCP) { s[2].Flags |= packet.URG }, "[2 1 1]"},
		{"SYN", full, func(s []packettest.TCP) { s[0].Flags = packet.SYN }, "[1 3]"},
		{"ECE", full, func(s []packettest.TCP) { s[1].Flags |= packet.ECE }, "[1 1 2]"},
		{"CWR", full, func(s []packettest.TCP) { s[1].Flags |= packet.CWR }, "[1 1 2]"},
		{"a gap", full, func(s []packettest.TCP) { s[2].Seq++; s[3].Seq++ }, "[2 2]"},
		{"reordered", full, func(s []packettest.TCP) { s[1].Seq, s[2].Seq = s[2].Seq, s[1].Seq }, "[1 1 1 1]"},
		{"another acknowledgement", full, func(s []packettest.TCP) { s[2].Ack++; s[3].Ack++ }, "[2 2]"},
		{"another window", full, func(s []packettest.TCP) { s[2].Window++; s[3].Window++ }, "[2 2]"},
		{"the same options", full, func(s []packettest.TCP) {
			for i := range s {
				s[i].Options = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
			}
		}, "[4]"},
		{"another timestamp", full, func(s []packettest.TCP) {
			for i := range s {
				s[i].Options = []byte{1, 1, 8, 10, 0, 0, 0, byte(i / 2), 0, 0, 0, 2}
			}
		}, "[2 2]"},
		{"another TTL", full, func(s []packettest.TCP) { s[2].IP.TTL, s[3].IP.TTL = 63, 63 }, "[2 2]"},
		{"another TOS", full, func(s []packettest.TCP) { s[2].IP.TOS, s[3].IP.TOS = 2, 2 }, "[2 2]"},
	}
	for _, tt := range tests {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/v6=%v", tt.name, v6), func(t *testing.T) {
				s := stream(v6, tt.sizes...)
				if tt.change != nil {
					tt.change(s)
				}
				in := framesOf(s)
				got := mergeAll(in)
				if counts(got) != tt.want {
					t.Errorf("merged %s, want %s", counts(got), tt.want)
				}
				checkRuns(t, in, got)
			})
		}
	}
}

// checkRuns holds that splitting what was merged gives the frames that came, but for PSH, which the last
// of a run keeps, and identifications that do not count.
func checkRuns(t *testing.T, in []segment, got []merged) {
	t.Helper()
	i := 0
	for _, m := range got {
		if m.n == 1 {
			if !bytes.Equal(m.frame, in[i].frame[:len(m.frame)]) {
				t.Errorf("frame %d stayed alone and was changed", i)
			}
			i++
			continue
		}
		parts := splitRun(t, m)
		if len(parts) != m.n {
			t.Fatalf("a run of %d splits into %d", m.n, len(parts))
		}
		for _, p := range parts {
			if err := packettest.Check(p); err != nil {
				t.Errorf("frame %d after the split: %v", i, err)
			}
			if !sameFrame(p, in[i].frame) {
				t.Errorf("frame %d after the split\n%x\nwas\n%x", i, p, in[i].frame)
			}
			i++
		}
	}
	if i != len(in) {
		t.Errorf("%d frames came of %d", i, len(in))
	}
}

// sameFrame compares all that GRO keeps: an identification counts only without DF.
func sameFrame(a, b []byte) bool {
	var h packet.Headers
	h.Parse(b)
	if len(a) != int(h.End) {
		return false
	}
	x, y := append([]byte(nil), a...), append([]byte(nil), b[:h.End]...)
	if h.Kind == packet.IPv4 && y[h.L3+6]&0x40 != 0 {
		clear(x[h.L3+4 : h.L3+6])
		clear(y[h.L3+4 : h.L3+6])
		clear(x[h.L3+10 : h.L3+12])
		clear(y[h.L3+10 : h.L3+12])
	}
	if h.Proto == packet.ProtoTCP {
		clear(x[h.L4+16 : h.L4+18]) // checked by Check; a sender may have left it undone
		clear(y[h.L4+16 : h.L4+18])
	} else if h.Proto == packet.ProtoUDP {
		clear(x[h.L4+6 : h.L4+8])
		clear(y[h.L4+6 : h.L4+8])
	}
	return bytes.Equal(x, y)
}

// TestMergeIdentification: consecutive, or with DF all the same; nothing else.
func TestMergeIdentification(t *testing.T) {
	for _, tt := range []struct {
		ids  []uint16
		df   bool
		want string
	}{
		{[]uint16{65535, 0, 1}, false, "[3]"},
		{[]uint16{5, 5, 5}, false, "[1 1 1]"},
		{[]uint16{5, 5, 5}, true, "[3]"},
		{[]uint16{5, 5, 6}, true, "[2 1]"},
		{[]uint16{5, 6, 6}, true, "[2 1]"},
		{[]uint16{5, 7, 8}, true, "[1 2]"},
	} {
		s := stream(false, 100, 100, 100)
		for i := range s {
			s[i].IP.ID, s[i].IP.DontFragment = tt.ids[i], tt.df
		}
		in := framesOf(s)
		got := mergeAll(in)
		if counts(got) != tt.want {
			t.Errorf("ids %v df %v: merged %s, want %s", tt.ids, tt.df, counts(got), tt.want)
		}
		checkRuns(t, in, got)
	}
}

// TestMergeChecksum: a frame with a wrong checksum is never merged, wherever it stands; one whose checksum
// is still to be filled in is.
func TestMergeChecksum(t *testing.T) {
	for bad, want := range map[int]string{0: "[1 2]", 1: "[1 1 1]", 2: "[2 1]"} {
		in := framesOf(stream(false, 100, 100, 100))
		in[bad].frame[len(in[bad].frame)-1] ^= 1
		if got := mergeAll(in); counts(got) != want {
			t.Errorf("frame %d damaged: merged %s, want %s", bad, counts(got), want)
		}
	}
	in := framesOf(stream(false, 100, 100, 100))
	for i := range in {
		in[i].frame[14+20+16] ^= 0xff // as a sender with offload leaves it
		in[i].gso = packet.GSO{NeedsCsum: true, CsumStart: 34, CsumOffset: 16}
	}
	got := mergeAll(in)
	if counts(got) != "[3]" {
		t.Errorf("unfinished checksums: merged %s", counts(got))
	}
	checkRuns(t, in, got)
}

// TestMergeUDP: equal sizes, the last may be shorter, at most 64, and a checksum.
func TestMergeUDP(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		datagrams := func(sizes ...int) []packettest.UDP {
			var out []packettest.UDP
			for i, n := range sizes {
				u := packettest.UDP{Src: from4, Dst: to4, Payload: bytes.Repeat([]byte{byte(i)}, n), IP: packettest.IP{ID: uint16(i)}}
				if v6 {
					u.Src, u.Dst, u.IP = from6, to6, packettest.IP{}
				}
				out = append(out, u)
			}
			return out
		}
		for _, tt := range []struct {
			list []packettest.UDP
			want string
		}{
			{datagrams(64, 64, 64), "[3]"},
			{datagrams(64, 64, 10, 64), "[3 1]"},
			{datagrams(64, 65, 65), "[1 2]"},
			{datagrams(make([]int, 3)...), "[1 1 1]"},
			{datagrams(bytesOf(70, 8)...), "[64 6]"},
			{datagrams(bytesOf(50, 1400)...), map[bool]string{false: "[46 4]", true: "[46 4]"}[v6]},
		} {
			in := framesOf(tt.list)
			got := mergeAll(in)
			if counts(got) != tt.want {
				t.Errorf("v6 %v, %d datagrams: merged %s, want %s", v6, len(in), counts(got), tt.want)
			}
			checkRuns(t, in, got)
		}
	}
	u := packettest.UDP{Src: from4, Dst: to4, Payload: []byte("x"), NoChecksum: true}
	if got := mergeAll(framesOf([]packettest.UDP{u, u})); counts(got) != "[1 1]" {
		t.Errorf("without checksums: merged %s", counts(got))
	}
}

func bytesOf(n, size int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = size
	}
	return out
}

// FuzzMerge sends random streams through merge and split: every byte comes out, in order, and nothing that
// GRO forbids was merged.
func FuzzMerge(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint8(12))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := stream(seed%2 == 0, randomSizes(r, int(n%40)+2)...)
		for i := range s {
			disturb(r, &s[i])
		}
		in := framesOf(s)
		for i := range in {
			if r.IntN(20) == 0 {
				in[i].frame[len(in[i].frame)-1] ^= 1
			}
			if r.IntN(10) == 0 {
				in[i].frame = packettest.Pad(in[i].frame)
			}
		}
		checkMerge(t, in, mergeAll(in))
	})
}

func randomSizes(r *rand.Rand, n int) []int {
	base := r.IntN(1400) + 1
	out := bytesOf(n, base)
	for i := range out {
		switch r.IntN(8) {
		case 0:
			out[i] = r.IntN(1400)
		case 1:
			out[i] = 0
		}
	}
	return out
}

func disturb(r *rand.Rand, s *packettest.TCP) {
	switch r.IntN(24) {
	case 0:
		s.Flags |= 1 << r.IntN(8)
	case 1:
		s.Seq += uint32(r.IntN(3))
	case 2:
		s.Ack++
	case 3:
		s.Window++
	case 4:
		s.Options = []byte{1, 1, 1, 0}
	case 5:
		s.IP.TTL = 9
	case 6:
		s.IP.TOS = 3
	case 7:
		s.IP.ID += uint16(r.IntN(3))
	case 8:
		s.Flags |= packet.PSH
	}
}

// checkMerge is checkRuns for streams in which frames may be damaged: those must have stayed alone.
func checkMerge(t *testing.T, in []segment, got []merged) {
	t.Helper()
	i := 0
	for _, m := range got {
		if m.n > 1 {
			for j := i; j < i+m.n; j++ {
				if err := packettest.Check(in[j].frame); err != nil {
					t.Fatalf("frame %d was merged although %v", j, err)
				}
			}
		}
		i += m.n
	}
	checkRuns(t, in, got)
}

func BenchmarkMerge(b *testing.B) {
	in := framesOf(stream(false, bytesOf(32, 1448)...))
	heads := make([]packet.Headers, len(in))
	for i := range in {
		heads[i].Parse(in[i].frame)
		in[i].gso = packet.GSO{NeedsCsum: true}
	}
	first := append([]byte(nil), in[0].frame...)
	b.ReportAllocs()
	for b.Loop() {
		copy(in[0].frame, first)
		var r packet.Run
		r.Start(in[0].frame, &heads[0], in[0].gso)
		for i := 1; i < len(in); i++ {
			if _, ok := r.Take(in[i].frame, &heads[i], in[i].gso); !ok {
				b.Fatal("not merged")
			}
		}
		r.Finish()
	}
}
