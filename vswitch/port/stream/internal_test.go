package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"testing"

	"github.com/vpclab/vpclab/vswitch"
)

// pieces gives a text in reads of the sizes that a fuzzer chose.
type pieces struct {
	data, sizes []byte
	i           int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := len(p.data)
	if len(p.sizes) > 0 {
		n = 1 + 100*int(p.sizes[p.i%len(p.sizes)])
		p.i++
	}
	n = copy(b, p.data[:min(n, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

// naive says which frames a text has, and how it ends.
func naive(data []byte) (frames [][]byte, bad, inside bool) {
	for len(data) >= 4 {
		n := uint64(binary.BigEndian.Uint32(data))
		if n == 0 || n > vswitch.MaxFrame {
			return frames, true, true
		}
		if uint64(len(data)-4) < n {
			break
		}
		frames = append(frames, data[4:4+n])
		data = data[4+n:]
	}
	return frames, false, len(data) > 0
}

func FuzzReader(f *testing.F) {
	head := func(n uint32, tail ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), tail...) }
	f.Add(head(3, 1, 2, 3, 0, 0, 0, 1, 9), []byte{0})
	f.Add(head(0), []byte{})
	f.Add(head(1<<32-1, 7), []byte{1})
	f.Add(head(70000, 7), []byte{})
	f.Add(head(vswitch.MaxFrame, 1, 2), []byte{255, 3})
	f.Add(bytes.Repeat(head(60, make([]byte, 60)...), 100), []byte{13})
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		frames, bad, inside := naive(data)
		r := &reader{src: &pieces{data: data, sizes: sizes}}
		var b vswitch.Batch
		defer b.Release()
		var err error
		for {
			b.Reset()
			if err = r.read(&b); err != nil {
				break
			}
			for i := range b.Len() {
				if len(frames) == 0 || !bytes.Equal(b.Frame(i).Buf, frames[0]) {
					t.Fatalf("%x is not a frame of the text", b.Frame(i).Buf)
				}
				frames = frames[1:]
			}
		}
		switch {
		case len(frames) > 0:
			t.Fatalf("%d frames were not read", len(frames))
		case errors.Is(err, errLength) != bad:
			t.Fatalf("ended with %v; bad length: %v", err, bad)
		case !bad && !errors.Is(err, io.EOF):
			t.Fatalf("ended with %v", err)
		case r.inside() != inside:
			t.Fatalf("inside a frame: %v, want %v", r.inside(), inside)
		}
	})
}

// pair is a port's connection and its peer, on a real socket.
func pair(t testing.TB) (p *Port, peer net.Conn) {
	t.Helper()
	p, err := Open(Config{Name: "x", Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	peer, err = net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close(); p.Close() })
	if err := p.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, peer
}

// TestNoAllocation: a frame costs none, in either direction.
func TestNoAllocation(t *testing.T) {
	p, peer := pair(t)
	one := append(binary.BigEndian.AppendUint32(nil, 100), make([]byte, 100)...)
	many := bytes.Repeat(one, 16)
	var b vswitch.Batch
	buf := make([]byte, len(many))
	frames := make([]*vswitch.Frame, 16)
	for i := range frames {
		frames[i] = &vswitch.Frame{Buf: make([]byte, 100)}
	}
	round := func() {
		if _, err := peer.Write(many); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < 16; got += b.Len() {
			b.Reset()
			if err := p.Read(0, &b); err != nil {
				t.Fatal(err)
			}
		}
		if p.Write(0, frames) != 16 {
			t.Fatal("not taken")
		}
		if _, err := io.ReadFull(peer, buf); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		round() // buffers grow
	}
	if n := testing.AllocsPerRun(200, round); n >= 1 {
		t.Errorf("%v allocations for 16 frames each way", n)
	}
}

// TestNoSlabWhileParked: a batch that came with a slab waits without it.
func TestNoSlabWhileParked(t *testing.T) {
	var b vswitch.Batch
	b.Acquire()
	src := &hook{read: func(p []byte) (int, error) {
		if reflect.ValueOf(&b).Elem().FieldByName("slab").Pointer() != 0 {
			t.Error("a slab is held while the reader waits")
		}
		return copy(p, []byte{0, 0, 0, 1, 42}), nil
	}}
	r := &reader{src: src}
	if err := r.read(&b); err != nil || b.Len() != 1 || b.Frame(0).Buf[0] != 42 {
		t.Errorf("%v, %d frames", err, b.Len())
	}
}

type hook struct{ read func([]byte) (int, error) }

func (h *hook) Read(p []byte) (int, error) { return h.read(p) }

// TestBatchInOneWrite: what a batch puts goes out in one system call.
func TestBatchInOneWrite(t *testing.T) {
	p := &Port{cfg: Config{MTU: 1500}}
	q := newQueue(DefaultDepth)
	frames := make([]*vswitch.Frame, vswitch.BatchSize)
	for i := range frames {
		frames[i] = &vswitch.Frame{Buf: make([]byte, 1000)}
	}
	writes := make(chan int, 10)
	done := make(chan struct{})
	go func() { q.send(sizes(writes)); close(done) }()
	for range 3 {
		if n := q.put(p, frames); n != len(frames) {
			t.Fatalf("%d taken", n)
		}
		if n := <-writes; n != 1004*len(frames) {
			t.Errorf("a write of %d bytes, want %d", n, 1004*len(frames))
		}
	}
	q.close()
	<-done
	if n := q.put(p, frames); n != 0 {
		t.Errorf("a closed queue took %d", n)
	}
}

type sizes chan int

func (s sizes) Write(p []byte) (int, error) { s <- len(p); return len(p), nil }

func BenchmarkPort(b *testing.B) {
	for name, size := range map[string]int{"60": 60, "1514": 1514, "9015": 9015} {
		b.Run("read/"+name, func(b *testing.B) {
			p, peer := pair(b)
			one := append(binary.BigEndian.AppendUint32(nil, uint32(size)), make([]byte, size)...)
			many := bytes.Repeat(one, max(1, (64<<10)/len(one)))
			go func() {
				for {
					if _, err := peer.Write(many); err != nil {
						return
					}
				}
			}()
			var batch vswitch.Batch
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := 0; b.Loop(); n-- {
				if n > 0 {
					continue
				}
				batch.Reset()
				if err := p.Read(0, &batch); err != nil {
					b.Fatal(err)
				}
				n = batch.Len()
			}
		})
		b.Run("write/"+name, func(b *testing.B) {
			p, peer := pair(b)
			go io.Copy(io.Discard, peer)
			frames := []*vswitch.Frame{{Buf: make([]byte, size)}}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for p.Write(0, frames) == 0 {
					runtime.Gosched()
				}
			}
		})
	}
}
