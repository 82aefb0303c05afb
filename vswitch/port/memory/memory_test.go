package memory_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
	"github.com/vpclab/vpclab/vswitch/port/memory"
)

func frame(n int) *vswitch.Frame {
	return &vswitch.Frame{Buf: bytes.Repeat([]byte{byte(n)}, 60+n), GSO: packet.GSO{SegSize: uint16(n)}}
}

func frames(n int) []*vswitch.Frame {
	all := make([]*vswitch.Frame, n)
	for i := range all {
		all[i] = frame(i)
	}
	return all
}

func equal(t *testing.T, got *vswitch.Frame, want *vswitch.Frame) {
	t.Helper()
	if !bytes.Equal(got.Buf, want.Buf) || got.GSO != want.GSO {
		t.Fatalf("frame of %d bytes, %+v; want %d bytes, %+v", len(got.Buf), got.GSO, len(want.Buf), want.GSO)
	}
}

func TestDefaults(t *testing.T) {
	p := memory.New(memory.Config{Name: "m"})
	if p.Name() != "m" || p.MTU() != 9001 || p.Queues() != 1 || p.Offload() != (vswitch.Offload{}) {
		t.Fatalf("%q, MTU %d, %d queues, %+v", p.Name(), p.MTU(), p.Queues(), p.Offload())
	}
	all := vswitch.Offload{Csum: true, TSO4: true}
	p = memory.New(memory.Config{MTU: 1500, Queues: 3, Offload: all})
	if p.MTU() != 1500 || p.Queues() != 3 || p.Offload() != all {
		t.Fatalf("MTU %d, %d queues, %+v", p.MTU(), p.Queues(), p.Offload())
	}
}

// TestReadOrder also crosses the end of the ring several times, and the end of a batch.
func TestReadOrder(t *testing.T) {
	p := memory.New(memory.Config{Depth: 48})
	var b vswitch.Batch
	next := 0
	for round := range 5 {
		for i := range 40 {
			if p.Inject(0, frame((round*40+i)%250)) != 1 {
				t.Fatal("not taken")
			}
		}
		for left := 40; left > 0; left -= b.Len() {
			b.Release()
			if err := p.Read(0, &b); err != nil {
				t.Fatal(err)
			}
			if b.Len() == 0 || b.Len() > vswitch.BatchSize {
				t.Fatalf("batch of %d", b.Len())
			}
			for i := range b.Len() {
				equal(t, b.Frame(i), frame(next%250))
				next++
			}
		}
	}
	if s := p.Stats(); s != (memory.Stats{Injected: 200}) {
		t.Fatalf("%+v", s)
	}
}

func TestFramesAreCopied(t *testing.T) {
	p := memory.New(memory.Config{})
	f := frame(1)
	p.Inject(0, f)
	p.Write(0, []*vswitch.Frame{f})
	clear(f.Buf)
	var b vswitch.Batch
	if p.TryRead(0, &b) != 1 {
		t.Fatal("no frame")
	}
	equal(t, b.Frame(0), frame(1))
	var out vswitch.Frame
	if !p.Take(&out) {
		t.Fatal("no frame")
	}
	equal(t, &out, frame(1))
}

// TestPieces has a frame in pieces, as the switch writes to a port that gathers.
func TestPieces(t *testing.T) {
	p := memory.New(memory.Config{Offload: vswitch.Offload{Gather: true}})
	p.Write(0, []*vswitch.Frame{{Buf: []byte("head"), Tail: [][]byte{[]byte("-a"), nil, []byte("-b")}}, frame(1)})
	var f vswitch.Frame
	if !p.Take(&f) || string(f.Buf) != "head-a-b" || f.Tail != nil {
		t.Fatalf("%q, %q", f.Buf, f.Tail)
	}
	if !p.Take(&f) {
		t.Fatal("no frame")
	}
	equal(t, &f, frame(1))
}

