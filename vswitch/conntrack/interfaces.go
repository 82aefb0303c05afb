package conntrack

import (
	"maps"
	"sync"
	"sync/atomic"
)

// interfaces is what the table knows of each network interface, by number.
type interfaces struct {
	mu   sync.Mutex
	list atomic.Pointer[map[uint32]*iface] // copied on write: interfaces come and go seldom
}

// iface counts the halves of one interface.
type iface struct {
	halves   atomic.Int64 // below zero: forgotten, look it up again
	rejected atomic.Int64
	full     atomic.Uint64

	hand   cursor       // where the search for a half to give up goes on
	vain   atomic.Int64 // pages it has looked at since it found one
	barren atomic.Int64 // a whole round found none: no long search before this time
	limits atomic.Pointer[ifaceLimits]
}

type ifaceLimits struct {
	from   *Timeouts
	value  Timeouts
	number uint16
}

// forgotten is the count of an interface that left the list.
const forgotten = -1 << 40

func (x *interfaces) get(n uint32) *iface {
	if m := x.list.Load(); m != nil {
		if i := (*m)[n]; i != nil {
			return i
		}
	}
	return x.add(n)
}

// find is get for those who only look.
func (x *interfaces) find(n uint32) *iface {
	if m := x.list.Load(); m != nil {
		return (*m)[n]
	}
	return nil
}

func (x *interfaces) add(n uint32) *iface {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := map[uint32]*iface{}
	if old := x.list.Load(); old != nil {
		if i := (*old)[n]; i != nil {
			return i
		}
		m = maps.Clone(*old)
	}
	i := &iface{}
	m[n] = i
	x.list.Store(&m)
	return i
}

// forget drops an interface that has no half.
func (x *interfaces) forget(n uint32) {
	i := x.find(n)
	if i == nil || !i.halves.CompareAndSwap(0, forgotten) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	m := maps.Clone(*x.list.Load())
	delete(m, n)
	x.list.Store(&m)
}

// number is the limit set of t, remembered for the interface's next half.
func (i *iface) number(t *Timeouts) (uint16, bool) {
	if t == nil {
		t = &DefaultTimeouts
	}
	if c := i.limits.Load(); c != nil && c.from == t && c.value == *t {
		return c.number, true
	}
	n, ok := interned.number(t.limits())
	if ok {
		i.limits.Store(&ifaceLimits{t, *t, n})
	}
	return n, ok
}
