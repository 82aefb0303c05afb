package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Arg0 is what the sandbox's first process is called. It is its PID namespace's init: with it ends all that runs there.
const Arg0 = "vpclab-run"

// Descriptors that the first process is started with: standard input is a file with the Task (see TaskFile), standard
// output and error are the file for the commands' output.
const (
	StatusFD  = 3 // a pipe on which it writes events
	NetworkFD = 4 // the instance's network namespace
)

// Bounds of what a sandbox may use.
const (
	MaxWritten = 128 << 20 // bytes of files written or changed, outside the directories below
	MaxTmp     = 64 << 20  // bytes in /tmp
	MaxRun     = 16 << 20  // bytes in /run
	MaxShm     = 32 << 20  // bytes in /dev/shm
	MaxOutput  = 16 << 20  // bytes of output that are kept
)

// Task is what to run, and what the host's files are replaced by. Paths are absolute; "" leaves the host's file.
type Task struct {
	Commands   []string `json:"commands"` // each for /bin/sh -c, all started at once
	Hostname   string   `json:"hostname"`
	Hosts      string   `json:"hosts"` // shown as /etc/hosts; changes of the file are seen
	ResolvConf string   `json:"resolvConf"`
	Nsswitch   string   `json:"nsswitch"`

	// Overlay is the file system to use; "" means overlay. For tests of hosts that have none.
	Overlay string `json:"overlay,omitempty"`
}

// Event is what the first process tells: once Failure or Ready, then the end of each command.
type Event struct {
	Ready   bool   `json:"ready,omitempty"`
	Failure string `json:"failure,omitempty"`
	Command int    `json:"command"`        // index of the command that ended, where Exit is set
	Exit    *int   `json:"exit,omitempty"` // as a shell gives it
}

// Events reads the events of a sandbox.
type Events struct{ from *json.Decoder }

// NewEvents reads from the far end of the status pipe.
func NewEvents(status io.Reader) *Events { return &Events{json.NewDecoder(status)} }

// Await waits until the commands have been started, and gives an error if they could not.
func (e *Events) Await() error {
	ev, err := e.Next()
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the sandbox ended before it was ready")
	case err != nil:
		return err
	case !ev.Ready:
		return errors.New(ev.Failure)
	}
	return nil
}

// Next gives the next event; io.EOF after the last.
func (e *Events) Next() (*Event, error) {
	ev := new(Event)
	if err := e.from.Decode(ev); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	return ev, nil
}