func TestBounds(t *testing.T) {
	p := memory.New(memory.Config{Depth: 4})
	if n := p.Inject(0, frames(6)...); n != 4 {
		t.Fatalf("injected %d", n)
	}
	if n := p.InjectBytes([]byte("x"), []byte("y")); n != 0 {
		t.Fatalf("injected %d into a full queue", n)
	}
	if n := p.Write(0, frames(7)); n != 4 {
		t.Fatalf("wrote %d", n)
	}
	if p.Pending() != 4 {
		t.Fatalf("%d pending", p.Pending())
	}
	want := memory.Stats{Injected: 4, InjectDrops: 4, Written: 4, WriteDrops: 3}
	if s := p.Stats(); s != want {
		t.Fatalf("%+v, want %+v", s, want)
	}
	i := 0
	n := p.Drain(func(f *vswitch.Frame) { equal(t, f, frame(i)); i++ })
	if n != 4 || p.Pending() != 0 || p.Take(new(vswitch.Frame)) {
		t.Fatalf("drained %d, %d pending", n, p.Pending())
	}
}

func TestQueuesAreApart(t *testing.T) {
	p := memory.New(memory.Config{Queues: 2})
	p.Inject(1, frame(1))
	p.Inject(0, frame(2))
	var b vswitch.Batch
	for q, want := range []int{2, 1} {
		if p.TryRead(q, &b) != 1 {
			t.Fatal("no frame")
		}
		equal(t, b.Frame(0), frame(want))
		b.Release()
	}
}

func TestReadWaitsWithoutSlab(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := memory.New(memory.Config{})
		var b vswitch.Batch
		got := make(chan error)
		go func() { got <- p.Read(0, &b) }()
		synctest.Wait()
		p.InjectBytes([]byte("frame"))
		if err := <-got; err != nil || b.Len() != 1 || string(b.Frame(0).Buf) != "frame" {
			t.Fatalf("%v, %d frames", err, b.Len())
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := memory.New(memory.Config{Queues: 2})
		errs := make(chan error)
		for q := range 2 {
			go func() {
				var b vswitch.Batch
				errs <- p.Read(q, &b)
			}()
		}
		go func() {
			_, err := p.Receive(context.Background())
			errs <- err
		}()
		synctest.Wait()
		p.Close()
		p.Close()
		for range 3 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
		}
		if p.Inject(0, frame(1)) != 0 || p.Write(0, frames(2)) != 0 {
			t.Fatal("a closed port takes frames")
		}
		if s := p.Stats(); s != (memory.Stats{InjectDrops: 1, WriteDrops: 2}) {
			t.Fatalf("%+v", s)
		}
		if err := p.Settle(context.Background()); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
}

func TestReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := memory.New(memory.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 { // several receivers may wait at once
			wg.Go(func() {
				if f, err := p.Receive(t.Context()); err != nil || len(f.Buf) == 0 {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		p.Write(0, frames(3))
		wg.Wait()
	})
}

// TestSettle has a worker that takes its time: Settle returns only after it is done.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := memory.New(memory.Config{Queues: 2})
		var workers sync.WaitGroup
		defer workers.Wait()
		defer p.Close()
		for q := range 2 {
			workers.Go(func() {
				var b vswitch.Batch
				for p.Read(q, &b) == nil {
					time.Sleep(time.Second) // on the bubble's clock
					for i := range b.Len() {
						p.Write(q, []*vswitch.Frame{b.Frame(i)})
					}
					b.Release()
				}
			})
		}
		for round := range 3 {
			p.Inject(0, frames(2)...)
			p.Inject(1, frames(1)...)
			if err := p.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := p.Drain(func(*vswitch.Frame) {}); got != 3 {
				t.Fatalf("round %d: %d frames handled, want 3", round, got)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		p.InjectBytes([]byte("x"))
		if err := p.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("settled while the worker was busy: %v", err)
		}
	})
}

