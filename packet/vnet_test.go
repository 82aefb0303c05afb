package packet_test

import (
	"bytes"
	"testing"

	"github.com/vpclab/vpclab/packet"
)

// Headers as Linux writes them (captured layout of struct virtio_net_hdr, little-endian).
func TestDecodeVnet(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want packet.GSO
		ok   bool
	}{
		{"nothing to do", make([]byte, 10), packet.GSO{}, true},
		{"longer form", []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}, packet.GSO{}, true},
		{"verified", []byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 0}, packet.GSO{DataValid: true}, true},
		{"checksum", []byte{1, 0, 0, 0, 0, 0, 34, 0, 16, 0}, packet.GSO{NeedsCsum: true, CsumStart: 34, CsumOffset: 16}, true},
		{"TCP4", []byte{1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0},
			packet.GSO{Type: packet.GSOTCP4, NeedsCsum: true, HdrLen: 66, SegSize: 1448, CsumStart: 34, CsumOffset: 16}, true},
		{"TCP6 with ECN", []byte{1, 0x84, 86, 0, 0x94, 5, 54, 0, 16, 0},
			packet.GSO{Type: packet.GSOTCP6, ECN: true, NeedsCsum: true, HdrLen: 86, SegSize: 1428, CsumStart: 54, CsumOffset: 16}, true},
		{"USO", []byte{1, 5, 42, 0, 0xc0, 5, 34, 0, 6, 0},
			packet.GSO{Type: packet.GSOUDP, NeedsCsum: true, HdrLen: 42, SegSize: 1472, CsumStart: 34, CsumOffset: 6}, true},
		{"leftovers without their flags", []byte{0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, packet.GSO{}, true},
		{"nothing", nil, packet.GSO{}, false},
		{"9 bytes", make([]byte, 9), packet.GSO{}, false},
		{"UFO", []byte{1, 3, 42, 0, 0xc0, 5, 34, 0, 6, 0}, packet.GSO{}, false},
		{"tunnel", []byte{1, 0x21, 42, 0, 0xc0, 5, 34, 0, 6, 0}, packet.GSO{}, false},
		{"unknown type", []byte{1, 6, 42, 0, 0xc0, 5, 34, 0, 6, 0}, packet.GSO{}, false},
		{"segment size 0", []byte{1, 1, 66, 0, 0, 0, 34, 0, 16, 0}, packet.GSO{}, false},
		{"ECN of UDP", []byte{1, 0x85, 42, 0, 0xc0, 5, 34, 0, 6, 0}, packet.GSO{}, false},
		{"ECN of nothing", []byte{0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}, packet.GSO{}, false},
	} {
		got, ok := packet.DecodeVnet(c.b)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: %+v %t, want %+v %t", c.name, got, ok, c.want, c.ok)
		}
		if !ok || len(c.b) != 10 || c.name == "leftovers without their flags" {
			continue
		}
		b := bytes.Repeat([]byte{0xee}, 10)
		if !packet.EncodeVnet(b, got) || !bytes.Equal(b, c.b) {
			t.Errorf("%s: encodes to % x, want % x", c.name, b, c.b)
		}
	}
}

func TestEncodeVnet(t *testing.T) {
	long := bytes.Repeat([]byte{0xee}, 12)
	if !packet.EncodeVnet(long, packet.GSO{DataValid: true}) || !bytes.Equal(long, append([]byte{2}, make([]byte, 11)...)) {
		t.Errorf("longer form: % x", long)
	}
	for _, n := range []int{0, 9, 11, 13} {
		b := bytes.Repeat([]byte{0xee}, n)
		if packet.EncodeVnet(b, packet.GSO{}) || !bytes.Equal(b, bytes.Repeat([]byte{0xee}, n)) {
			t.Errorf("%d bytes were written", n)
		}
	}
	if packet.EncodeVnet(long, packet.GSO{Type: 9}) {
		t.Error("an unknown type was encoded")
	}
	// What DecodeVnet would refuse or ignore is not written.
	packet.EncodeVnet(long, packet.GSO{Type: packet.GSOUDP, ECN: true, SegSize: 5, CsumStart: 34})
	if g, ok := packet.DecodeVnet(long); !ok || g.ECN || g.CsumStart != 0 {
		t.Errorf("%+v %t", g, ok)
	}
}

func TestVnetDoesNotAllocate(t *testing.T) {
	b := make([]byte, packet.VnetMrgLen)
	if n := testing.AllocsPerRun(100, func() {
		packet.EncodeVnet(b, packet.GSO{Type: packet.GSOTCP4, SegSize: 1448})
		packet.DecodeVnet(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What decodes encodes to something that decodes to the same.
func FuzzVnet(f *testing.F) {
	f.Add([]byte{1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0}, tcp4.Bytes())
	f.Add([]byte{1, 5, 42, 0, 0xc0, 5, 34, 0, 6, 0}, udp4.Bytes())
	f.Fuzz(func(t *testing.T, b, frame []byte) {
		g, ok := packet.DecodeVnet(b)
		if !ok {
			if g != (packet.GSO{}) {
				t.Fatalf("refused, yet %+v", g)
			}
			return
		}
		for _, n := range []int{packet.VnetLen, packet.VnetMrgLen} {
			out := make([]byte, n)
			if !packet.EncodeVnet(out, g) {
				t.Fatalf("%+v does not encode", g)
			}
			if again, ok := packet.DecodeVnet(out); !ok || again != g {
				t.Fatalf("%+v became %+v", g, again)
			}
		}
		var h packet.Headers
		h.Parse(frame)
		valid := g.Valid(&h)
		if done := packet.CompleteChecksum(bytes.Clone(frame), g); valid && !done {
			t.Fatalf("%+v is valid for %+v but not completed", g, h)
		}
	})
}
