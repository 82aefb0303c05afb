package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// execProtocol is what an exec connection is upgraded to. Both ways it then carries frames: one byte of type, four
// bytes of length (big endian), and the payload.
const execProtocol = "vpclab-exec/1"

// Types of a frame.
const (
	frameStdin     byte = iota // to the agent
	frameStdinEOF              // to the agent: standard input has ended, the rest goes on
	frameInterrupt             // to the agent: the person pressed Ctrl-C
	frameStdout                // to the client
	frameStderr                // to the client
	frameWindow                // to the client: so many bytes of standard input have been read (4 bytes)
	frameExit                  // to the client, last: the exit status (4 bytes)
	frameError                 // to the client, last: an Error as JSON
	frameSignal                // to the agent, where files were passed: a signal for the program (4 bytes)
)

const (
	frameHeader  = 5
	maxFrame     = 64 << 10
	stdinWindow  = 256 << 10 // bytes of standard input sent and not yet read by the program
	exitInternal = 255       // a program's status if it has none that fits
)

// frameWriter writes whole frames; it is safe for concurrent use.
type frameWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

func (f *frameWriter) write(kind byte, payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buf = append(f.buf[:0], kind, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(f.buf[1:], uint32(len(payload)))
	f.buf = append(f.buf, payload...)
	_, err := f.w.Write(f.buf)
	return err
}

func (f *frameWriter) writeUint(kind byte, v uint32) error {
	return f.write(kind, binary.BigEndian.AppendUint32(nil, v))
}

// stream gives an io.Writer that sends frames of one kind.
func (f *frameWriter) stream(kind byte) io.Writer { return &frameStream{f, kind} }

type frameStream struct {
	f    *frameWriter
	kind byte
}

// Write sends p in frames of at most maxFrame bytes.
func (s *frameStream) Write(p []byte) (n int, err error) {
	for n < len(p) {
		part := p[n:min(len(p), n+maxFrame)]
		if err := s.f.write(s.kind, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// readFrame reads one frame into buf, which it may replace by a larger one; the payload is borrowed until the next call. io.EOF stands for an end between frames.
func readFrame(r io.Reader, buf *[]byte) (kind byte, payload []byte, err error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes; at most %d are allowed", n, maxFrame)
	}
	if cap(*buf) < int(n) {
		*buf = make([]byte, n)
	}
	payload = (*buf)[:n]
	if _, err := io.ReadFull(r, payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return head[0], payload, nil
}

func frameUint(payload []byte) (uint32, error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("a number of %d bytes; 4 are expected", len(payload))
	}
	return binary.BigEndian.Uint32(payload), nil
}
