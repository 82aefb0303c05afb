package conntrack

import (
	"testing"

	"github.com/vpclab/vpclab/packet"
)

// TestIs holds that keys are compared in all of their bits, whatever their hashes.
func TestIs(t *testing.T) {
	tab := New(Config{})
	defer tab.Close()
	var raw [44]byte
	k := keyOf(raw[:])
	h, _, err := tab.Insert(&k, tab.Hash(&k), Init{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 42 * 8 {
		raw = [44]byte{}
		raw[bit/8] = 1 << (bit % 8)
		var w words
		other := keyOf(raw[:])
		if w.set(&other); h.is(&w) {
			t.Errorf("bit %d makes no difference", bit)
		}
	}
	h.setFinEnd(In, 1<<32-1) // lies beside the protocol
	var w words
	if w.set(&k); !h.is(&w) || h.Key() != k {
		t.Error("a FIN makes a difference")
	}
}

func FuzzKey(f *testing.F) {
	f.Add(make([]byte, 44), make([]byte, 44))
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH"), []byte("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGI"))
	tab := New(Config{Seed: 1})
	reader := tab.NewReader()
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ka, kb := keyOf(a), keyOf(b)
		var wa, wb words
		wa.set(&ka)
		wb.set(&kb)
		if (ka == kb) != (wa == wb) {
			t.Fatalf("%v and %v: words %v and %v", ka, kb, wa, wb)
		}
		if got := hash(wa.addr[0], wa.addr[1], wa.addr[2], wa.addr[3], wa.ends, wa.id, &tab.seed); got != tab.Hash(&ka) {
			t.Fatalf("hash %x of the words, %x of the key", got, tab.Hash(&ka))
		}
		reader.Enter()
		defer reader.Leave()
		h, _, err := tab.Insert(&ka, tab.Hash(&ka), Init{}, 0)
		if err != nil || h.Key() != ka || h.hash(&tab.seed) != tab.Hash(&ka) {
			t.Fatalf("%v: %v, %v", ka, h.Key(), err)
		}
		if ka != kb && tab.Lookup(&kb, tab.Hash(&kb)) == h {
			t.Fatalf("%v finds %v", kb, ka)
		}
		tab.Remove(h)
	})
}

func keyOf(b []byte) (k packet.Key) {
	var p [44]byte
	copy(p[:], b)
	copy(k.Inside[:], p[:16])
	copy(k.Outside[:], p[16:32])
	k.ENI = uint32(p[32]) | uint32(p[33])<<8 | uint32(p[34])<<16 | uint32(p[35])<<24
	k.InsidePort, k.OutsidePort = uint16(p[36])|uint16(p[37])<<8, uint16(p[38])|uint16(p[39])<<8
	k.Proto, k.Pass = p[40], p[41]
	return k
}
