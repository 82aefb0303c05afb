package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// line is one line of a stream. Exactly one field is set; the last line of a complete stream is a result or an error,
// so that a reader can tell the end from an agent that died.
type line struct {
	Item   json.RawMessage `json:"item,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// flushDelay is how long a line may wait for more, so that ten thousand records do not cost as many system calls.
const flushDelay = 10 * time.Millisecond

// lineWriter writes the lines of one response. emit and end are called by one goroutine at a time; a timer flushes
// beside them.
type lineWriter struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	buf     *bufio.Writer
	timer   *time.Timer
	pending bool
	started bool
	ended   bool
	err     error
}

func newLineWriter(w http.ResponseWriter) *lineWriter {
	l := &lineWriter{w: w, buf: bufio.NewWriterSize(w, 32<<10)}
	l.timer = time.AfterFunc(time.Hour, l.flush)
	l.timer.Stop()
	return l
}

// emit sends one item. The error says that the client is gone.
func (l *lineWriter) emit(item any) error {
	raw, err := json.Marshal(item)
	if err != nil {
		return err
	}
	return l.write(&line{Item: raw})
}

// end sends the last line. Where nothing has been sent yet, an error becomes an ordinary error response.
func (l *lineWriter) end(result any, err error) {
	last := &line{}
	if err != nil {
		last.Error = asError(err)
		if !l.started {
			writeError(l.w, last.Error)
			return
		}
	} else if last.Result, err = json.Marshal(result); err != nil {
		last.Error = asError(err)
	}
	l.write(last)
	l.flush()
}

// close keeps the timer from touching a response that is over, also when the handler panicked.
func (l *lineWriter) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.timer.Stop()
}

func (l *lineWriter) write(x *line) error {
	raw, err := json.Marshal(x)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if !l.started {
		l.started = true
		l.w.Header().Set("Content-Type", "application/x-ndjson")
	}
	l.buf.Write(raw)
	if l.err = l.buf.WriteByte('\n'); l.err != nil { // sticky, so it also tells of the Write before
		return l.err
	}
	if !l.pending {
		l.pending = true
		l.timer.Reset(flushDelay)
	}
	return nil
}

func (l *lineWriter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.pending = false
	if err := l.buf.Flush(); err != nil && l.err == nil {
		l.err = err
	}
	if err := http.NewResponseController(l.w).Flush(); err != nil && l.err == nil && !errors.Is(err, http.ErrNotSupported) {
		l.err = err
	}
}

// readLines reads a stream to its end: item gets each item, and the result is decoded into result (nil: not wanted).
func readLines(r io.Reader, item func(json.RawMessage) error, result any) error {
	dec := json.NewDecoder(r)
	for {
		var x line
		if err := dec.Decode(&x); err != nil {
			return err // io.EOF too: a complete stream ends with a result
		}
		switch {
		case x.Error != nil:
			return x.Error
		case x.Item != nil:
			if err := item(x.Item); err != nil {
				return err
			}
		default:
			if result == nil || x.Result == nil {
				return nil
			}
			return json.Unmarshal(x.Result, result)
		}
	}
}
