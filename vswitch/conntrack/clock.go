package conntrack

// Times in slots are milliseconds in 32 bits, compared by signed difference: right for distances of
// up to 24 days, and no timeout is longer (maxTimeout).

// bias makes all times positive; a whole number of milliseconds, so that whole ones stay exact.
const bias = 9_223_372_036_854_000_000

func millis64(now int64) uint64 { return (uint64(now) + bias) / 1e6 }

// millis is a time as slots have it.
func millis(now int64) uint32 { return uint32(millis64(now)) }

// tenths is the time in tenths of a second.
func tenths(now int64) uint32 { return uint32(millis64(now) / 100) }

// nanos is the time ms, given any time less than 24 days from it.
func nanos(ms uint32, near int64) int64 {
	n := millis64(near)
	return int64((n+uint64(int64(int32(ms-uint32(n)))))*1e6 - bias)
}

// since is the milliseconds from then to now, 0 where another worker's clock is ahead.
func since(now, then uint32) uint32 { return uint32(max(int32(now-then), 0)) }
