package flowlogs

// Window is an aggregation interval: Start <= second < End, in Unix seconds.
type Window struct{ Start, End int64 }

// Contains says whether a second lies in the window.
func (w Window) Contains(second int64) bool { return w.Start <= second && second < w.End }

// Bounds gives the window that a second lies in. Windows are contiguous: the second before Start
// lies in the window before, End in the one after. It is called often and under locks: it must be
// fast, pure and safe for concurrent use.
type Bounds func(second int64) Window

// Aligned gives windows of so many seconds, aligned to the epoch.
func Aligned(seconds int64) Bounds {
	return func(second int64) Window {
		start := floorDiv(second, seconds) * seconds
		return Window{start, start + seconds}
	}
}

// Timestamps says what a record's start and end are.
type Timestamps uint8

const (
	// WindowEnd: start is the second of the first packet, end is the end of the window, as in AWS's
	// ping sample.
	WindowEnd Timestamps = iota
	// LastPacket: start is the second of the first packet, end that of the last, as AWS's table of
	// fields defines them.
	LastPacket
	// WholeWindow: start and end are the window's, as in AWS's samples for TCP flags.
	WholeWindow
)

// stamp gives start and end of a record of w whose packets came between first and last (nanoseconds).
// Both lie in the window, also for packets that were counted in a later one than they came in.
func (t Timestamps) stamp(w Window, first, last int64) (start, end int64) {
	start = min(max(seconds(first), w.Start), w.End-1)
	switch t {
	case LastPacket:
		return start, min(max(seconds(last), start), w.End)
	case WholeWindow:
		return w.Start, w.End
	}
	return start, w.End
}

const nanos = 1_000_000_000

// seconds turns Unix nanoseconds into the Unix second they lie in.
func seconds(nanoseconds int64) int64 { return floorDiv(nanoseconds, nanos) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