func TestSourceAndSink(t *testing.T) {
	tmpl := []vswitch.Frame{*frame(1), *frame(2), *frame(3)}
	var sunk int
	p := memory.New(memory.Config{
		Source: memory.Repeat(1, tmpl, 50),
		Sink: func(_ int, fs []*vswitch.Frame) int {
			sunk += len(fs)
			return len(fs) - 1
		},
	})
	var b vswitch.Batch
	seen := 0
	for p.TryRead(0, &b) > 0 {
		for i := range b.Len() {
			equal(t, b.Frame(i), &tmpl[seen%3])
			seen++
		}
		b.Release()
	}
	if seen != 50 {
		t.Fatalf("%d frames", seen)
	}
	p.Inject(0, frame(9)) // the queue is looked at when the source has ended
	if p.TryRead(0, &b) != 1 {
		t.Fatal("no frame")
	}
	if n := p.Write(0, frames(5)); n != 4 || sunk != 5 {
		t.Fatalf("wrote %d, sunk %d", n, sunk)
	}
	if s := p.Stats(); s != (memory.Stats{Injected: 51, Written: 4, WriteDrops: 1}) {
		t.Fatalf("%+v", s)
	}
}

func TestConcurrent(t *testing.T) {
	const each, writers = 2000, 4
	p := memory.New(memory.Config{Depth: 64})
	var wg sync.WaitGroup
	done := make(chan uint64)
	go func() { // worker: everything goes back out
		var b vswitch.Batch
		var n uint64
		for p.Read(0, &b) == nil {
			n += uint64(b.Len())
			b.Release()
		}
		done <- n
	}()
	var drained, left uint64
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for {
			f, err := p.Receive(t.Context())
			if err != nil {
				return
			}
			left += uint64(len(f.Buf))
			drained++
		}
	}()
	for range writers {
		wg.Go(func() {
			for i := range each {
				p.Inject(0, frame(i%7))
				p.Write(0, []*vswitch.Frame{frame(i % 5)})
			}
		})
	}
	wg.Wait()
	p.Close()
	read := <-done
	<-stop
	s := p.Stats()
	if s.Injected+s.InjectDrops != each*writers || s.Written+s.WriteDrops != each*writers {
		t.Fatalf("frames uncounted: %+v", s)
	}
	if read != s.Injected || drained != s.Written {
		t.Fatalf("read %d, drained %d: %+v", read, drained, s)
	}
}

func TestNoAllocation(t *testing.T) {
	p := memory.New(memory.Config{})
	var b vswitch.Batch
	var out vswitch.Frame
	batch := frames(8)
	cycle := func() {
		p.Inject(0, batch...)
		if err := p.Read(0, &b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			batch[i] = b.Frame(i)
		}
		p.Write(0, batch[:b.Len()])
		for p.Take(&out) {
		}
		b.Reset()
	}
	for range 2 * 256 { // every slot gets its buffer
		cycle()
	}
	if n := testing.AllocsPerRun(1000, cycle); n != 0 {
		t.Fatalf("%v allocations a cycle", n)
	}
}

func BenchmarkPort(b *testing.B) {
	for _, size := range []int{64, 1500, 9015} {
		b.Run(fmt.Sprintf("queue/%d", size), func(b *testing.B) {
			p := memory.New(memory.Config{})
			pump(b, p, size, func() { p.Inject(0, many(size)...) })
		})
		b.Run(fmt.Sprintf("flat-out/%d", size), func(b *testing.B) {
			p := memory.New(memory.Config{
				Source: memory.Repeat(1, []vswitch.Frame{{Buf: make([]byte, size)}}, -1),
				Sink:   func(_ int, fs []*vswitch.Frame) int { return len(fs) },
			})
			pump(b, p, size, func() {})
		})
	}
}

var template = map[int][]*vswitch.Frame{}

func many(size int) []*vswitch.Frame {
	if template[size] == nil {
		for range vswitch.BatchSize {
			template[size] = append(template[size], &vswitch.Frame{Buf: make([]byte, size)})
		}
	}
	return template[size]
}

// pump reads batches and writes them back, one operation a frame.
func pump(b *testing.B, p *memory.Port, size int, fill func()) {
	b.ReportAllocs()
	b.SetBytes(int64(size))
	var batch vswitch.Batch
	var list [vswitch.BatchSize]*vswitch.Frame
	var out vswitch.Frame
	left := 0
	for b.Loop() {
		if left == 0 {
			batch.Reset()
			fill()
			if left = p.TryRead(0, &batch); left == 0 {
				b.Fatal("no frames")
			}
			for i := range left {
				list[i] = batch.Frame(i)
			}
			p.Write(0, list[:left])
			for p.Take(&out) {
			}
		}
		left--
	}
}
