package stream

import (
	"errors"
	"net"
	"sync"
	"time"
)

// conn is one connection with its two sides. It ends as a whole.
type conn struct {
	net.Conn
	in    reader
	out   *queue
	began time.Time
	ended chan struct{} // closed once
	once  sync.Once
}

func (c *conn) close() {
	c.once.Do(func() {
		c.out.close()
		c.Conn.Close()
		close(c.ended)
	})
}

// adopt makes nc the port's connection, in place of any other. It returns nil when the port is closed.
func (p *Port) adopt(nc net.Conn) *conn {
	c := &conn{Conn: nc, out: newQueue(p.cfg.Depth), began: time.Now(), ended: make(chan struct{})}
	c.in.src = nc
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		nc.Close()
		return nil
	}
	old := p.cur
	p.cur = c
	p.connections.Add(1)
	p.wg.Go(func() {
		if c.out.send(nc) != nil {
			p.remove(c)
		}
	})
	p.changed.Broadcast()
	p.mu.Unlock()
	if old != nil {
		p.replaced.Add(1)
		old.close()
	}
	return c
}

// remove ends a connection. If it was the port's own, there is none now.
func (p *Port) remove(c *conn) (was bool) {
	p.mu.Lock()
	if was = p.cur == c; was {
		p.cur = nil
	}
	p.mu.Unlock()
	c.close()
	return was
}

// lost ends a connection whose reader failed, and counts why. One that the port itself gave up has been counted.
func (p *Port) lost(c *conn, err error) {
	inside := c.in.inside()
	p.remove(c)
	switch {
	case errors.Is(err, errLength):
		p.badLength.Add(1)
	case inside:
		p.cut.Add(1)
	}
}

// accept takes connections until the port is closed.
func (p *Port) accept() {
	for {
		nc, err := p.listen.Accept()
		switch {
		case err == nil:
			p.adopt(nc)
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of descriptors: others may give some back
			select {
			case <-time.After(retryMax):
			case <-p.ctx.Done():
				return
			}
		}
	}
}

// How long dial waits before it tries again: from retryMin, doubled each time up to retryMax. A connection that lived
// for steady starts it over.
const (
	retryMin = 5 * time.Millisecond
	retryMax = 500 * time.Millisecond
	steady   = time.Second
)

// dial connects until the port is closed, and again whenever the connection ends.
func (p *Port) dial() {
	var d net.Dialer
	wait := retryMin
	for {
		nc, err := d.DialContext(p.ctx, p.cfg.Network, p.cfg.Address)
		if err == nil {
			c := p.adopt(nc)
			if c == nil {
				return
			}
			<-c.ended
			if time.Since(c.began) > steady {
				wait = retryMin
			}
		}
		select {
		case <-p.ctx.Done():
			return
		case <-time.After(wait):
			wait = min(2*wait, retryMax)
		}
	}
}
