package tap

import (
	"runtime"
	"sync"
)

// rings are shared by all ports of the process: as many as writers can run at a time, made when they
// are first needed and kept.
var rings ringPool

type ringPool struct {
	mu   sync.Mutex
	free []*uring
	made int
	err  error // why there are none; set once
}

// get returns a ring that nobody uses, or nil: write plainly then.
func (p *ringPool) get() *uring {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		r := p.free[n-1]
		p.free = p.free[:n-1]
		return r
	}
	if p.err != nil || p.made >= 2*runtime.GOMAXPROCS(0) {
		return nil
	}
	r, err := newURing()
	if err != nil {
		p.err = err
		return nil
	}
	p.made++
	return r
}

func (p *ringPool) put(r *uring) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, r)
}

// IO says how frames are written: "io_uring", or "write" with the reason why not better.
func (p *Port) IO() string {
	switch {
	case p.vnetLen == 0:
		return "write (no virtio-net header)"
	case p.cfg.PlainWrites:
		return "write (as asked for)"
	}
	if r := rings.get(); r != nil {
		rings.put(r)
		return "io_uring"
	}
	rings.mu.Lock()
	defer rings.mu.Unlock()
	if rings.err != nil {
		return "write (" + rings.err.Error() + ")"
	}
	return "io_uring"
}
