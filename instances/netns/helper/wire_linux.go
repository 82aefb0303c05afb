package helper

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of one message. Both ends run the same executable, so that the form of messages has no version: a helper
// is started from /proc/self/exe, which stays what it was when the file is replaced.
const (
	MaxMessage = 4 << 20 // bytes of JSON
	MaxFiles   = 32
)

// writePatience is how long the other end may leave a message unread.
const writePatience = 10 * time.Second

// message is a request (Op is set), the withdrawal of one (Cancel) or a reply.
type message struct {
	ID     uint64          `json:"id"`
	Op     string          `json:"op,omitempty"`
	Cancel bool            `json:"cancel,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Error is an error that happened in the other process: its text, and the kernel's number, which errors.Is finds.
type Error struct {
	Text  string        `json:"text"`
	Errno syscall.Errno `json:"errno,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Unwrap gives the kernel's error, if one was the cause.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

func asError(err error) *Error {
	e := &Error{Text: err.Error()}
	errors.As(err, &e.Errno)
	return e
}

// wire is one end of the socket between the two processes. One goroutine receives, any may send.
type wire struct {
	conn *net.UnixConn
	mu   sync.Mutex // of senders
}

// newWire takes over a stream socket.
func newWire(f *os.File) (*wire, error) {
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%T is no unix socket", c)
	}
	return &wire{conn: u}, nil
}

// pair makes a connected pair of sockets.
func pair() (*wire, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	far := os.NewFile(uintptr(fds[1]), "helper")
	w, err := newWire(os.NewFile(uintptr(fds[0]), "helper"))
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return w, far, nil
}

// send sends a message with descriptors, which stay the caller's. The length goes first, and the descriptors with it.
func (w *wire) send(m *message, files ...*os.File) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > MaxMessage {
		return fmt.Errorf("message of %d bytes: %w; at most %d are possible", len(text), unix.EMSGSIZE, MaxMessage)
	}
	if len(files) > MaxFiles {
		return fmt.Errorf("message with %d descriptors: %w; at most %d are possible", len(files), unix.EMSGSIZE, MaxFiles)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(text)))
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	err = hold(files, nil, func(fds []int) error {
		var oob []byte
		if len(fds) > 0 {
			oob = unix.UnixRights(fds...)
		}
		n, _, err := w.conn.WriteMsgUnix(head, oob, nil)
		if err == nil && n < len(head) {
			_, err = w.conn.Write(head[n:])
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = w.conn.Write(text)
	return err
}

// hold calls fn with the numbers of open files, which stay open, and in their mode, meanwhile.
func hold(files []*os.File, fds []int, fn func([]int) error) error {
	if len(files) == 0 {
		return fn(fds)
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = hold(files[1:], append(fds, int(fd)), fn) })
	return errors.Join(cerr, err)
}

// receive reads one message and its descriptors, which become the caller's. io.EOF: the other end is gone.
func (w *wire) receive() (*message, []*os.File, error) {
	var head [4]byte
	var files []*os.File
	fail := func(err error) (*message, []*os.File, error) {
		CloseAll(files)
		return nil, nil, err
	}
	for got := 0; got < len(head); {
		oob := make([]byte, unix.CmsgSpace(4*MaxFiles))
		n, oobn, flags, _, err := w.conn.ReadMsgUnix(head[got:], oob)
		more, rerr := rights(oob[:oobn])
		files = append(files, more...)
		switch {
		case err == nil && rerr != nil:
			return fail(rerr)
		case flags&unix.MSG_CTRUNC != 0:
			return fail(errors.New("descriptors were lost: too many at once, or this process has no room for more"))
		case err != nil:
			return fail(err)
		case n == 0:
			return fail(io.EOF)
		}
		got += n
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > MaxMessage {
		return fail(fmt.Errorf("message of %d bytes; at most %d are allowed", size, MaxMessage))
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(w.conn, text); err != nil {
		return fail(err)
	}
	m := new(message)
	if err := json.Unmarshal(text, m); err != nil {
		return fail(err)
	}
	return m, files, nil
}

// rights takes the descriptors out of control messages. They are close-on-exec already (MSG_CMSG_CLOEXEC).
func rights(oob []byte) (files []*os.File, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // of another kind
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

// CloseAll closes files, of which some may be nil.
func CloseAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
