package vswitch

import (
	"sync/atomic"
	"time"
)

// Clock is all the time the data plane knows. Both readings are in nanoseconds.
// Implementations are safe for concurrent use.
type Clock interface {
	Mono() int64 // never goes back; for ages and timeouts
	Wall() int64 // since the Unix epoch; for flow records
}

// SystemClock reads the machine's clocks.
type SystemClock struct{ start time.Time }

// NewSystemClock returns a clock whose Mono starts near zero.
func NewSystemClock() *SystemClock { return &SystemClock{start: time.Now()} }

// Mono is the time since the clock was made.
func (c *SystemClock) Mono() int64 { return int64(time.Since(c.start)) }

// Wall is the time of day.
func (c *SystemClock) Wall() int64 { return time.Now().UnixNano() }

// ManualClock stands still until it is told to advance. For tests and virtual time.
type ManualClock struct {
	base int64
	mono atomic.Int64
}

// NewManualClock returns a clock that shows the given time of day.
func NewManualClock(wall time.Time) *ManualClock { return &ManualClock{base: wall.UnixNano()} }

// Mono is the time by which the clock was advanced.
func (c *ManualClock) Mono() int64 { return c.mono.Load() }

// Wall is the start's time of day and the advance.
func (c *ManualClock) Wall() int64 { return c.base + c.mono.Load() }

// Advance moves both readings on.
func (c *ManualClock) Advance(d time.Duration) { c.mono.Add(int64(d)) }
